//! Reductions over axes, Softmax, and the largest or smallest.

use amq_format::graph::{
    BinaryFunction, Dim, Op, Reduce, ReduceKind, Softmax, TopK, Unary, UnaryFunction,
};
use amq_format::list;

use super::layout::product;
use super::norm;
use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::Value;

/// Axes of a reduction, and whether they stay. They are an attribute before opset `axes_input` and an
/// input since; none stand for all, or for none where the node says so.
fn reduction(r: &mut Reader<'_, '_>, x: Value, axes_input: i64) -> Result<(Vec<usize>, bool)> {
    let rank = r.rank(x);
    let keep_dims = r.flag("keepdims", true)?;
    let given = if r.opset < axes_input {
        r.ints("axes")?.map(<[i64]>::to_vec)
    } else {
        r.optional_numbers(1)?
    };
    let none_stays_none = r.opset >= axes_input && r.flag("noop_with_empty_axes", false)?;
    let mut axes = r.axes(&given.unwrap_or_default(), rank)?;
    if axes.is_empty() && !none_stays_none {
        axes = (0..rank).collect();
    }
    axes.sort_unstable();
    Ok((axes, keep_dims))
}

pub(in crate::onnx) fn reduce(
    r: &mut Reader<'_, '_>,
    kind: ReduceKind,
    axes_input: i64,
) -> Result<()> {
    let x = r.input(0)?;
    let (axes, keep_dims) = reduction(r, x, axes_input)?;
    let y = if axes.is_empty() && r.rank(x) > 0 {
        x
    } else {
        r.reduced("", kind, x, &axes, keep_dims)?
    };
    r.give(0, y)
}

/// A norm: `(sum |x|^p)^(1/p)`.
pub(in crate::onnx) fn reduce_norm(r: &mut Reader<'_, '_>, p: i64) -> Result<()> {
    let x = r.input(0)?;
    let (axes, keep_dims) = reduction(r, x, 18)?;
    let powers = norm::powers(r, x, p)?;
    let sum =
        r.reduced(if p == 1 { "" } else { "sum" }, ReduceKind::Sum, powers, &axes, keep_dims)?;
    let y = norm::root(r, "", sum, p)?;
    r.give(0, y)
}

pub(in crate::onnx) fn reduce_sum_of_squares(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let (axes, keep_dims) = reduction(r, x, 18)?;
    let squares = norm::powers(r, x, 2)?;
    let y = r.reduced("", ReduceKind::Sum, squares, &axes, keep_dims)?;
    r.give(0, y)
}

pub(in crate::onnx) fn reduce_log_sum(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let (axes, keep_dims) = reduction(r, x, 18)?;
    let sum = r.reduced("sum", ReduceKind::Sum, x, &axes, keep_dims)?;
    let y = r.unary("", UnaryFunction::Log, sum)?;
    r.give(0, y)
}

/// `ln(sum e^(x - m)) + m`, where m is the largest element, or the largest or smallest number if that
/// is infinite.
pub(in crate::onnx) fn reduce_log_sum_exp(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let (axes, keep_dims) = reduction(r, x, 18)?;
    let most = r.reduced("most", ReduceKind::Max, x, &axes, true)?;
    let clip = Unary { function: UnaryFunction::Clip.into(), alpha: f32::MIN, beta: f32::MAX };
    let most = r.emit("finite", Op::Unary(clip), &[most])?;
    let less = r.binary("less", BinaryFunction::Sub, x, most)?;
    let exp = r.unary("exp", UnaryFunction::Exp, less)?;
    let sum = r.reduced("sum", ReduceKind::Sum, exp, &axes, keep_dims)?;
    let log = r.unary("log", UnaryFunction::Log, sum)?;
    let dims = r.dims(log);
    let most = r.reshape("finite_reshape", most, dims)?;
    let y = r.binary("", BinaryFunction::Add, log, most)?;
    r.give(0, y)
}

/// `(sum |x|^p)^(1/p)` over all spatial axes.
pub(in crate::onnx) fn global_p_pool(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let p = r.int("p")?.unwrap_or(2);
    let axes: Vec<usize> = (2..r.rank(x)).collect();
    let y = norm::p_norm(r, "", x, p, &axes)?;
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
    let k: Vec<Dim> = if r.opset < 10 {
        r.int("k")?.map(Dim::from).into_iter().collect()
    } else {
        r.sizes_input(1)?
    };
    if k.len() != 1 || k[0].as_size().is_some_and(|k| k < 0) {
        return Err(Error::bad_file(format!("k is {}", list(&k))));
    }
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
