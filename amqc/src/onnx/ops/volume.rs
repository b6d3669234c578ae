//! Convolution and pooling over three spatial axes, made of those over two.

use amq_format::graph::{AutoPad, Conv, Dim, Gather, Op, Pad, Pool, Window};

use super::layout::product;
use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::Value;

/// A convolution with W `[M, C / groups, depth, height, width]`: the slices of x that a window meets
/// lie side by side as channels of an image.
pub(super) fn conv(
    r: &mut Reader<'_, '_>,
    x: Value,
    weights: Value,
    bias: Option<Value>,
    conv: Conv,
) -> Result<Value> {
    let (dims, shape) = (r.dims(x), r.dims(weights));
    let kernel = shape[2].as_size().filter(|&size| size > 0);
    let kernel = kernel.ok_or_else(|| Error::bad_file("the depth of W is not known"))?;
    let (stride, dilation) = (conv.strides[0] as i64, conv.dilations[0] as i64);
    let extent = (kernel - 1).saturating_mul(dilation).saturating_add(1);
    let groups = Dim::from(conv.groups as i64);

    let auto_pad = AutoPad::try_from(conv.auto_pad).unwrap_or(AutoPad::Explicit);
    let window = Window {
        kernel: kernel as usize,
        stride: stride as usize,
        dilation: dilation as usize,
        begin: conv.pads[0] as usize,
        end: conv.pads[3] as usize,
        auto_pad,
    };
    let positions = window.positions(&dims[2], false);
    let positions = positions.map_err(|fault| Error::unsupported(fault.to_string()))?;
    let (begin, end) = match auto_pad {
        AutoPad::Explicit => (Dim::from(conv.pads[0] as i64), Dim::from(conv.pads[3] as i64)),
        AutoPad::SameUpper | AutoPad::SameLower => {
            let last = r.dim(positions.add(&Dim::from(-1)))?;
            let reach = r.dim(last.mul(&Dim::from(stride)))?;
            let reach = r.dim(reach.add(&Dim::from(extent)))?;
            let total = r.dim(reach.sub(&dims[2]))?;
            let total = r.dim(total.larger(&Dim::from(0)))?;
            let less = r.dim(total.floor_div(&Dim::from(2)))?;
            let more = r.dim(total.sub(&less))?;
            if auto_pad == AutoPad::SameUpper { (less, more) } else { (more, less) }
        }
    };
    let mut padded = x;
    if begin.as_size() != Some(0) || end.as_size() != Some(0) {
        let side = |size: Dim| {
            let mut sides = vec![Dim::from(0); 5];
            sides[2] = size;
            sides
        };
        let pad = Pad { mode: 0, begins: side(begin), ends: side(end) };
        padded = r.emit("depth_pad", Op::Pad(pad), &[x])?;
    }
    // Channels of a group, for each slice.
    let channels = r.dim(dims[1].floor_div(&groups))?;
    let apart = vec![
        dims[0].clone(),
        groups.clone(),
        Dim::from(1),
        channels.clone(),
        positions.clone(),
        dims[3].clone(),
        dims[4].clone(),
    ];
    let reach = r.dim(positions.add(&Dim::from(-1)))?;
    let reach = r.dim(reach.mul(&Dim::from(stride)))?;
    let mut slices = Vec::with_capacity(kernel as usize);
    for tap in 0..kernel {
        let start = Dim::from(tap * dilation);
        let stop = r.dim(reach.add(&Dim::from(tap * dilation + 1)))?;
        let slice = r.sliced(&format!("slice_{tap}"), padded, 2, (start, stop, stride))?;
        slices.push(r.reshape(&format!("slice_{tap}_apart"), slice, apart.clone())?);
    }
    let together = r.joined("slices", 2, &slices)?;
    let together = r.transpose("images", together, &[0, 4, 1, 2, 3, 5, 6])?;
    let images = vec![
        r.dim(dims[0].mul(&positions))?,
        r.dim(dims[1].mul(&Dim::from(kernel)))?,
        dims[3].clone(),
        dims[4].clone(),
    ];
    let images = r.reshape("images_flat", together, images)?;

    let turned = r.transpose("weights_turned", weights, &[0, 3, 4, 2, 1])?;
    let columns = r.dim(shape[1].mul(&shape[2]))?;
    let rows = vec![shape[0].clone(), shape[3].clone(), shape[4].clone(), columns];
    let matrix = r.reshape("weights", turned, rows)?;
    let plane = Conv {
        strides: conv.strides[1..].to_vec(),
        dilations: conv.dilations[1..].to_vec(),
        pads: vec![conv.pads[1], conv.pads[2], conv.pads[4], conv.pads[5]],
        ..conv
    };
    let inputs = [Some(images), Some(matrix), bias];
    let maps = r.emit_many("", Op::Conv(plane), &inputs, &[true])?;
    let maps = maps.into_iter().flatten().next();
    let maps = maps.ok_or_else(no_output)?;
    let sizes = r.dims(maps);
    let apart =
        vec![dims[0].clone(), positions, sizes[1].clone(), sizes[2].clone(), sizes[3].clone()];
    let apart = r.reshape("maps", maps, apart)?;
    r.transpose("volumes", apart, &[0, 2, 1, 3, 4])
}

/// Pooling: of each slice, and then of the slices. Gives the values and, if they are `wanted`, the indices of the
/// largest in all of x: those of the slices' largest, at the indices of the largest of those.
pub(super) fn pool(
    r: &mut Reader<'_, '_>,
    x: Value,
    pool: &Pool,
    wanted: bool,
) -> Result<(Value, Option<Value>)> {
    let dims = r.dims(x);
    let part = |axes: [Option<usize>; 2]| {
        let of = |sizes: &[u64], none: u64| axes.map(|axis| axis.map_or(none, |axis| sizes[axis]));
        let (begins, ends) = (of(&pool.pads[..3], 0), of(&pool.pads[3..], 0));
        Pool {
            kernel: of(&pool.kernel, 1).to_vec(),
            strides: of(&pool.strides, 1).to_vec(),
            dilations: of(&pool.dilations, 1).to_vec(),
            pads: [begins, ends].concat(),
            ..pool.clone()
        }
    };
    let planes = r.dim(dims[1].mul(&dims[2]))?;
    let images = vec![dims[0].clone(), planes, dims[3].clone(), dims[4].clone()];
    let images = r.reshape("slices", x, images)?;
    let (maps, in_slices) = pooled(r, "slices_pool", images, part([Some(1), Some(2)]), wanted)?;
    let [.., height, width] = &r.dims(maps)[..] else { return Err(no_output()) };
    let (height, width) = (height.clone(), width.clone());
    let plane = product(&[height.clone(), width.clone()])?;
    let columns = vec![dims[0].clone(), dims[1].clone(), dims[2].clone(), plane];
    let columns = r.reshape("columns", maps, columns)?;
    let (y, in_columns) = pooled(r, "", columns, part([Some(0), None]), wanted)?;
    let depth = r.dims(y)[2].clone();
    let volumes = vec![dims[0].clone(), dims[1].clone(), depth, height, width];
    let indices = match (in_slices, in_columns) {
        (Some(slices), Some(columns)) => {
            let all = product(&r.dims(slices))?;
            let slices = r.reshape("slices_indices", slices, vec![all])?;
            let chosen = r.emit("indices", Op::Gather(Gather { axis: 0 }), &[slices, columns])?;
            Some(r.reshape("volumes_indices", chosen, volumes.clone())?)
        }
        _ => None,
    };
    Ok((r.reshape("volumes", y, volumes)?, indices))
}

/// Pooling of images, with indices if they are wanted.
fn pooled(
    r: &mut Reader<'_, '_>,
    part: &str,
    x: Value,
    pool: Pool,
    wanted: bool,
) -> Result<(Value, Option<Value>)> {
    let outputs = r.emit_many(part, Op::Pool(pool), &[Some(x)], &[true, wanted])?;
    let mut outputs = outputs.into_iter();
    let y = outputs.next().flatten().ok_or_else(no_output)?;
    Ok((y, outputs.next().flatten()))
}

fn no_output() -> Error {
    Error::unsupported("its operator has no output here")
}
