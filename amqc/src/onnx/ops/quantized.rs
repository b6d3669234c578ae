//! Operators of models that are quantized already, read as what they stand for in float.
//!
//! Weights become floats again, so that they are coded as any others. Where values are quantized only
//! to be floats again, the range that the integers had stays and their steps go: how activations are
//! coded is for the settings to say. Integers that something else reads are computed as specified.

use amq_format::graph::{
    BinaryFunction as B, DataType, Dim, Gather, MatMul, Op, ReduceKind, Unary, UnaryFunction as U,
};

use super::{conv, matrix};
use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::{Origin, Value};
use crate::onnx::proto::ElementType;
use crate::onnx::tensor::Precision;
use crate::tensor::{Data, Tensor};

/// x held between two bounds.
fn clipped(r: &mut Reader<'_, '_>, part: &str, x: Value, low: f32, high: f32) -> Result<Value> {
    // A file holds no negative zero here; the sum makes it positive.
    let (alpha, beta) = (low + 0.0, high + 0.0);
    r.emit(part, Op::Unary(Unary { function: U::Clip.into(), alpha, beta }), &[x])
}

/// A scale and what stands for zero, as a node has them.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    pub(super) scale: Value,
    pub(super) zero: Option<Value>,
}

/// The scale at input `i`, and the zero point behind it.
pub(super) fn scale(r: &mut Reader<'_, '_>, i: usize) -> Result<Scale> {
    Ok(Scale { scale: r.input(i)?, zero: r.optional_input(i + 1) })
}

/// How a scale lies along its tensor.
#[derive(Clone, Copy)]
pub(super) enum Along {
    /// One element for all, or for each place of this axis.
    Axis(i64),
    /// One for each so many places of an axis.
    Blocks(i64, i64),
}

/// The values that an integer type holds.
fn range(element: ElementType) -> Result<(DataType, f32, f32)> {
    Ok(match element {
        ElementType::Uint8 => (DataType::U8, 0.0, 255.0),
        ElementType::Int8 => (DataType::I8, -128.0, 127.0),
        ElementType::Uint16 => (DataType::U16, 0.0, 65535.0),
        ElementType::Int16 => (DataType::I16, -32768.0, 32767.0),
        ElementType::Uint4 => (DataType::U8, 0.0, 15.0),
        ElementType::Int4 => (DataType::I8, -8.0, 7.0),
        ElementType::Uint2 => (DataType::U8, 0.0, 3.0),
        ElementType::Int2 => (DataType::I8, -2.0, 1.0),
        other => {
            let name = ElementType::name_of(other as i32);
            return Err(Error::unsupported(format!("quantization to {name} is not supported")));
        }
    })
}

fn float(r: &mut Reader<'_, '_>, part: &str, x: Value) -> Result<Value> {
    r.cast_to(part, x, DataType::F32)
}

/// A scale or zero point in a shape that is broadcast to x.
fn spread(r: &mut Reader<'_, '_>, part: &str, of: Value, x: Value, along: Along) -> Result<Value> {
    let (rank, dims) = (r.rank(x), r.dims(of));
    if dims.len() <= 1 && dims.iter().all(|dim| dim.as_size() == Some(1)) {
        return r.reshape(part, of, Vec::new());
    }
    match along {
        Along::Axis(axis) if dims.len() == 1 => {
            let axis = r.axis(axis, rank)?;
            if dims[0] != r.dims(x)[axis] {
                return Err(Error::bad_file(format!(
                    "a scale of {} elements for an axis of {}",
                    dims[0],
                    r.dims(x)[axis]
                )));
            }
            let mut shape = vec![Dim::from(1); rank - axis];
            shape[0] = dims[0].clone();
            r.reshape(part, of, shape)
        }
        Along::Axis(_) => Ok(of),
        Along::Blocks(axis, block) => {
            let axis = r.axis(axis, rank)?;
            let size = r.dims(x)[axis].as_size();
            let (Some(size), true) = (size, dims.len() == rank) else {
                return Err(Error::unsupported("blocks along an axis whose size is not fixed"));
            };
            if dims[axis].as_size() != Some((size - 1) / block + 1) {
                return Err(Error::bad_file(format!(
                    "{} scales along an axis of {size} in blocks of {block}",
                    dims[axis]
                )));
            }
            let blocks: Vec<i64> = (0..size).map(|place| place / block).collect();
            let blocks = Tensor { dims: vec![blocks.len()], data: Data::I64(blocks) };
            let blocks = r.constant(&format!("{part}_blocks"), blocks)?;
            let gather = Op::Gather(Gather { axis: axis as u32 });
            r.emit(&format!("{part}_spread"), gather, &[of, blocks])
        }
    }
}

/// `(x - zero) scale`, or what x was before it was quantized so, held to the range that it had then.
pub(super) fn dequantized(
    r: &mut Reader<'_, '_>,
    part: &str,
    x: Value,
    by: Scale,
    along: Along,
) -> Result<Value> {
    if let Some(Origin::Quantized { x, scale, zero, low, high }) = r.builder.origin(x)
        && r.same(scale, by.scale)
        && (zero == by.zero || zero.zip(by.zero).is_some_and(|(a, b)| r.same(a, b)))
        && let Some(scale) = r.constant_scalar(scale).filter(|scale| *scale > 0.0)
        && let Some(zero) = zero.map_or(Some(0.0), |zero| r.constant_number(zero))
    {
        r.builder.notes.dropped_steps += 1;
        let (low, high) = ((low - zero) * scale, (high - zero) * scale);
        return clipped(r, &format!("{part}_range"), x, low, high);
    }
    if r.builder.constant_of(x).is_some() {
        r.builder.notes.dequantized += 1;
    }
    let mut y = float(r, &format!("{part}_float"), x)?;
    let zero = by.zero.filter(|&zero| !r.is_zero(zero));
    if let Some(zero) = zero {
        let zero = float(r, &format!("{part}_zero_float"), zero)?;
        let zero = spread(r, &format!("{part}_zero"), zero, x, along)?;
        y = r.binary(&format!("{part}_centred"), B::Sub, y, zero)?;
    }
    let scale = spread(r, &format!("{part}_scale"), by.scale, x, along)?;
    r.binary(&format!("{part}_scaled"), B::Mul, y, scale)
}

/// `saturate(round(x / scale) + zero)` in the type of the zero point, or in `element` without one.
pub(super) fn quantized(
    r: &mut Reader<'_, '_>,
    x: Value,
    by: Scale,
    along: Along,
    element: Option<ElementType>,
) -> Result<Value> {
    let found = by.zero.map(|zero| r.builder.element(zero)).or(element);
    let element = found.unwrap_or(ElementType::Uint8);
    let (data_type, low, high) = range(element)?;
    let scale = spread(r, "scale", by.scale, x, along)?;
    let mut y = r.binary("divided", B::Div, x, scale)?;
    y = r.unary("rounded", U::Round, y)?;
    if let Some(zero) = by.zero.filter(|&zero| !r.is_zero(zero)) {
        let zero = float(r, "zero_float", zero)?;
        let zero = spread(r, "zero", zero, x, along)?;
        y = r.binary("moved", B::Add, y, zero)?;
    }
    y = clipped(r, "clipped", y, low, high)?;
    y = r.cast_to("", y, data_type)?;
    r.builder.set_element(y, element);
    let Scale { scale, zero } = by;
    r.builder.set_origin(y, Origin::Quantized { x, scale, zero, low, high });
    Ok(y)
}

/// How the scale of QuantizeLinear and DequantizeLinear lies.
fn along(r: &mut Reader<'_, '_>) -> Result<Along> {
    let axis = if r.opset >= 13 { r.int("axis")?.unwrap_or(1) } else { 1 };
    let block = if r.opset >= 21 { r.int("block_size")?.unwrap_or(0) } else { 0 };
    match block {
        0 => Ok(Along::Axis(axis)),
        1.. => Ok(Along::Blocks(axis, block)),
        _ => Err(Error::bad_file(format!("block_size is {block}"))),
    }
}

/// An attribute that names a type, where it is there and not 0.
fn element(r: &mut Reader<'_, '_>, name: &str) -> Result<Option<ElementType>> {
    let number = r.int(name)?.filter(|&number| number != 0);
    let element = |number: i64| ElementType::try_from(i32::try_from(number).ok()?).ok();
    number
        .map(|number| element(number).ok_or_else(|| Error::bad_file(format!("{name} {number}"))))
        .transpose()
}

pub(in crate::onnx) fn quantize_linear(r: &mut Reader<'_, '_>) -> Result<()> {
    let (x, by) = (r.input(0)?, scale(r, 1)?);
    let along = along(r)?;
    // Concerns 8-bit floats alone.
    r.int("saturate")?;
    let element = if r.opset >= 21 { element(r, "output_dtype")? } else { None };
    if let Some(other) = super::quantized::element(r, "precision")?
        && other != ElementType::Float
    {
        return Err(Error::unsupported(format!("a division in {other:?}")));
    }
    let x = float(r, "x", x)?;
    let y = quantized(r, x, by, along, element)?;
    r.give(0, y)
}

pub(in crate::onnx) fn dequantize_linear(r: &mut Reader<'_, '_>) -> Result<()> {
    let (x, by) = (r.input(0)?, scale(r, 1)?);
    let along = along(r)?;
    if r.opset >= 23 {
        r.precision = element(r, "output_dtype")?.map(Precision::of);
    }
    let y = dequantized(r, "x", x, by, along)?;
    r.give(0, y)
}

/// The scale is `(max(x, 0) - min(x, 0)) / 255`, the zero point `-min / scale`, rounded.
pub(in crate::onnx) fn dynamic_quantize_linear(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let nothing = r.scalar("nothing", 0.0)?;
    let steps = r.scalar("steps", 255.0)?;
    let axes: Vec<usize> = (0..r.rank(x)).collect();
    let least = r.reduced("least", ReduceKind::Min, x, &axes, false)?;
    let least = r.binary("low", B::Min, least, nothing)?;
    let most = r.reduced("most", ReduceKind::Max, x, &axes, false)?;
    let most = r.binary("high", B::Max, most, nothing)?;
    let span = r.binary("span", B::Sub, most, least)?;
    let scale = r.binary("y_scale", B::Div, span, steps)?;
    let zero = r.binary("zero_exact", B::Div, least, scale)?;
    let zero = r.unary("zero_negated", U::Neg, zero)?;
    let zero = clipped(r, "zero_clipped", zero, 0.0, 255.0)?;
    let zero = r.unary("zero_rounded", U::Round, zero)?;
    let zero_point = r.cast_to("y_zero_point", zero, DataType::U8)?;
    r.builder.set_element(zero_point, ElementType::Uint8);
    let by = Scale { scale, zero: Some(zero_point) };
    let y = quantized(r, x, by, Along::Axis(0), None)?;
    r.builder.set_origin(y, Origin::Dynamic { x, scale });
    r.builder.set_origin(scale, Origin::DynamicScale);
    r.give(0, y)?;
    r.give(1, scale)?;
    r.give(2, zero_point)
}

/// The quantized value at input `i`, whose scale is the next input and its zero point the one after.
pub(super) fn linear_input(
    r: &mut Reader<'_, '_>,
    part: &str,
    i: usize,
    axis: i64,
) -> Result<Value> {
    let (x, by) = (r.input(i)?, scale(r, i + 1)?);
    dequantized(r, part, x, by, Along::Axis(axis))
}

/// Gives `y` quantized by the scale at input `i`.
pub(super) fn give_linear(r: &mut Reader<'_, '_>, y: Value, i: usize) -> Result<()> {
    let by = scale(r, i)?;
    let y = quantized(r, y, by, Along::Axis(1), None)?;
    r.give(0, y)
}

pub(in crate::onnx) fn qlinear_conv(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = linear_input(r, "x", 0, 1)?;
    let w = linear_input(r, "w", 3, 0)?;
    let bias = match r.optional_input(8) {
        Some(bias) => {
            let (x_scale, w_scale) = (r.input(1)?, r.input(4)?);
            Some(bias_of(r, bias, x_scale, w_scale)?)
        }
        None => None,
    };
    let y = conv::convolved(r, "product", x, w, bias)?;
    give_linear(r, y, 6)
}

/// A bias in int32, of which one is `a_scale b_scale`.
pub(super) fn bias_of(
    r: &mut Reader<'_, '_>,
    bias: Value,
    a_scale: Value,
    b_scale: Value,
) -> Result<Value> {
    let a_scale = spread(r, "bias_a_scale", a_scale, bias, Along::Axis(0))?;
    let b_scale = spread(r, "bias_b_scale", b_scale, bias, Along::Axis(-1))?;
    let scale = r.binary("bias_scale", B::Mul, a_scale, b_scale)?;
    let bias = float(r, "bias_float", bias)?;
    r.binary("bias", B::Mul, bias, scale)
}

pub(in crate::onnx) fn qlinear_matmul(r: &mut Reader<'_, '_>) -> Result<()> {
    let a = linear_input(r, "a", 0, -2)?;
    let b = linear_input(r, "b", 3, -1)?;
    let y = r.emit("product", Op::MatMul(MatMul {}), &[a, b])?;
    give_linear(r, y, 6)
}

/// Products of integers of eight bits add up to less than 2^24, and so are exact in f32, for so many of
/// them.
const EXACT: i64 = 258;
/// The same where both factors have four bits and a sign.
const EXACT_HALVES: i64 = 65536;

type Product<'p> = &'p mut dyn FnMut(&mut Reader<'_, '_>, &str, Value, Value) -> Result<Value>;

/// The exact product of two tensors of integers, by `product`, which sums `count` pairs in f32.
fn exact(
    r: &mut Reader<'_, '_>,
    [a, b]: [Value; 2],
    count: Option<i64>,
    product: Product<'_>,
) -> Result<Value> {
    match count {
        Some(..=EXACT) => {
            let y = product(r, "product", a, b)?;
            r.cast_to("", y, DataType::I32)
        }
        Some(..=EXACT_HALVES) => {
            let (a, b) = (halves(r, "a", a)?, halves(r, "b", b)?);
            let mut sum: Option<Value> = None;
            for (i, a) in a.into_iter().enumerate() {
                for (j, b) in b.into_iter().enumerate() {
                    let part = format!("product_{i}{j}");
                    let y = product(r, &part, a, b)?;
                    let y = r.cast_to(&format!("{part}_integer"), y, DataType::I32)?;
                    let by = r.number(
                        &format!("{part}_by"),
                        DataType::I32,
                        16i64.pow(2 - (i + j) as u32),
                    )?;
                    let y = r.binary(&format!("{part}_scaled"), B::Mul, y, by)?;
                    sum = Some(match sum {
                        Some(sum) => r.binary(&format!("{part}_sum"), B::Add, sum, y)?,
                        None => y,
                    });
                }
            }
            sum.ok_or_else(|| Error::unsupported("a product of nothing"))
        }
        _ => Err(Error::unsupported(format!(
            "a product of integers that sums more than {EXACT_HALVES} pairs, or not known how many"
        ))),
    }
}

/// Integers of at most nine bits in two parts: x is 16 times the first and the second.
fn halves(r: &mut Reader<'_, '_>, part: &str, x: Value) -> Result<[Value; 2]> {
    let part = |of: &str| format!("{part}_{of}");
    let sixteenth = r.with_scalar(&part("sixteenth"), B::Div, x, 16.0)?;
    let high = r.unary(&part("high"), U::Floor, sixteenth)?;
    let scaled = r.with_scalar(&part("high_scaled"), B::Mul, high, 16.0)?;
    Ok([high, r.binary(&part("low"), B::Sub, x, scaled)?])
}

/// An integer tensor less its zero point, in f32.
fn centred(
    r: &mut Reader<'_, '_>,
    part: &str,
    x: Value,
    zero: Option<Value>,
    axis: i64,
) -> Result<Value> {
    if r.builder.constant_of(x).is_some() {
        r.builder.notes.dequantized += 1;
    }
    let y = float(r, &format!("{part}_float"), x)?;
    let Some(zero) = zero.filter(|&zero| !r.is_zero(zero)) else { return Ok(y) };
    let zero = float(r, &format!("{part}_zero_float"), zero)?;
    let zero = spread(r, &format!("{part}_zero"), zero, x, Along::Axis(axis))?;
    r.binary(&format!("{part}_centred"), B::Sub, y, zero)
}

/// Gives a product of integers; where its first factor was floats, it remembers what the product of
/// those is.
fn give_integer(
    r: &mut Reader<'_, '_>,
    factors: [Value; 2],
    count: Option<i64>,
    mut product: impl FnMut(&mut Reader<'_, '_>, &str, Value, Value) -> Result<Value>,
) -> Result<()> {
    let a = r.input(0)?;
    let dynamic = match r.builder.origin(a) {
        Some(Origin::Dynamic { x, scale }) => Some((product(r, "float", x, factors[1])?, scale)),
        _ => None,
    };
    let y = exact(r, factors, count, &mut product)?;
    if let Some((float, scale)) = dynamic {
        r.builder.set_origin(y, Origin::Product { float, scale });
    }
    r.give(0, y)
}

pub(in crate::onnx) fn matmul_integer(r: &mut Reader<'_, '_>) -> Result<()> {
    let (a, b) = (r.input(0)?, r.input(1)?);
    let (a_zero, b_zero) = (r.optional_input(2), r.optional_input(3));
    let factors = [centred(r, "a", a, a_zero, -2)?, centred(r, "b", b, b_zero, -1)?];
    let dims =
        if r.rank(b) == 1 { r.dims(b) } else { r.dims(b).into_iter().rev().skip(1).collect() };
    let count = dims.first().and_then(Dim::as_size);
    give_integer(r, factors, count, |r, part, a, b| r.emit(part, Op::MatMul(MatMul {}), &[a, b]))
}

pub(in crate::onnx) fn conv_integer(r: &mut Reader<'_, '_>) -> Result<()> {
    let (x, w) = (r.input(0)?, r.input(1)?);
    let (x_zero, w_zero) = (r.optional_input(2), r.optional_input(3));
    let factors = [centred(r, "x", x, x_zero, 0)?, centred(r, "w", w, w_zero, 0)?];
    let count = r.dims(w).iter().skip(1).try_fold(1, |count, dim| Some(count * dim.as_size()?));
    give_integer(r, factors, count, |r, part, x, w| conv::convolved(r, part, x, w, None))
}

/// `a b` where one is a product of integers and the other the scale that makes it one of floats; the
/// origin of a scale that is multiplied by another factor is kept.
pub(super) fn scaled_product(r: &mut Reader<'_, '_>, a: Value, b: Value) -> Result<Option<Value>> {
    for (x, scale) in [(a, b), (b, a)] {
        let Some(Origin::Product { float, scale: dynamic }) = r.builder.origin(x) else { continue };
        match r.builder.origin(scale) {
            Some(Origin::DynamicScale) if scale == dynamic => return Ok(Some(float)),
            Some(Origin::Scaled { scale, by }) if scale == dynamic => {
                return r.binary("", B::Mul, float, by).map(Some);
            }
            _ => {}
        }
    }
    Ok(None)
}

/// What the quotient `y` of a constant and a scale stands for: a bias in steps of a product.
pub(super) fn divided_origin(r: &mut Reader<'_, '_>, a: Value, b: Value, y: Value) -> Result<()> {
    if r.data_type(a) != DataType::F32 || r.builder.constant_of(a).is_none() {
        return Ok(());
    }
    let (float, scale) = match r.builder.origin(b) {
        Some(Origin::Scaled { scale, by }) => (r.binary("float", B::Div, a, by)?, scale),
        Some(Origin::DynamicScale) => (a, b),
        _ => return Ok(()),
    };
    r.builder.set_origin(y, Origin::Product { float, scale });
    Ok(())
}

/// What a sum of integers by the same scale stands for.
pub(super) fn summed_origin(r: &mut Reader<'_, '_>, a: Value, b: Value, y: Value) -> Result<()> {
    let Some(Origin::Product { float: a, scale }) = r.builder.origin(a) else { return Ok(()) };
    let Some(Origin::Product { float: b, scale: other }) = r.builder.origin(b) else {
        return Ok(());
    };
    if scale == other {
        let float = r.binary("float", B::Add, a, b)?;
        r.builder.set_origin(y, Origin::Product { float, scale });
    }
    Ok(())
}

/// `y` stands for what `x` stands for: it is a rounding of it, or the same in another type.
pub(super) fn keep_origin(r: &mut Reader<'_, '_>, x: Value, y: Value) {
    if let Some(product @ Origin::Product { .. }) = r.builder.origin(x) {
        r.builder.set_origin(y, product);
    }
}

/// What a product of a scale and something else comes from.
pub(super) fn scaled_origin(r: &Reader<'_, '_>, a: Value, b: Value) -> Option<Origin> {
    [(a, b), (b, a)].into_iter().find_map(|(scale, by)| match r.builder.origin(scale) {
        Some(Origin::DynamicScale) => Some(Origin::Scaled { scale, by }),
        _ => None,
    })
}

/// MatMul of quantized matrices and Gemm's bias.
pub(in crate::onnx) fn qgemm(r: &mut Reader<'_, '_>) -> Result<()> {
    let a = linear_input(r, "a", 0, -2)?;
    let columns = if r.flag("transB", false)? { 0 } else { 1 };
    let b = linear_input(r, "b", 3, columns)?;
    let alpha = r.float("alpha")?.unwrap_or(1.0);
    let bias = match r.optional_input(6) {
        Some(bias) => {
            let (a_scale, b_scale) = (r.input(1)?, r.input(4)?);
            Some(bias_of(r, bias, a_scale, b_scale)?)
        }
        None => None,
    };
    let y = matrix::general_product(r, [a, b], bias, [alpha, alpha])?;
    match r.optional_input(7) {
        Some(_) => give_linear(r, y, 7),
        None => r.give(0, y),
    }
}
