//! Sequences of tensors and optional values, as far as it is known what is in them: no operator is left.

use amq_format::Elements;
use amq_format::graph::{Concat, DataType, Dim, Op};

use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::{Structure, Value};

/// What a sequence has in it.
fn parts(r: &mut Reader<'_, '_>, i: usize) -> Result<Vec<Value>> {
    let value = r.input(i)?;
    match r.builder.structure(value) {
        Some(Structure::Sequence(parts)) => Ok(parts.clone()),
        _ => Err(Error::bad_file(format!("its input {i} is no sequence"))),
    }
}

fn give(r: &mut Reader<'_, '_>, i: usize, parts: Vec<Value>) -> Result<()> {
    let sequence = r.builder.structured(Structure::Sequence(parts))?;
    r.give(i, sequence)
}

/// A place in a sequence of some length, of which the end is one too if something is to be inserted.
fn place(r: &mut Reader<'_, '_>, i: usize, length: usize, insert: bool) -> Result<Option<usize>> {
    let Some(place) = r.optional_numbers(i)? else { return Ok(None) };
    let &[place] = place.as_slice() else {
        return Err(Error::bad_file("its position is not one number"));
    };
    let from_start = if place < 0 { place.saturating_add(length as i64) } else { place };
    let within = usize::try_from(from_start).ok().filter(|&at| at < length + usize::from(insert));
    let outside = || Error::bad_file(format!("position {place} of {length} tensors"));
    within.map(Some).ok_or_else(outside)
}

pub(in crate::onnx) fn construct(r: &mut Reader<'_, '_>) -> Result<()> {
    let parts = r.inputs()?;
    give(r, 0, parts)
}

pub(in crate::onnx) fn empty(r: &mut Reader<'_, '_>) -> Result<()> {
    r.int("dtype")?;
    give(r, 0, Vec::new())
}

pub(in crate::onnx) fn insert(r: &mut Reader<'_, '_>) -> Result<()> {
    let mut parts = parts(r, 0)?;
    let tensor = r.input(1)?;
    let at = place(r, 2, parts.len(), true)?;
    parts.insert(at.unwrap_or(parts.len()), tensor);
    give(r, 0, parts)
}

pub(in crate::onnx) fn erase(r: &mut Reader<'_, '_>) -> Result<()> {
    let mut parts = parts(r, 0)?;
    let at = place(r, 1, parts.len(), false)?.or(parts.len().checked_sub(1));
    parts.remove(at.ok_or_else(|| Error::bad_file("its sequence is empty"))?);
    give(r, 0, parts)
}

pub(in crate::onnx) fn at(r: &mut Reader<'_, '_>) -> Result<()> {
    let parts = parts(r, 0)?;
    let at = place(r, 1, parts.len(), false)?;
    let at = at.ok_or_else(|| Error::bad_file("its position is missing"))?;
    r.give(0, parts[at])
}

pub(in crate::onnx) fn length(r: &mut Reader<'_, '_>) -> Result<()> {
    let count = Dim::from(parts(r, 0)?.len() as i64);
    let count = r.known(DataType::I64, Elements { dims: Vec::new(), values: vec![count] })?;
    r.give(0, count)
}

/// ConcatFromSequence: along an axis, or along a new one.
pub(in crate::onnx) fn joined(r: &mut Reader<'_, '_>) -> Result<()> {
    let mut parts = parts(r, 0)?;
    let new = r.flag("new_axis", false)?;
    let axis = r.int("axis")?.ok_or_else(|| Error::bad_file("axis is missing"))?;
    let first = *parts.first().ok_or_else(|| Error::bad_file("its sequence is empty"))?;
    let axis = r.axis(axis, r.rank(first) + usize::from(new))?;
    if new {
        for (i, part) in parts.iter_mut().enumerate() {
            let mut dims = r.dims(*part);
            if dims.len() < axis {
                return Err(Error::bad_file("its tensors differ in their axes"));
            }
            dims.insert(axis, Dim::from(1));
            *part = r.reshape(&format!("part_{i}"), *part, dims)?;
        }
    }
    let y = r.emit("", Op::Concat(Concat { axis: axis as u32 }), &parts)?;
    r.give(0, y)
}

/// SplitToSequence: parts of one size of which the last may be smaller, or of given sizes.
pub(in crate::onnx) fn split(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let axis = r.int("axis")?.unwrap_or(0);
    let axis = r.axis(axis, r.rank(x))?;
    let keep = r.flag("keepdims", true)?;
    let size = r.dims(x)[axis].clone();
    let given = r.optional_input(1);
    let one = given.is_none_or(|given| r.rank(given) == 0);
    let sizes: Vec<Dim> = match given {
        Some(given) if !one => r.split_sizes(given, &size)?,
        _ => {
            let part = r.optional_numbers(1)?.map_or(Some(1), |part| part.first().copied());
            let part = part.filter(|&part| part > 0);
            let (Some(size), Some(part)) = (size.as_size(), part) else {
                return Err(Error::unsupported(format!(
                    "how many parts an axis of size {size} gives is not known"
                ))
                .remedy("give that dimension of the input a size with --dim"));
            };
            (0..size).step_by(part as usize).map(|at| Dim::from(part.min(size - at))).collect()
        }
    };
    let mut parts = Vec::with_capacity(sizes.len());
    let mut start = Dim::from(0);
    for (i, part) in sizes.iter().enumerate() {
        let end = r.dim(start.add(part))?;
        let mut y = r.sliced(&i.to_string(), x, axis, (start, end.clone(), 1))?;
        if given.is_none() && !keep {
            let mut dims = r.dims(y);
            dims.remove(axis);
            y = r.reshape(&format!("{i}_squeeze"), y, dims)?;
        }
        parts.push(y);
        start = end;
    }
    give(r, 0, parts)
}

/// SequenceMap: a graph for each tensor of a sequence, and of those beside it.
pub(in crate::onnx) fn map(r: &mut Reader<'_, '_>) -> Result<()> {
    let graph = r.graph("body")?;
    let count = parts(r, 0)?.len();
    let mut outputs = vec![Vec::new(); r.output_count()];
    for i in 0..count {
        let mut inputs = Vec::new();
        for input in 0..r.input_count() {
            let value = r.input(input)?;
            inputs.push(match r.builder.structure(value) {
                Some(Structure::Sequence(parts)) => *parts.get(i).ok_or_else(|| {
                    Error::bad_file(format!("its input {input} has fewer than {count} tensors"))
                })?,
                _ => value,
            });
        }
        let given = r.inline(graph, "body", &inputs)?;
        if given.len() != outputs.len() {
            return Err(Error::bad_file("its body has another number of outputs"));
        }
        outputs.iter_mut().zip(given).for_each(|(all, value)| all.push(value));
    }
    outputs.into_iter().enumerate().try_for_each(|(i, parts)| give(r, i, parts))
}

/// Optional: its input, or nothing.
pub(in crate::onnx) fn optional(r: &mut Reader<'_, '_>) -> Result<()> {
    r.skip("type");
    let value = match r.optional_input(0) {
        Some(value) => value,
        None => r.builder.structured(Structure::Nothing)?,
    };
    r.give(0, value)
}

fn is_nothing(r: &Reader<'_, '_>, value: Value) -> bool {
    matches!(r.builder.structure(value), Some(Structure::Nothing))
}

pub(in crate::onnx) fn has_element(r: &mut Reader<'_, '_>) -> Result<()> {
    let value = r.optional_input(0);
    let there = value.is_some_and(|value| !is_nothing(r, value));
    let there = Dim::from(i64::from(there));
    let there = r.known(DataType::Bool, Elements { dims: Vec::new(), values: vec![there] })?;
    r.give(0, there)
}

pub(in crate::onnx) fn get_element(r: &mut Reader<'_, '_>) -> Result<()> {
    let value = r.input(0)?;
    if is_nothing(r, value) {
        return Err(Error::bad_file("its optional value is not there"));
    }
    r.give(0, value)
}
