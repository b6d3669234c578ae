//! Operators of onnxruntime's domain com.microsoft that its quantizers write.

use amq_format::graph::{
    BinaryFunction as B, Cell, Concat, MatMul, Op, Recurrent, ReduceKind, Softmax, Unary,
    UnaryFunction as U,
};

use super::quantized::{Along, Scale, dequantized, give_linear, linear_input};
use super::{conv, recurrent};
use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::{Origin, Value};
use crate::tensor::{Data, Tensor};

/// A function of two quantized tensors.
pub(in crate::onnx) fn binary(r: &mut Reader<'_, '_>, function: B) -> Result<()> {
    let (a, b) = (linear_input(r, "a", 0, 0)?, linear_input(r, "b", 3, 0)?);
    let y = r.binary("result", function, a, b)?;
    give_linear(r, y, 6)
}

/// A function of each element of a quantized tensor.
pub(in crate::onnx) fn unary(r: &mut Reader<'_, '_>, function: U) -> Result<()> {
    let x = linear_input(r, "x", 0, 0)?;
    let alpha = if function == U::LeakyRelu { r.float("alpha")?.unwrap_or(0.01) } else { 0.0 };
    let op = Op::Unary(Unary { function: function.into(), alpha, beta: 0.0 });
    let y = r.emit("result", op, &[x])?;
    give_linear(r, y, 3)
}

fn channels_first(r: &mut Reader<'_, '_>) -> Result<()> {
    match r.flag("channels_last", false)? {
        false => Ok(()),
        true => Err(Error::unsupported("channels_last = 1")
            .remedy("convert the model before it is optimized for a device")),
    }
}

pub(in crate::onnx) fn global_average_pool(r: &mut Reader<'_, '_>) -> Result<()> {
    channels_first(r)?;
    let x = linear_input(r, "x", 0, 0)?;
    let axes: Vec<usize> = (2..r.rank(x)).collect();
    let y = r.reduced("result", ReduceKind::Mean, x, &axes, true)?;
    give_linear(r, y, 3)
}

pub(in crate::onnx) fn average_pool(r: &mut Reader<'_, '_>) -> Result<()> {
    channels_first(r)?;
    let x = linear_input(r, "x", 0, 0)?;
    let y = conv::averaged(r, "result", x)?;
    give_linear(r, y, 3)
}

pub(in crate::onnx) fn concat(r: &mut Reader<'_, '_>) -> Result<()> {
    let count = r.input_count().saturating_sub(2) / 3;
    let parts: Vec<Value> = (0..count)
        .map(|i| linear_input(r, &format!("x{i}"), 2 + 3 * i, 0))
        .collect::<Result<_>>()?;
    let axis = r.int("axis")?.ok_or_else(|| Error::bad_file("attribute \"axis\" is missing"))?;
    let first = *parts.first().ok_or_else(|| Error::bad_file("it has no inputs"))?;
    let axis = r.axis(axis, r.rank(first))? as u32;
    let y = r.emit("result", Op::Concat(Concat { axis }), &parts)?;
    give_linear(r, y, 0)
}

pub(in crate::onnx) fn softmax(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = linear_input(r, "x", 0, 0)?;
    let axis = r.int("axis")?.unwrap_or(-1);
    let axis = r.axis(axis, r.rank(x))?;
    if r.int("opset")?.is_some_and(|opset| opset < 13) && axis + 1 != r.rank(x) {
        return Err(Error::unsupported("Softmax of opset 12 along another axis than the last"));
    }
    let y = r.emit("result", Op::Softmax(Softmax { axis: axis as u32, log: false }), &[x])?;
    give_linear(r, y, 3)
}

/// What the integers at input `i` were made of by the scale at input `j`, or what they stand for.
fn dynamic(r: &mut Reader<'_, '_>, i: usize, j: usize, zero: usize) -> Result<Value> {
    let (a, scale, zero) = (r.input(i)?, r.input(j)?, r.optional_input(zero));
    match r.builder.origin(a) {
        Some(Origin::Dynamic { x, scale: other }) if other == scale => Ok(x),
        _ => dequantized(r, "a", a, Scale { scale, zero }, Along::Axis(-2)),
    }
}

/// `a b + bias`, a float or, with a scale, integers.
fn product(r: &mut Reader<'_, '_>, a: Value, b: Value, bias: Option<Value>) -> Result<()> {
    let y = r.emit("", Op::MatMul(MatMul {}), &[a, b])?;
    match bias {
        Some(bias) => {
            let y = r.binary("add", B::Add, y, bias)?;
            r.give(0, y)
        }
        None => r.give(0, y),
    }
}

pub(in crate::onnx) fn dynamic_quantize_matmul(r: &mut Reader<'_, '_>) -> Result<()> {
    let (a, b) = (r.input(0)?, r.input(1)?);
    let by = Scale { scale: r.input(2)?, zero: r.optional_input(3) };
    let b = dequantized(r, "b", b, by, Along::Axis(-1))?;
    let bias = r.optional_input(4);
    product(r, a, b, bias)
}

pub(in crate::onnx) fn matmul_integer_to_float(r: &mut Reader<'_, '_>) -> Result<()> {
    let a = dynamic(r, 0, 2, 4)?;
    let b = r.input(1)?;
    let by = Scale { scale: r.input(3)?, zero: r.optional_input(5) };
    let b = dequantized(r, "b", b, by, Along::Axis(-1))?;
    let bias = r.optional_input(6);
    product(r, a, b, bias)
}

/// LSTM with weights in integers, as `[directions, inputs, 4 hidden]`: one scale a direction, or for
/// each column too.
pub(in crate::onnx) fn dynamic_quantize_lstm(r: &mut Reader<'_, '_>) -> Result<()> {
    let mut weights = Vec::with_capacity(2);
    for (part, i, scale) in [("w", 1, 8), ("r", 2, 10)] {
        let x = r.input(i)?;
        let mut by = Scale { scale: r.input(scale)?, zero: r.optional_input(scale + 1) };
        if r.rank(x) != 3 {
            return Err(Error::bad_file(format!("its input {i} has {} axes, not 3", r.rank(x))));
        }
        by.scale = over_rows(r, &format!("{part}_scale"), by.scale)?;
        by.zero = match by.zero {
            Some(zero) => Some(over_rows(r, &format!("{part}_zero"), zero)?),
            None => None,
        };
        let float = dequantized(r, part, x, by, Along::Axis(0))?;
        weights.push(r.transpose(&format!("{part}_rows"), float, &[0, 2, 1])?);
    }
    let input_forget = r.flag("input_forget", false)?;
    let op = Recurrent { cell: Cell::Lstm.into(), input_forget, ..Recurrent::default() };
    recurrent::layer(r, op, Some([weights[0], weights[1]]))
}

/// `[directions]` or `[directions, columns]` as it lies along `[directions, rows, columns]`.
fn over_rows(r: &mut Reader<'_, '_>, part: &str, x: Value) -> Result<Value> {
    let mut dims = r.dims(x);
    match dims.len() {
        0 => return Ok(x),
        1 => dims.push(1.into()),
        2 => {}
        rank => return Err(Error::bad_file(format!("a scale with {rank} axes"))),
    }
    dims.insert(1, 1.into());
    let element = r.builder.element(x);
    let y = r.reshape(part, x, dims)?;
    r.builder.set_element(y, element);
    Ok(y)
}

/// `a b'`, where each row of b is cut in blocks with a scale and a zero point each.
pub(in crate::onnx) fn matmul_n_bits(r: &mut Reader<'_, '_>) -> Result<()> {
    let a = r.input(0)?;
    let mut size = |name: &str| {
        let size = r.int(name)?.and_then(|size| usize::try_from(size).ok()).filter(|&s| s > 0);
        size.ok_or_else(|| Error::bad_file(format!("attribute {name:?} is missing or not a size")))
    };
    let (columns, rows, block) = (size("K")?, size("N")?, size("block_size")?);
    let bits = r.int("bits")?.unwrap_or(4);
    // How exact the sums have to be at least; ours are exact.
    r.int("accuracy_level")?;
    r.int("weight_prepacked")?;
    if !matches!(bits, 2 | 4 | 8) || !(block * bits as usize).is_multiple_of(8) {
        return Err(Error::unsupported(format!("{bits} bits in blocks of {block}")));
    }
    let bits = bits as usize;
    let blocks = columns.div_ceil(block);
    let zero_row = (blocks * bits).div_ceil(8);
    let codes = bytes(r, 1, rows * blocks * (block * bits / 8))?;
    let scales = r.input(2)?;
    let scales = match r.builder.constant_of(scales).map(|constant| &constant.data) {
        Some(Data::F32(scales)) if scales.len() == rows * blocks => scales.clone(),
        _ => {
            return Err(Error::unsupported("its scales are no constant of a scale for each block"));
        }
    };
    let zeros: Vec<f32> = match r.optional_input(3) {
        None => vec![(1u32 << (bits - 1)) as f32; rows * blocks],
        Some(zeros) => match r.builder.constant_of(zeros).map(|constant| &constant.data) {
            Some(Data::F32(zeros)) if zeros.len() == rows * blocks => zeros.clone(),
            Some(Data::U8(zeros)) if zeros.len() == rows * zero_row => (0..rows * blocks)
                .map(|at| code(&zeros[at / blocks * zero_row..], at % blocks, bits))
                .collect(),
            _ => return Err(Error::unsupported("its zero points are no constant of that shape")),
        },
    };
    let row = blocks * block * bits / 8;
    let weight = |at: usize| {
        let (n, k) = (at / columns, at % columns);
        let of = n * blocks + k / block;
        (code(&codes[n * row..], k, bits) - zeros[of]) * scales[of]
    };
    let weights = (0..rows * columns).map(weight).collect();
    r.builder.notes.dequantized += 1;
    let weights = Tensor { dims: vec![rows, columns], data: Data::F32(weights) };
    let weights = r.constant("weights", weights)?;
    let weights = r.transpose("weights_columns", weights, &[1, 0])?;
    let bias = r.optional_input(5);
    product(r, a, weights, bias)
}

/// The code at a place of packed ones, the first in a byte's lowest bits.
fn code(packed: &[u8], at: usize, bits: usize) -> f32 {
    let each = 8 / bits;
    f32::from(packed[at / each] >> (at % each * bits) & (0xff >> (8 - bits)))
}

/// The bytes of a constant at input `i`, so many.
fn bytes(r: &mut Reader<'_, '_>, i: usize, count: usize) -> Result<Vec<u8>> {
    let value = r.input(i)?;
    match r.builder.constant_of(value).map(|constant| &constant.data) {
        Some(Data::U8(bytes)) if bytes.len() == count => Ok(bytes.clone()),
        _ => Err(Error::unsupported(format!("its input {i} is no constant of {count} bytes"))),
    }
}
