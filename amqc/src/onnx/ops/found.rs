//! What data choose: elements that are not 0, that are different, that a condition names; boxes.

use amq_format::graph::{DataType, Gather, NonMaxSuppression, NonZero, Op, Unique};

use super::layout::product;
use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::Value;

fn one(outputs: Vec<Option<Value>>) -> Result<Value> {
    let one = outputs.into_iter().flatten().next();
    one.ok_or_else(|| Error::unsupported("its operator has no output here"))
}

pub(in crate::onnx) fn non_zero(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let y = one(r.emit_giving("", Op::NonZero(NonZero {}), &[Some(x)], &[true], 1)?)?;
    r.give(0, y)
}

/// The elements of a value along one axis.
fn flat(r: &mut Reader<'_, '_>, part: &str, x: Value) -> Result<Value> {
    let count = product(&r.dims(x))?;
    r.reshape(part, x, vec![count])
}

/// Compress: the entries along an axis where a condition holds, or the elements where there is no axis.
pub(in crate::onnx) fn compress(r: &mut Reader<'_, '_>) -> Result<()> {
    let (x, condition) = (r.input(0)?, r.input(1)?);
    if r.data_type(condition) != DataType::Bool || r.rank(condition) != 1 {
        return Err(Error::bad_file("its condition is not a vector of bool"));
    }
    let (x, axis) = match r.int("axis")? {
        Some(axis) => (x, r.axis(axis, r.rank(x))?),
        None => (flat(r, "flat", x)?, 0),
    };
    let nonzero = Op::NonZero(NonZero {});
    let places = one(r.emit_giving("places", nonzero, &[Some(condition)], &[true], 1)?)?;
    let places = flat(r, "indices", places)?;
    let y = r.emit("", Op::Gather(Gather { axis: axis as u32 }), &[x, places])?;
    r.give(0, y)
}

/// The different entries along an axis, or the different elements where there is no axis.
pub(in crate::onnx) fn unique(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let unsorted = !r.flag("sorted", true)?;
    let (x, axis) = match r.int("axis")? {
        Some(axis) => (x, r.axis(axis, r.rank(x))?),
        None => (flat(r, "flat", x)?, 0),
    };
    let mut entries = x;
    if axis > 0 {
        let mut perm: Vec<u32> = (0..r.rank(x) as u32).collect();
        perm[..=axis].rotate_right(1);
        entries = r.transpose("entries", x, &perm)?;
    }
    let wanted = [r.wants(0) || r.wants(1), r.wants(2), r.wants(3)];
    if wanted == [false; 3] {
        return Ok(());
    }
    let op = Op::Unique(Unique { unsorted });
    let outputs = r.emit_giving("entries_found", op, &[Some(entries)], &wanted, 1)?;
    for (i, output) in outputs.into_iter().enumerate() {
        let Some(output) = output else { continue };
        r.give(i + 1, output)?;
        if i == 0 && r.wants(0) {
            let y = r.emit("", Op::Gather(Gather { axis: axis as u32 }), &[x, output])?;
            r.give(0, y)?;
        }
    }
    Ok(())
}

pub(in crate::onnx) fn non_max_suppression(r: &mut Reader<'_, '_>) -> Result<()> {
    let (boxes, scores) = (r.input(0)?, r.input(1)?);
    let centered = r.flag("center_point_box", false)?;
    let most = match r.optional_input(2) {
        Some(most) => most,
        None => r.number("none", DataType::I64, 0)?,
    };
    let (overlap, least) = (r.optional_input(3), r.optional_input(4));
    let op = Op::NonMaxSuppression(NonMaxSuppression { centered });
    let inputs = [Some(boxes), Some(scores), Some(most), overlap, least];
    let y = one(r.emit_giving("", op, &inputs, &[true], 1)?)?;
    r.give(0, y)
}
