//! What goes along an axis step by step, and numbers that follow each other.

use amq_format::Elements;
use amq_format::graph::{
    BinaryFunction as B, Cumulative, CumulativeKind, DataType, Dim, Op, ReverseSequence, Series,
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

/// Range. Where shapes or constants decide its bounds, it is known how many numbers it has.
pub(in crate::onnx) fn range(r: &mut Reader<'_, '_>) -> Result<()> {
    let bounds = [r.input(0)?, r.input(1)?, r.input(2)?];
    let float = r.data_type(bounds[0]) == DataType::F32;
    let known = bounds.iter().all(|&bound| match float {
        true => r.constant_scalar(bound).is_some(),
        false => r.builder.elements_of(bound).is_some(),
    });
    let y = match (known, float) {
        (true, true) => floats(r, bounds)?,
        (true, false) => integers(r, bounds[0])?,
        (false, _) => {
            let inputs = bounds.map(Some);
            let numbers = r.emit_giving("", Op::Series(Series {}), &inputs, &[true], 1)?;
            let numbers = numbers.into_iter().flatten().next();
            numbers.ok_or_else(|| Error::unsupported("its operator has no output here"))?
        }
    };
    r.give(0, y)
}

/// The most numbers that are written out.
const MOST: f64 = 16_777_216.0;

fn floats(r: &mut Reader<'_, '_>, bounds: [Value; 3]) -> Result<Value> {
    let [start, limit, delta] = bounds.map(|bound| r.constant_scalar(bound).unwrap_or_default());
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
