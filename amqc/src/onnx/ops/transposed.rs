//! Transposed convolution: what each pixel gives to each place of its window is a product with a matrix,
//! and windows are then put together.

use amq_format::graph::{BinaryFunction as B, Conv, Dim, Fold, Linear, Op};

use super::conv::sizes;
use super::layout::product;
use crate::error::{Error, Result};
use crate::onnx::attrs::{FLOAT, Reader};

pub(in crate::onnx) fn conv_transpose(r: &mut Reader<'_, '_>) -> Result<()> {
    let (x, weights, bias) = (r.input(0)?, r.input(1)?, r.optional_input(2));
    let dims = r.dims(x);
    let axes = match dims.len() {
        rank @ 3..=5 => rank - 2,
        rank => return Err(Error::unsupported(format!("an input of {rank} axes"))),
    };
    let shape: Option<Vec<i64>> = r.dims(weights).iter().map(Dim::as_size).collect();
    let shape = shape.filter(|shape| shape.len() == axes + 2 && shape.iter().all(|&size| size > 0));
    let shape = shape.ok_or_else(|| {
        Error::bad_file(format!("W is not a tensor of {} axes of known sizes", axes + 2))
    })?;
    let groups = r.int("group")?.unwrap_or(1);
    if groups < 1 || shape[0] % groups != 0 {
        return Err(Error::bad_file(format!("group is {groups} of {} channels", shape[0])));
    }
    let kernel: Vec<u64> = shape[2..].iter().map(|&size| size as u64).collect();
    if let Some(given) = sizes(r, "kernel_shape", axes, 1)?
        && given != kernel
    {
        return Err(Error::bad_file(format!("kernel_shape {given:?} is not that of W")));
    }
    let strides = sizes(r, "strides", axes, 1)?.unwrap_or_else(|| vec![1; axes]);
    let dilations = sizes(r, "dilations", axes, 1)?.unwrap_or_else(|| vec![1; axes]);
    let steps = Steps { kernel: &kernel, strides: &strides, dilations: &dilations };
    let (begins, spatial) = borders(r, &dims[2..], &steps)?;

    // Rows for each group, channel and place of the window; columns for each channel read.
    let taps: i64 = shape[2..].iter().product();
    let [read, given] = [shape[0] / groups, shape[1]];
    let apart = [groups, read, given, taps].map(Dim::from).to_vec();
    let apart = r.reshape("weights_apart", weights, apart)?;
    let turned = r.transpose("weights_turned", apart, &[0, 2, 3, 1])?;
    let rows = groups * given * taps;
    let pixels = vec![dims[0].clone(), dims[1].clone(), product(&dims[2..])?];
    let flat = r.reshape("flatten", x, pixels)?;
    let windows = if groups == 1 {
        let matrix = vec![Dim::from(rows), Dim::from(read)];
        let matrix = r.reshape("weights", turned, matrix)?;
        let vectors = r.transpose("pixels", flat, &[0, 2, 1])?;
        r.emit("", Op::Linear(Linear { activations: FLOAT }), &[vectors, matrix])?
    } else {
        let matrix = [rows, 1, read].map(Dim::from).to_vec();
        let matrix = r.reshape("weights", turned, matrix)?;
        let conv = Conv {
            strides: vec![1],
            dilations: vec![1],
            pads: vec![0; 2],
            auto_pad: 0,
            groups: groups as u64,
            activations: FLOAT,
        };
        let maps = r.emit("", Op::Conv(conv), &[flat, matrix])?;
        r.transpose("windows_last", maps, &[0, 2, 1])?
    };
    let mut positions = vec![dims[0].clone()];
    positions.extend_from_slice(&dims[2..]);
    positions.push(Dim::from(rows));
    let windows = r.reshape("windows", windows, positions)?;
    let fold = Fold { kernel, strides, dilations, pads: begins, sizes: spatial };
    let mut y = r.emit("fold", Op::Fold(fold), &[windows])?;
    if let Some(bias) = bias {
        let mut channels = vec![Dim::from(groups * given)];
        if r.dims(bias) != channels {
            return Err(Error::bad_file("B has not a number for each channel of the result"));
        }
        channels.resize(axes + 1, Dim::from(1));
        let bias = r.reshape("bias", bias, channels)?;
        y = r.binary("add", B::Add, y, bias)?;
    }
    r.give(0, y)
}

/// How windows lie along each axis.
struct Steps<'a> {
    kernel: &'a [u64],
    strides: &'a [u64],
    dilations: &'a [u64],
}

/// What is taken away at the beginning of each axis, and the sizes of the result.
fn borders(
    r: &mut Reader<'_, '_>,
    spatial: &[Dim],
    steps: &Steps<'_>,
) -> Result<(Vec<u64>, Vec<Dim>)> {
    let axes = spatial.len();
    let padding = sizes(r, "output_padding", axes, 0)?.unwrap_or_else(|| vec![0; axes]);
    let pads = sizes(r, "pads", 2 * axes, 0)?;
    let wanted = sizes(r, "output_shape", axes, 0)?;
    let mode = r.string("auto_pad")?.unwrap_or("NOTSET");
    if !matches!(mode, "NOTSET" | "VALID" | "SAME_UPPER" | "SAME_LOWER") {
        return Err(Error::bad_file(format!("auto_pad {mode:?}")));
    }
    let (mut begins, mut result) = (Vec::with_capacity(axes), Vec::with_capacity(axes));
    for i in 0..axes {
        let (stride, extra) = (steps.strides[i] as i64, padding[i] as i64);
        let extent = (steps.kernel[i] as i64 - 1) * steps.dilations[i] as i64 + 1;
        // What windows reach: stride (size - 1) + extent, and padding behind it.
        let strided = r.dim(spatial[i].mul(&Dim::from(stride)))?;
        let reach = r.dim(strided.add(&Dim::from(extra + extent - stride)))?;
        let size = match &wanted {
            Some(wanted) => Some(Dim::from(wanted[i] as i64)),
            None if mode.starts_with("SAME") => Some(strided),
            None => None,
        };
        let Some(size) = size else {
            let given = |at: usize| pads.as_ref().map_or(0, |pads| pads[at]);
            let (begin, end) = (given(i), given(i + axes));
            begins.push(begin);
            result.push(r.dim(reach.add(&Dim::from(-(begin as i64) - end as i64)))?);
            continue;
        };
        let total = r.dim(reach.sub(&size))?;
        let total = total.as_size().ok_or_else(|| {
            Error::unsupported("how much output_shape takes away depends on the input's size")
                .remedy("export the model with pads instead of output_shape")
        })?;
        let total = total.max(0) as u64;
        let less = total / 2;
        begins.push(if mode == "SAME_UPPER" { less } else { total - less });
        result.push(size);
    }
    Ok((begins, result))
}
