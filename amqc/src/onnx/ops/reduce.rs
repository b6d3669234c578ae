//! Reductions over axes, Softmax, and the largest or smallest.

use amq_format::Elements;
use amq_format::graph::{Dim, Op, Reduce, ReduceKind, Softmax, TopK};

use super::layout::product;
use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;

/// A reduction whose axes are an attribute before opset `axes_input` and an input since.
pub(in crate::onnx) fn reduce(
    r: &mut Reader<'_, '_>,
    kind: ReduceKind,
    axes_input: i64,
) -> Result<()> {
    let x = r.input(0)?;
    let rank = r.rank(x);
    let keep_dims = r.flag("keepdims", true)?;
    let given = if r.opset < axes_input {
        r.ints("axes")?.map(<[i64]>::to_vec)
    } else {
        r.optional_numbers(1)?
    };
    let none_is_identity = r.opset >= axes_input && r.flag("noop_with_empty_axes", false)?;
    let mut axes = r.axes(&given.unwrap_or_default(), rank)?;
    if axes.is_empty() {
        if none_is_identity {
            return r.give(0, x);
        }
        axes = (0..rank).collect();
    }
    axes.sort_unstable();
    let axes = axes.into_iter().map(|axis| axis as u32).collect();
    let y = r.emit("", Op::Reduce(Reduce { kind: kind.into(), axes, keep_dims }), &[x])?;
    r.give(0, y)
}

/// The product of a shape's elements, with which a number of elements is computed.
pub(in crate::onnx) fn reduce_prod(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let shape = r.known_input(0)?;
    let keep_dims = r.flag("keepdims", true)?;
    let axes =
        if r.opset < 18 { r.ints("axes")?.map(<[i64]>::to_vec) } else { r.optional_numbers(1)? };
    r.axes(&axes.unwrap_or_default(), 1)?;
    if shape.dims.len() != 1 || (r.opset >= 18 && r.flag("noop_with_empty_axes", false)?) {
        return Err(Error::unsupported("the product of anything but a whole shape"));
    }
    let dims = if keep_dims { vec![1] } else { Vec::new() };
    let values = vec![product(&shape.values)?];
    let y = r.known(r.data_type(x), Elements { dims, values })?;
    r.give(0, y)
}

/// A reduction over all spatial axes.
pub(in crate::onnx) fn global_pool(r: &mut Reader<'_, '_>, kind: ReduceKind) -> Result<()> {
    let x = r.input(0)?;
    let rank = r.rank(x);
    if rank < 3 {
        return Err(Error::bad_file(format!("its input has {rank} axes, none of them spatial")));
    }
    let reduce = Reduce { kind: kind.into(), axes: (2..rank as u32).collect(), keep_dims: true };
    let y = r.emit("", Op::Reduce(reduce), &[x])?;
    r.give(0, y)
}

/// Softmax or LogSoftmax. Before opset 13 all axes from the given one on count as one.
pub(in crate::onnx) fn softmax(r: &mut Reader<'_, '_>, log: bool) -> Result<()> {
    let x = r.input(0)?;
    let dims = r.dims(x);
    let default = if r.opset < 13 { 1 } else { -1 };
    let axis = r.int("axis")?.unwrap_or(default);
    let axis = r.axis(axis, dims.len())?;
    if r.opset >= 13 || axis + 1 == dims.len() {
        let y = r.emit("", Op::Softmax(Softmax { axis: axis as u32, log }), &[x])?;
        return r.give(0, y);
    }
    let (before, after) = dims.split_at(axis);
    let flat: Vec<Dim> = vec![product(before)?, product(after)?];
    let flat = r.reshape("flatten", x, flat)?;
    let y = r.emit("", Op::Softmax(Softmax { axis: 1, log }), &[flat])?;
    let y = r.reshape("unflatten", y, dims)?;
    r.give(0, y)
}

/// TopK, whose k is an attribute before opset 10 and an input since.
pub(in crate::onnx) fn top_k(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let k = if r.opset < 10 {
        r.int("k")?.map(|k| vec![k])
    } else {
        r.input(1)?;
        r.optional_numbers(1)?
    };
    let k = match k.as_deref() {
        Some(&[k]) if k >= 0 => k as u64,
        Some(other) => return Err(Error::bad_file(format!("k is {other:?}"))),
        None => return Err(Error::bad_file("k is missing")),
    };
    let axis = r.int("axis")?.unwrap_or(-1);
    let axis = r.axis(axis, r.rank(x))? as u32;
    let smallest = r.opset >= 11 && !r.flag("largest", true)?;
    let unsorted = r.opset >= 11 && !r.flag("sorted", true)?;
    let wanted = [r.wants(0), r.wants(1)];
    if wanted == [false; 2] {
        return Ok(());
    }
    let outputs =
        r.emit_many("", Op::TopK(TopK { axis, k, smallest, unsorted }), &[Some(x)], &wanted)?;
    for (i, output) in outputs.into_iter().enumerate() {
        output.map_or(Ok(()), |output| r.give(i, output))?;
    }
    Ok(())
}
