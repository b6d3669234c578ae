//! Functions of each element, of pairs of elements, and choices between them.

use amq_format::graph::{
    Binary, BinaryFunction, Cast, DataType, Dim, Op, Select, Unary, UnaryFunction,
};

use super::{old, quantized};
use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::Value;
use crate::tensor::{Data, Tensor};

fn unary_op(function: UnaryFunction, alpha: f32, beta: f32) -> Op {
    // A file holds no negative zero here; the sum makes it positive.
    Op::Unary(Unary { function: function.into(), alpha: alpha + 0.0, beta: beta + 0.0 })
}

fn binary_op(function: BinaryFunction) -> Op {
    Op::Binary(Binary { function: function.into() })
}

/// A function without parameters.
pub(in crate::onnx) fn unary(r: &mut Reader<'_, '_>, function: UnaryFunction) -> Result<()> {
    let x = r.input(0)?;
    let y = r.emit("", unary_op(function, 0.0, 0.0), &[x])?;
    if matches!(function, UnaryFunction::Floor | UnaryFunction::Ceil | UnaryFunction::Round) {
        quantized::keep_origin(r, x, y);
    }
    r.give(0, y)
}

/// The negative; of integers it is what is left of 0.
pub(in crate::onnx) fn neg(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let zero = Data::from_integers(r.data_type(x), &[0]);
    let y = match zero.filter(|_| r.data_type(x) != DataType::Bool) {
        Some(zero) => {
            let zero = r.constant("zero", Tensor { dims: Vec::new(), data: zero })?;
            r.emit("", binary_op(BinaryFunction::Sub), &[zero, x])?
        }
        None => r.emit("", unary_op(UnaryFunction::Neg, 0.0, 0.0), &[x])?,
    };
    r.give(0, y)
}

/// A function with the attributes that `alpha` and `beta` name, and their defaults.
pub(in crate::onnx) fn with_parameters(
    r: &mut Reader<'_, '_>,
    function: UnaryFunction,
    (alpha, alpha_default): (&str, f32),
    beta: Option<(&str, f32)>,
) -> Result<()> {
    let x = r.input(0)?;
    let alpha = r.float(alpha)?.unwrap_or(alpha_default);
    let beta = match beta {
        Some((name, default)) => r.float(name)?.unwrap_or(default),
        None => 0.0,
    };
    let y = r.emit("", unary_op(function, alpha, beta), &[x])?;
    r.give(0, y)
}

/// A function of two tensors.
pub(in crate::onnx) fn binary(r: &mut Reader<'_, '_>, function: BinaryFunction) -> Result<()> {
    let (a, b) = (r.input(0)?, r.input(1)?);
    let b = old::operand(r, a, b)?;
    if function == BinaryFunction::Mul
        && let Some(y) = quantized::scaled_product(r, a, b)?
    {
        return r.give(0, y);
    }
    let y = r.emit("", binary_op(function), &[a, b])?;
    match function {
        BinaryFunction::Mul => {
            if let Some(origin) = quantized::scaled_origin(r, a, b) {
                r.builder.set_origin(y, origin);
            }
        }
        BinaryFunction::Div => quantized::divided_origin(r, a, b, y)?,
        BinaryFunction::Add => quantized::summed_origin(r, a, b, y)?,
        _ => {}
    }
    r.give(0, y)
}

/// Power; the exponent may be of another type.
pub(in crate::onnx) fn pow(r: &mut Reader<'_, '_>) -> Result<()> {
    let (x, exponent) = (r.input(0)?, r.input(1)?);
    let mut exponent = old::operand(r, x, exponent)?;
    let to = r.data_type(x);
    if r.data_type(exponent) != to {
        let whole = match r.builder.constant_of(exponent).map(|constant| &constant.data) {
            Some(Data::F32(exponents)) => exponents.iter().all(|e| e.fract() == 0.0),
            _ => r.data_type(exponent) != DataType::F32,
        };
        if to != DataType::F32 && !whole {
            return Err(Error::unsupported("an integer to a power that may have a fraction")
                .remedy("cast the integer to float before"));
        }
        exponent = r.emit("cast", Op::Cast(Cast { to: to.into() }), &[exponent])?;
    }
    let y = r.emit("", binary_op(BinaryFunction::Pow), &[x, exponent])?;
    r.give(0, y)
}

pub(in crate::onnx) fn prelu(r: &mut Reader<'_, '_>) -> Result<()> {
    let (x, mut slope) = (r.input(0)?, r.input(1)?);
    // Before opset 7 it has a number for each channel, or one.
    if r.opset < 7 && r.rank(slope) == 1 && r.dims(slope)[0].as_size() != Some(1) {
        let mut dims = r.dims(slope);
        dims.resize(r.rank(x).saturating_sub(1).max(1), Dim::from(1));
        slope = r.reshape("channels", slope, dims)?;
    }
    let y = r.emit("", binary_op(BinaryFunction::Prelu), &[x, slope])?;
    r.keeps_shape("the slope", x, y)?;
    r.give(0, y)
}

/// A function of two tensors, applied to any number from left to right.
pub(in crate::onnx) fn variadic(r: &mut Reader<'_, '_>, function: BinaryFunction) -> Result<()> {
    let y = folded(r, function, "")?;
    r.give(0, y)
}

/// The mean of any number of tensors.
pub(in crate::onnx) fn mean(r: &mut Reader<'_, '_>) -> Result<()> {
    let count = r.inputs()?.len();
    let mut y = folded(r, BinaryFunction::Add, "sum")?;
    if count > 1 {
        let divisor = r.scalar("count", count as f32)?;
        y = r.emit("", binary_op(BinaryFunction::Div), &[y, divisor])?;
    }
    r.give(0, y)
}

fn folded(r: &mut Reader<'_, '_>, function: BinaryFunction, part: &str) -> Result<Value> {
    let inputs = r.inputs()?;
    let last = inputs.len() - 1;
    let mut result = inputs[0];
    for (i, &input) in inputs.iter().enumerate().skip(1) {
        let part = if i == last { part.to_owned() } else { format!("partial_{i}") };
        result = r.emit(&part, binary_op(function), &[result, input])?;
    }
    Ok(result)
}

pub(in crate::onnx) fn select(r: &mut Reader<'_, '_>) -> Result<()> {
    let (condition, a, b) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let y = r.emit("", Op::Select(Select {}), &[condition, a, b])?;
    r.give(0, y)
}

/// Clip, whose bounds are attributes before opset 11 and inputs since.
pub(in crate::onnx) fn clip(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    if r.opset < 11 {
        let low = r.float("min")?.unwrap_or(f32::MIN);
        let high = r.float("max")?.unwrap_or(f32::MAX);
        let y = r.emit("", clipped(low, high)?, &[x])?;
        return r.give(0, y);
    }
    let (low, high) = (r.optional_input(1), r.optional_input(2));
    for bound in [low, high].into_iter().flatten() {
        // One element with an axis is no scalar, but some exporters write it.
        let dims = r.dims(bound);
        if dims.len() > r.rank(x).min(1) || dims.iter().any(|dim| dim.as_size() != Some(1)) {
            return Err(Error::bad_file("a bound is not a scalar"));
        }
    }
    if let (Some(low), Some(high)) = (low, high)
        && let (Some(low), Some(high)) = (r.constant_scalar(low), r.constant_scalar(high))
        && r.data_type(x) == DataType::F32
    {
        let y = r.emit("", clipped(low, high)?, &[x])?;
        return r.give(0, y);
    }
    let mut y = x;
    if let Some(low) = low {
        let part = if high.is_some() { "max" } else { "" };
        y = r.emit(part, binary_op(BinaryFunction::Max), &[y, low])?;
    }
    if let Some(high) = high {
        y = r.emit("", binary_op(BinaryFunction::Min), &[y, high])?;
    }
    r.give(0, y)
}

/// `min(high, max(low, x))`, which differs from the vocabulary's order where low exceeds high.
fn clipped(low: f32, high: f32) -> Result<Op> {
    if low.is_nan() || high.is_nan() {
        return Err(Error::unsupported("a bound is NaN").remedy("leave out the bound"));
    }
    Ok(unary_op(UnaryFunction::Clip, low.min(high), high))
}

/// `x / 2 (1 + erf(x / sqrt 2))`, or the approximation of it by tanh.
pub(in crate::onnx) fn gelu(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let kind = r.string("approximate")?.unwrap_or("none");
    let (add, mul) = (binary_op(BinaryFunction::Add), binary_op(BinaryFunction::Mul));
    let inner = match kind {
        "none" => {
            let root = r.scalar("root_half", std::f32::consts::FRAC_1_SQRT_2)?;
            let scaled = r.emit("scaled", mul.clone(), &[x, root])?;
            r.emit("erf", unary_op(UnaryFunction::Erf, 0.0, 0.0), &[scaled])?
        }
        "tanh" => {
            let cubic = r.scalar("cubic", 0.044715)?;
            let square = r.emit("square", mul.clone(), &[x, x])?;
            let cube = r.emit("cube", mul.clone(), &[square, x])?;
            let cube = r.emit("cube_scaled", mul.clone(), &[cube, cubic])?;
            let sum = r.emit("sum", add.clone(), &[x, cube])?;
            // alpha tanh(beta x) with beta = sqrt(2 / pi).
            let root = (2.0 / std::f64::consts::PI).sqrt() as f32;
            r.emit("tanh", unary_op(UnaryFunction::ScaledTanh, 1.0, root), &[sum])?
        }
        other => return Err(Error::bad_file(format!("approximate is {other:?}"))),
    };
    let (one, half) = (r.scalar("one", 1.0)?, r.scalar("half", 0.5)?);
    let factor = r.emit("factor", add, &[inner, one])?;
    let half = r.emit("half_x", mul.clone(), &[x, half])?;
    let y = r.emit("", mul, &[half, factor])?;
    r.give(0, y)
}

/// `x tanh(ln(1 + e^x))`
pub(in crate::onnx) fn mish(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let softplus = r.emit("softplus", unary_op(UnaryFunction::Softplus, 0.0, 0.0), &[x])?;
    let tanh = r.emit("tanh", unary_op(UnaryFunction::Tanh, 0.0, 0.0), &[softplus])?;
    let y = r.emit("", binary_op(BinaryFunction::Mul), &[x, tanh])?;
    r.give(0, y)
}

/// `x sigmoid(alpha x)`
pub(in crate::onnx) fn swish(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let alpha = r.float("alpha")?.unwrap_or(1.0);
    let mul = binary_op(BinaryFunction::Mul);
    let mut inner = x;
    if alpha != 1.0 {
        let factor = r.scalar("alpha", alpha)?;
        inner = r.emit("scaled", mul.clone(), &[x, factor])?;
    }
    let sigmoid = r.emit("sigmoid", unary_op(UnaryFunction::Sigmoid, 0.0, 0.0), &[inner])?;
    let y = r.emit("", mul, &[x, sigmoid])?;
    r.give(0, y)
}

pub(in crate::onnx) fn hard_sigmoid(r: &mut Reader<'_, '_>) -> Result<()> {
    with_parameters(r, UnaryFunction::HardSigmoid, ("alpha", 0.2), Some(("beta", 0.5)))
}

pub(in crate::onnx) fn selu(r: &mut Reader<'_, '_>) -> Result<()> {
    let (alpha, gamma) = if r.opset < 6 { (1.6732, 1.0507) } else { (1.673_263_2, 1.050_701) };
    with_parameters(r, UnaryFunction::Selu, ("alpha", alpha), Some(("gamma", gamma)))
}

/// `|x|`, of integers too.
pub(in crate::onnx) fn abs(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let y = r.magnitude("", x)?;
    r.give(0, y)
}

/// -1, 0 or 1, of integers too.
pub(in crate::onnx) fn sign(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let of = r.data_type(x);
    if of == DataType::F32 {
        let y = r.unary("", UnaryFunction::Sign, x)?;
        return r.give(0, y);
    }
    let zero = r.number("zero", of, 0)?;
    let above = r.binary("above", BinaryFunction::Greater, x, zero)?;
    let above = r.cast_to("above_cast", above, of)?;
    let below = r.binary("below", BinaryFunction::Less, x, zero)?;
    let below = r.cast_to("below_cast", below, of)?;
    let y = r.binary("", BinaryFunction::Sub, above, below)?;
    r.give(0, y)
}

/// `max(0, x)`, of integers too.
pub(in crate::onnx) fn relu(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let of = r.data_type(x);
    let y = if of == DataType::F32 {
        r.unary("", UnaryFunction::Relu, x)?
    } else {
        let zero = r.number("zero", of, 0)?;
        r.binary("", BinaryFunction::Max, x, zero)?
    };
    r.give(0, y)
}

/// What is left of a division, with the divisor's sign, or with `fmod` the dividend's.
pub(in crate::onnx) fn modulo(r: &mut Reader<'_, '_>) -> Result<()> {
    let (a, b) = (r.input(0)?, r.input(1)?);
    let of_dividend = r.flag("fmod", false)?;
    let function = if of_dividend { BinaryFunction::Remainder } else { BinaryFunction::Modulo };
    let y = r.binary("", function, a, b)?;
    r.give(0, y)
}

pub(in crate::onnx) fn shift(r: &mut Reader<'_, '_>) -> Result<()> {
    let (a, b) = (r.input(0)?, r.input(1)?);
    let function = match r.string("direction")? {
        Some("LEFT") => BinaryFunction::ShiftLeft,
        Some("RIGHT") => BinaryFunction::ShiftRight,
        other => return Err(Error::bad_file(format!("direction is {other:?}"))),
    };
    let y = r.binary("", function, a, b)?;
    r.give(0, y)
}

/// A function of each bit of two integers.
pub(in crate::onnx) fn bitwise(r: &mut Reader<'_, '_>, function: BinaryFunction) -> Result<()> {
    let (a, b) = (r.input(0)?, r.input(1)?);
    no_bool(r, a)?;
    let y = r.binary("", function, a, b)?;
    r.give(0, y)
}

fn no_bool(r: &Reader<'_, '_>, x: Value) -> Result<()> {
    match r.data_type(x) {
        DataType::Bool | DataType::F32 => Err(Error::bad_file("its inputs are not integers")),
        _ => Ok(()),
    }
}

pub(in crate::onnx) fn bitwise_not(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    no_bool(r, x)?;
    let of = r.data_type(x);
    let ones = match of {
        DataType::U8 => Data::U8(vec![u8::MAX]),
        DataType::U16 => Data::U16(vec![u16::MAX]),
        DataType::U32 => Data::U32(vec![u32::MAX]),
        DataType::U64 => Data::U64(vec![u64::MAX]),
        _ => Data::from_integers(of, &[-1])
            .ok_or_else(|| Error::bad_file("its input is not of integers"))?,
    };
    let ones = r.constant("ones", Tensor { dims: Vec::new(), data: ones })?;
    let y = r.binary("", BinaryFunction::Xor, x, ones)?;
    r.give(0, y)
}

/// NaN alone does not equal itself.
pub(in crate::onnx) fn is_nan(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let equal = r.binary("equal", BinaryFunction::Equal, x, x)?;
    let y = r.unary("", UnaryFunction::Not, equal)?;
    r.give(0, y)
}

pub(in crate::onnx) fn is_infinite(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let (below, above) = (r.flag("detect_negative", true)?, r.flag("detect_positive", true)?);
    let compared = if below && above { r.unary("magnitudes", UnaryFunction::Abs, x)? } else { x };
    // NaN equals nothing.
    let bound = match (below, above) {
        (_, true) => f32::INFINITY,
        (true, false) => f32::NEG_INFINITY,
        (false, false) => f32::NAN,
    };
    let bound = r.scalar("infinity", bound)?;
    let y = r.binary("", BinaryFunction::Equal, compared, bound)?;
    r.give(0, y)
}

/// `x + bias` below -lambd, `x - bias` above lambd, else 0.
pub(in crate::onnx) fn shrink(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let bias = r.float("bias")?.unwrap_or(0.0);
    let lambda = r.float("lambd")?.unwrap_or(0.5);
    let zero = r.scalar("zero", 0.0)?;
    let less = r.with_scalar("less", BinaryFunction::Sub, x, bias)?;
    let more = r.with_scalar("more", BinaryFunction::Add, x, bias)?;
    let above = r.with_scalar("above", BinaryFunction::Greater, x, lambda)?;
    let below = r.with_scalar("below", BinaryFunction::Less, x, -lambda)?;
    let upper = r.select("upper", above, less, zero)?;
    let y = r.select("", below, more, upper)?;
    r.give(0, y)
}

/// `a sigmoid(alpha a) b`
pub(in crate::onnx) fn swish_gate(r: &mut Reader<'_, '_>) -> Result<()> {
    let (a, b) = (r.input(0)?, r.input(1)?);
    let alpha = r.float("alpha")?.unwrap_or(1.0);
    let inner = r.with_scalar("scaled", BinaryFunction::Mul, a, alpha)?;
    let sigmoid = r.unary("sigmoid", UnaryFunction::Sigmoid, inner)?;
    let gate = r.binary("gate", BinaryFunction::Mul, a, sigmoid)?;
    let y = r.binary("", BinaryFunction::Mul, gate, b)?;
    r.keeps_shape("B", a, y)?;
    r.give(0, y)
}
