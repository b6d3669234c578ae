//! Blocks of pixels, repetition, and windows put together again.

use amq_format::Elements;
use amq_format::graph::{
    BinaryFunction as B, DataType, Dim, Fold, Op, ScatterElements, ScatterKind,
};

use super::layout::product;
use super::old;
use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::Value;

fn block_size(r: &mut Reader<'_, '_>) -> Result<Dim> {
    let size = r.int("blocksize")?.filter(|&size| size > 0);
    size.map(Dim::from).ok_or_else(|| Error::bad_file("blocksize is not positive"))
}

/// `a / b`, which must be whole.
fn part(r: &Reader<'_, '_>, a: &Dim, b: &Dim) -> Result<Dim> {
    let quotient = r.dim(a.floor_div(b))?;
    if r.dim(quotient.mul(b))? == *a {
        return Ok(quotient);
    }
    Err(Error::unsupported(format!("whether {a} can be divided by {b} is not known, or it cannot")))
}

pub(in crate::onnx) fn depth_to_space(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let block = block_size(r)?;
    let mode = if r.opset < 11 { None } else { r.string("mode")? }.unwrap_or("DCR");
    let dims = r.dims(x);
    let [n, c, h, w] = <[Dim; 4]>::try_from(dims)
        .map_err(|dims| Error::bad_file(format!("its input has {} axes, not 4", dims.len())))?;
    let square = r.dim(block.mul(&block))?;
    let channels = part(r, &c, &square)?;
    let b = || block.clone();
    let (apart, perm): (_, [u32; 6]) = match mode {
        "DCR" => {
            (vec![n.clone(), b(), b(), channels.clone(), h.clone(), w.clone()], [0, 3, 4, 1, 5, 2])
        }
        "CRD" => {
            (vec![n.clone(), channels.clone(), b(), b(), h.clone(), w.clone()], [0, 1, 4, 2, 5, 3])
        }
        other => return Err(Error::bad_file(format!("mode {other:?}"))),
    };
    let apart = r.reshape("apart", x, apart)?;
    let turned = r.transpose("turned", apart, &perm)?;
    let (height, width) = (r.dim(h.mul(&block))?, r.dim(w.mul(&block))?);
    let y = r.reshape("", turned, vec![n, channels, height, width])?;
    r.give(0, y)
}

pub(in crate::onnx) fn space_to_depth(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let block = block_size(r)?;
    let mode = if r.opset < 28 { None } else { r.string("mode")? }.unwrap_or("DCR");
    let dims = r.dims(x);
    let [n, c, h, w] = <[Dim; 4]>::try_from(dims)
        .map_err(|dims| Error::bad_file(format!("its input has {} axes, not 4", dims.len())))?;
    let (height, width) = (part(r, &h, &block)?, part(r, &w, &block)?);
    let b = || block.clone();
    let apart = vec![n.clone(), c.clone(), height.clone(), b(), width.clone(), b()];
    let apart = r.reshape("apart", x, apart)?;
    let turned = match mode {
        "DCR" => r.transpose("turned", apart, &[0, 3, 5, 1, 2, 4])?,
        "CRD" => r.transpose("turned", apart, &[0, 1, 3, 5, 2, 4])?,
        other => return Err(Error::bad_file(format!("mode {other:?}"))),
    };
    let channels = product(&[c, b(), b()])?;
    let y = r.reshape("", turned, vec![n, channels, height, width])?;
    r.give(0, y)
}

/// Tile: x again and again along each axis.
pub(in crate::onnx) fn tile(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let repeats = if r.opset < 6 { old::repeats(r, x)? } else { r.sizes_input(1)? };
    let rank = r.rank(x);
    if repeats.len() != rank {
        return Err(Error::bad_file(format!("{} repeats for {rank} axes", repeats.len())));
    }
    let mut y = x;
    for (axis, count) in repeats.into_iter().enumerate() {
        if count.as_size() == Some(1) {
            continue;
        }
        let dims = r.dims(y);
        let mut apart = dims.clone();
        apart.insert(axis, Dim::from(1));
        let mut wide = dims.clone();
        wide.insert(axis, count.clone());
        let mut joined = dims.clone();
        joined[axis] = r.dim(dims[axis].mul(&count))?;
        y = r.reshape("apart", y, apart)?;
        y = r.expanded("wide", y, wide)?;
        y = r.reshape("joined", y, joined)?;
    }
    r.give(0, y)
}

/// A number of which products of two are numbers too.
fn small(number: i64) -> Option<u64> {
    i32::try_from(number).ok().and_then(|number| u64::try_from(number).ok())
}

/// Numbers of an attribute, one for each axis.
fn numbers(r: &mut Reader<'_, '_>, name: &str, count: usize, default: u64) -> Result<Vec<u64>> {
    let Some(ints) = r.ints(name)? else { return Ok(vec![default; count]) };
    let numbers: Option<Vec<u64>> = ints.iter().map(|&i| small(i)).collect();
    numbers
        .filter(|numbers| numbers.len() == count)
        .ok_or_else(|| Error::bad_file(format!("{name} is {ints:?} for {count} axes")))
}

pub(in crate::onnx) fn column_to_image(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let sizes = r.known_input(1)?.values;
    r.input(2)?;
    let kernel = r.optional_numbers(2)?.unwrap_or_default();
    let kernel: Option<Vec<u64>> = kernel.iter().map(|&size| small(size)).collect();
    let kernel = kernel.filter(|kernel| {
        kernel.len() == sizes.len() && kernel.len() <= 3 && kernel.iter().all(|&size| size > 0)
    });
    let kernel = kernel.ok_or_else(|| Error::unsupported("blocks of more than three axes"))?;
    let axes = kernel.len();
    let strides = numbers(r, "strides", axes, 1)?;
    let dilations = numbers(r, "dilations", axes, 1)?;
    let pads = numbers(r, "pads", 2 * axes, 0)?;
    let dims = r.dims(x);
    if dims.len() != 3 {
        return Err(Error::bad_file(format!("its input has {} axes instead of 3", dims.len())));
    }
    let mut apart = dims[..1].to_vec();
    for i in 0..axes {
        let extent = (kernel[i] as i64 - 1) * dilations[i] as i64 + 1;
        let room = (pads[i] + pads[i + axes]) as i64 - extent;
        let room = r.dim(sizes[i].add(&Dim::from(room)))?;
        let steps = r.dim(room.floor_div(&Dim::from(strides[i] as i64)))?;
        apart.push(r.dim(steps.add(&Dim::from(1)))?);
    }
    apart.push(dims[1].clone());
    let x = r.transpose("windows", x, &[0, 2, 1])?;
    let x = r.reshape("positions", x, apart)?;
    let pads = pads[..axes].to_vec();
    let y = r.emit("", Op::Fold(Fold { kernel, strides, dilations, pads, sizes }), &[x])?;
    r.give(0, y)
}

/// MaxUnpool: x where its indices say, zeros elsewhere.
pub(in crate::onnx) fn max_unpool(r: &mut Reader<'_, '_>) -> Result<()> {
    let (x, indices) = (r.input(0)?, r.input(1)?);
    let Some(axes) = r.rank(x).checked_sub(2) else {
        return Err(Error::bad_file("its input has no channels"));
    };
    let kernel = numbers(r, "kernel_shape", axes, 1)?;
    let strides = numbers(r, "strides", axes, 1)?;
    let pads = numbers(r, "pads", 2 * axes, 0)?;
    let dims = r.dims(x);
    let mut sizes = dims[..2].to_vec();
    for i in 0..axes {
        let reach = r.dim(dims[i + 2].add(&Dim::from(-1)))?;
        let reach = r.dim(reach.mul(&Dim::from(strides[i] as i64)))?;
        let more = kernel[i] as i64 - (pads[i] + pads[i + axes]) as i64;
        sizes.push(r.dim(reach.add(&Dim::from(more)))?);
    }
    let wanted = r.optional_known_input(2)?.map(|shape| shape.values);
    let count = product(&sizes)?;
    let zero = r.number("zero", r.data_type(x), 0)?;
    let zeros = r.expanded("zeros", zero, vec![count])?;
    let all = product(&dims)?;
    let x = r.reshape("flatten", x, vec![all.clone()])?;
    let indices = r.reshape("indices", indices, vec![all])?;
    let scatter = ScatterElements { axis: 0, kind: ScatterKind::Replace.into() };
    let y = r.emit("", Op::ScatterElements(scatter), &[zeros, indices, x])?;
    let mut y = r.reshape("unflatten", y, sizes.clone())?;
    if let Some(wanted) = wanted {
        if wanted.len() != sizes.len() {
            return Err(Error::bad_file("its output_shape has another number of axes"));
        }
        let mut ends = Vec::with_capacity(sizes.len());
        for (wanted, size) in wanted.iter().zip(&sizes) {
            ends.push(r.dim(wanted.sub(size))?);
        }
        let begins = vec![Dim::from(0); sizes.len()];
        let pad = amq_format::graph::Pad { mode: 0, begins, ends };
        y = r.emit("output_shape", Op::Pad(pad), &[y])?;
    }
    r.give(0, y)
}

/// Indices of elements of `[planes, height, width]` counted along columns instead of rows.
pub(super) fn by_columns(r: &mut Reader<'_, '_>, indices: Value, spatial: &[Dim]) -> Result<Value> {
    let [height, width] = spatial else {
        return Err(Error::unsupported("storage_order = 1 with other than two spatial axes"));
    };
    let h = r.known(DataType::I64, Elements { dims: Vec::new(), values: vec![height.clone()] })?;
    let w = r.known(DataType::I64, Elements { dims: Vec::new(), values: vec![width.clone()] })?;
    let lines = r.binary("lines", B::Div, indices, w)?;
    let column = r.binary("column", B::Remainder, indices, w)?;
    let plane = r.binary("plane", B::Div, lines, h)?;
    let row = r.binary("row", B::Remainder, lines, h)?;
    let columns = r.binary("plane_columns", B::Mul, plane, w)?;
    let columns = r.binary("columns", B::Add, columns, column)?;
    let before = r.binary("before", B::Mul, columns, h)?;
    r.binary("by_columns", B::Add, before, row)
}
