//! What goes along an axis step by step, and numbers that follow each other.

use amq_format::Elements;
use amq_format::graph::{
    BinaryFunction as B, Cumulative, CumulativeKind, DataType, Dim, Op, ReverseSequence,
};

use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::Value;
use crate::tensor::{Data, Tensor};

pub(in crate::onnx) fn cumulative(r: &mut Reader<'_, '_>, kind: CumulativeKind) -> Result<()> {
    let x = r.input(0)?;
    r.input(1)?;
    let axis = match r.optional_numbers(1)?.as_deref() {
        Some(&[axis]) => r.axis(axis, r.rank(x))? as u32,
        other => return Err(Error::bad_file(format!("axis is {other:?}"))),
    };
    let exclusive = r.flag("exclusive", false)?;
    let reverse = r.flag("reverse", false)?;
    let op = Cumulative { kind: kind.into(), axis, exclusive, reverse };
    let y = r.emit("", Op::Cumulative(op), &[x])?;
    r.give(0, y)
}

pub(in crate::onnx) fn reverse_sequence(r: &mut Reader<'_, '_>) -> Result<()> {
    let (x, lengths) = (r.input(0)?, r.input(1)?);
    let (time, batch) = (r.int("time_axis")?.unwrap_or(0), r.int("batch_axis")?.unwrap_or(1));
    let axes = r.axes(&[time, batch], r.rank(x))?;
    let op = ReverseSequence { time_axis: axes[0] as u32, batch_axis: axes[1] as u32 };
    let y = r.emit("", Op::ReverseSequence(op), &[x, lengths])?;
    r.give(0, y)
}

/// Range between integers that follow from shapes, or between floats that are constants.
pub(in crate::onnx) fn range(r: &mut Reader<'_, '_>) -> Result<()> {
    let start = r.input(0)?;
    let y = if r.data_type(start) == DataType::F32 { floats(r)? } else { integers(r, start)? };
    r.give(0, y)
}

/// The most numbers that are written out.
const MOST: f64 = 16_777_216.0;

fn floats(r: &mut Reader<'_, '_>) -> Result<Value> {
    let mut bounds = [0.0; 3];
    for (i, bound) in bounds.iter_mut().enumerate() {
        let value = r.input(i)?;
        *bound = r.constant_scalar(value).ok_or_else(|| {
            Error::unsupported(format!("its input {i} is a float that is no constant"))
                .remedy("export the model with constant bounds")
        })?;
    }
    let [start, limit, delta] = bounds;
    let count = ((f64::from(limit) - f64::from(start)) / f64::from(delta)).ceil();
    if count.is_nan() || count > MOST {
        return Err(Error::bad_file(format!("{start} to {limit} in steps of {delta}")));
    }
    let numbers: Vec<f32> =
        (0..count.max(0.0) as usize).map(|i| start + i as f32 * delta).collect();
    r.constant("", Tensor { dims: vec![numbers.len()], data: Data::F32(numbers) })
}

fn integers(r: &mut Reader<'_, '_>, start: Value) -> Result<Value> {
    let to = r.data_type(start);
    let mut bound = |i: usize| match r.known_input(i)?.values.as_slice() {
        [bound] => Ok(bound.clone()),
        other => Err(Error::bad_file(format!("its input {i} has {} elements", other.len()))),
    };
    let (first, limit, delta) = (bound(0)?, bound(1)?, bound(2)?);
    if delta.as_size() == Some(0) {
        return Err(Error::bad_file("its step is 0"));
    }
    let span = r.dim(limit.sub(&first))?;
    let count = r.dim(span.ceil_div(&delta))?;
    let count = r.dim(count.larger(&Dim::from(0)))?;
    let scalar = |value: Dim| Elements { dims: Vec::new(), values: vec![value] };
    let numbers = r.count_up("numbers", &count)?;
    let delta = r.known(DataType::I64, scalar(delta))?;
    let first = r.known(DataType::I64, scalar(first))?;
    let steps = r.binary("steps", B::Mul, numbers, delta)?;
    let numbers = r.binary("", B::Add, steps, first)?;
    r.cast_to("cast", numbers, to)
}
