//! Normalizations, which are products and sums.

use amq_format::graph::{
    AutoPad, BinaryFunction as B, Dim, Op, Pool, PoolKind, ReduceKind, UnaryFunction as U,
};

use super::layout::product;
use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::Value;

/// `x` less its mean over axes; and the root of the mean square of that, `epsilon` added to the square.
fn centred(
    r: &mut Reader<'_, '_>,
    x: Value,
    axes: &[usize],
    epsilon: f32,
) -> Result<(Value, Value, Value)> {
    let mean = r.reduced("mean", ReduceKind::Mean, x, axes, true)?;
    let centred = r.binary("centred", B::Sub, x, mean)?;
    let deviation = root_mean_square(r, centred, axes, epsilon)?;
    Ok((centred, deviation, mean))
}

fn root_mean_square(
    r: &mut Reader<'_, '_>,
    x: Value,
    axes: &[usize],
    epsilon: f32,
) -> Result<Value> {
    let square = r.binary("square", B::Mul, x, x)?;
    let mean = r.reduced("mean_square", ReduceKind::Mean, square, axes, true)?;
    let sum = r.with_scalar("epsilon", B::Add, mean, epsilon)?;
    r.unary("deviation", U::Sqrt, sum)
}

/// The attribute that says in which type means are computed: here always in f32.
fn stash_type(r: &mut Reader<'_, '_>) -> Result<()> {
    match r.int("stash_type")? {
        None | Some(1) => Ok(()),
        Some(other) => Err(Error::unsupported(format!("stash_type = {other}"))
            .remedy("export the model with stash_type 1")),
    }
}

/// `y scale + bias`, each broadcast to y.
fn scaled(
    r: &mut Reader<'_, '_>,
    y: Value,
    scale: Option<Value>,
    bias: Option<Value>,
) -> Result<Value> {
    let mut result = y;
    if let Some(scale) = scale {
        let part = if bias.is_some() { "scaled" } else { "" };
        result = r.binary(part, B::Mul, result, scale)?;
    }
    if let Some(bias) = bias {
        result = r.binary("", B::Add, result, bias)?;
    }
    r.keeps_shape("the scale or bias", y, result)?;
    Ok(result)
}

/// The axes from the attribute `axis` on.
fn last_axes(r: &mut Reader<'_, '_>, x: Value) -> Result<Vec<usize>> {
    let rank = r.rank(x);
    let axis = r.int("axis")?.unwrap_or(-1);
    Ok((r.axis(axis, rank)?..rank).collect())
}

pub(in crate::onnx) fn layer(r: &mut Reader<'_, '_>) -> Result<()> {
    let (x, scale, bias) = (r.input(0)?, r.input(1)?, r.optional_input(2));
    let axes = last_axes(r, x)?;
    let epsilon = r.float("epsilon")?.unwrap_or(1e-5);
    stash_type(r)?;
    let (centred, deviation, mean) = centred(r, x, &axes, epsilon)?;
    let y = r.binary("normalized", B::Div, centred, deviation)?;
    let y = scaled(r, y, Some(scale), bias)?;
    r.give(0, y)?;
    r.give(1, mean)?;
    if r.wants(2) {
        let inverse = r.unary("inverse", U::Reciprocal, deviation)?;
        r.give(2, inverse)?;
    }
    Ok(())
}

pub(in crate::onnx) fn root_mean_square_layer(r: &mut Reader<'_, '_>) -> Result<()> {
    let (x, scale) = (r.input(0)?, r.input(1)?);
    let axes = last_axes(r, x)?;
    let epsilon = r.float("epsilon")?.unwrap_or(1e-5);
    stash_type(r)?;
    let deviation = root_mean_square(r, x, &axes, epsilon)?;
    let y = r.binary("normalized", B::Div, x, deviation)?;
    let y = scaled(r, y, Some(scale), None)?;
    r.give(0, y)
}

/// A vector with an entry for each entry of axis 1 of a tensor of `rank` axes.
fn by_channel(r: &mut Reader<'_, '_>, part: &str, vector: Value, rank: usize) -> Result<Value> {
    let mut dims = r.dims(vector);
    if dims.len() != 1 {
        return Err(Error::bad_file(format!("its {part} has {} axes instead of 1", dims.len())));
    }
    dims.resize(rank - 1, Dim::from(1));
    r.reshape(&format!("{part}_reshape"), vector, dims)
}

pub(in crate::onnx) fn instance(r: &mut Reader<'_, '_>) -> Result<()> {
    let (x, scale, bias) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let epsilon = r.float("epsilon")?.unwrap_or(1e-5);
    let rank = r.rank(x);
    if rank < 3 {
        return Err(Error::bad_file(format!("its input has {rank} axes; at least 3 are needed")));
    }
    let axes: Vec<usize> = (2..rank).collect();
    let (centred, deviation, _) = centred(r, x, &axes, epsilon)?;
    let y = r.binary("normalized", B::Div, centred, deviation)?;
    let scale = by_channel(r, "scale", scale, rank)?;
    let bias = by_channel(r, "bias", bias, rank)?;
    let y = scaled(r, y, Some(scale), Some(bias))?;
    r.give(0, y)
}

/// GroupNormalization, whose scale and bias are those of groups before opset 21 and those of channels
/// since.
pub(in crate::onnx) fn group(r: &mut Reader<'_, '_>) -> Result<()> {
    let (x, scale, bias) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let epsilon = r.float("epsilon")?.unwrap_or(1e-5);
    let groups = r.int("num_groups")?.filter(|&groups| groups > 0);
    let groups = Dim::from(groups.ok_or_else(|| Error::bad_file("num_groups is not positive"))?);
    if r.opset >= 21 {
        stash_type(r)?;
    }
    let dims = r.dims(x);
    if dims.len() < 3 {
        return Err(Error::bad_file(format!("its input has {} axes, not 3 or more", dims.len())));
    }
    let channels = r.dim(dims[1].floor_div(&groups))?;
    if r.dim(channels.mul(&groups))? != dims[1] {
        return Err(Error::unsupported(format!("{} channels in {groups} groups", dims[1])));
    }
    let mut of_group = vec![channels];
    of_group.extend_from_slice(&dims[2..]);
    let together = vec![dims[0].clone(), groups, product(&of_group)?];
    let grouped = r.reshape("groups", x, together)?;
    let (centred, deviation, _) = centred(r, grouped, &[2], epsilon)?;
    let y = r.binary("normalized", B::Div, centred, deviation)?;
    let y = if r.opset < 21 {
        let scale = by_channel(r, "scale", scale, 3)?;
        let bias = by_channel(r, "bias", bias, 3)?;
        let y = scaled(r, y, Some(scale), Some(bias))?;
        r.reshape("channels", y, dims)?
    } else {
        let rank = dims.len();
        let y = r.reshape("channels", y, dims)?;
        let scale = by_channel(r, "scale", scale, rank)?;
        let bias = by_channel(r, "bias", bias, rank)?;
        scaled(r, y, Some(scale), Some(bias))?
    };
    r.give(0, y)
}

/// `(sum |x|^p)^(1/p)` over axes, which stay with size 1.
pub(super) fn p_norm(
    r: &mut Reader<'_, '_>,
    part: &str,
    x: Value,
    p: i64,
    axes: &[usize],
) -> Result<Value> {
    let powers = powers(r, x, p)?;
    let sum = r.reduced("sum", ReduceKind::Sum, powers, axes, true)?;
    root(r, part, sum, p)
}

/// `|x|^p`
pub(super) fn powers(r: &mut Reader<'_, '_>, x: Value, p: i64) -> Result<Value> {
    match p {
        1 => r.magnitude("magnitudes", x),
        2 => r.binary("squares", B::Mul, x, x),
        3.. => {
            let magnitudes = r.magnitude("magnitudes", x)?;
            r.with_scalar("powers", B::Pow, magnitudes, p as f32)
        }
        _ => Err(Error::bad_file(format!("p is {p}"))),
    }
}

/// `x^(1/p)`
pub(super) fn root(r: &mut Reader<'_, '_>, part: &str, x: Value, p: i64) -> Result<Value> {
    match p {
        1 => Ok(x),
        2 => r.unary(part, U::Sqrt, x),
        _ => r.with_scalar(part, B::Pow, x, 1.0 / p as f32),
    }
}

/// `x / ||x||_p`, and 0 where the norm is 0.
pub(in crate::onnx) fn p_normalization(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let axis = r.int("axis")?.unwrap_or(-1);
    let axis = r.axis(axis, r.rank(x))?;
    let p = r.int("p")?.unwrap_or(2);
    if !(1..=2).contains(&p) {
        return Err(Error::bad_file(format!("p is {p}, not 1 or 2")));
    }
    let norm = p_norm(r, "norm", x, p, &[axis])?;
    let quotient = r.binary("quotient", B::Div, x, norm)?;
    let zero = r.scalar("zero", 0.0)?;
    let empty = r.binary("empty", B::Equal, norm, zero)?;
    let y = r.select("", empty, zero, quotient)?;
    r.give(0, y)
}

/// `(x - mean) / (deviation + 1e-9)`
pub(in crate::onnx) fn mean_variance(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let axes = r.ints("axes")?.unwrap_or(&[0, 2, 3]);
    let axes = r.axes(axes, r.rank(x))?;
    let (centred, deviation, _) = centred(r, x, &axes, 0.0)?;
    let deviation = r.with_scalar("not_zero", B::Add, deviation, 1e-9)?;
    let y = r.binary("", B::Div, centred, deviation)?;
    r.give(0, y)
}

/// `x / (bias + alpha / size sum)^beta`, the sum being that of the squares of `size` neighbours among the
/// channels.
pub(in crate::onnx) fn local_response(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let alpha = r.float("alpha")?.unwrap_or(1e-4);
    let beta = r.float("beta")?.unwrap_or(0.75);
    let bias = r.float("bias")?.unwrap_or(1.0);
    let size = r.int("size")?.and_then(|size| u64::try_from(size).ok()).filter(|&size| size > 0);
    let size = size.ok_or_else(|| Error::bad_file("size is not positive"))?;
    let dims = r.dims(x);
    if dims.len() < 2 {
        return Err(Error::bad_file("its input has no channels"));
    }
    let square = r.binary("square", B::Mul, x, x)?;
    let flat = vec![dims[0].clone(), Dim::from(1), dims[1].clone(), product(&dims[2..])?];
    let flat = r.reshape("flatten", square, flat)?;
    let (before, after) = ((size - 1) / 2, size / 2);
    let pool = Pool {
        kind: PoolKind::Sum.into(),
        kernel: vec![size, 1],
        strides: vec![1, 1],
        dilations: vec![1, 1],
        pads: vec![before, 0, after, 0],
        auto_pad: AutoPad::Explicit.into(),
        ceil_mode: false,
        count_include_pad: false,
    };
    let sum = r.emit("sum", Op::Pool(pool), &[flat])?;
    let sum = r.reshape("unflatten", sum, dims)?;
    let sum = r.with_scalar("scaled", B::Mul, sum, alpha / size as f32)?;
    let base = r.with_scalar("base", B::Add, sum, bias)?;
    let divisor = r.with_scalar("power", B::Pow, base, beta)?;
    let y = r.binary("", B::Div, x, divisor)?;
    r.give(0, y)
}
