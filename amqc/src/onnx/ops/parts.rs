//! Parts of tensors, tensors in parts, and borders.

use amq_format::graph::{Concat, Dim, Gather, Op, Pad, PadMode, Slice};

use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::Value;

pub(in crate::onnx) fn gather(r: &mut Reader<'_, '_>) -> Result<()> {
    let (x, indices) = (r.input(0)?, r.input(1)?);
    let axis = r.int("axis")?.unwrap_or(0);
    let axis = r.axis(axis, r.rank(x))?;
    let y = r.emit("", Op::Gather(Gather { axis: axis as u32 }), &[x, indices])?;
    r.give(0, y)
}

pub(in crate::onnx) fn concat(r: &mut Reader<'_, '_>) -> Result<()> {
    let inputs = r.inputs()?;
    let axis = r.int("axis")?.ok_or_else(|| Error::bad_file("axis is missing"))?;
    let axis = r.axis(axis, r.rank(inputs[0]))?;
    let y = r.emit("", Op::Concat(Concat { axis: axis as u32 }), &inputs)?;
    r.give(0, y)
}

/// Entries from start to end along each axis.
fn slice_of(
    r: &mut Reader<'_, '_>,
    part: &str,
    x: Value,
    axes: &[usize],
    bounds: (Vec<Dim>, Vec<Dim>, Vec<i64>),
) -> Result<Value> {
    let (starts, ends, steps) = bounds;
    let axes = axes.iter().map(|&axis| axis as u32).collect();
    r.emit(part, Op::Slice(Slice { axes, starts, ends, steps }), &[x])
}

/// Slice, whose bounds are attributes before opset 10 and inputs since.
pub(in crate::onnx) fn slice(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let (starts, ends, axes, steps) = if r.opset < 10 {
        let dims = |ints: Option<&[i64]>| ints.map(|i| i.iter().copied().map(Dim::from).collect());
        let missing = || Error::bad_file("starts or ends are missing");
        let starts: Vec<Dim> = dims(r.ints("starts")?).ok_or_else(missing)?;
        let ends: Vec<Dim> = dims(r.ints("ends")?).ok_or_else(missing)?;
        (starts, ends, r.ints("axes")?.map(<[i64]>::to_vec), None)
    } else {
        let (starts, ends) = (r.known_input(1)?.values, r.known_input(2)?.values);
        (starts, ends, r.optional_numbers(3)?, r.optional_numbers(4)?)
    };
    let count = starts.len();
    let axes = axes.unwrap_or_else(|| (0..count as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; count]);
    if ends.len() != count || axes.len() != count || steps.len() != count {
        return Err(Error::bad_file("starts, ends, axes and steps differ in number"));
    }
    if steps.contains(&0) {
        return Err(Error::bad_file("a step is 0"));
    }
    let axes = r.axes(&axes, r.rank(x))?;
    let y = slice_of(r, "", x, &axes, (starts, ends, steps))?;
    r.give(0, y)
}

/// Split, whose sizes are an attribute before opset 13 and an input since; each part is a slice.
pub(in crate::onnx) fn split(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let axis = r.int("axis")?.unwrap_or(0);
    let axis = r.axis(axis, r.rank(x))?;
    let size = r.dims(x)[axis].clone();
    let given = if r.opset < 13 {
        r.ints("split")?.map(|sizes| sizes.iter().copied().map(Dim::from).collect::<Vec<_>>())
    } else {
        r.optional_known_input(1)?.map(|elements| elements.values)
    };
    let count = r.output_count();
    if r.opset >= 18
        && let Some(number) = r.int("num_outputs")?
        && number != count as i64
    {
        return Err(Error::bad_file(format!(
            "num_outputs is {number}, and it has {count} outputs"
        )));
    }
    let complex = |error| Error::unsupported(format!("the parts' sizes: {error}"));
    let parts = match given {
        Some(parts) => parts,
        None => {
            let number = Dim::from(count as i64);
            let part = size.ceil_div(&number).map_err(complex)?;
            // Since opset 18 the last part may be smaller; by how much depends on the size.
            let uneven = r.opset < 18 || size.as_size().is_none();
            if uneven && part.mul(&number).map_err(complex)? != size {
                return Err(Error::unsupported(format!(
                    "an axis of size {size} in {count} equal parts"
                ))
                .remedy("export the model with the sizes of the parts given"));
            }
            let mut parts = vec![part; count];
            // The last part is what is left.
            if let Some((last, others)) = parts.split_last_mut() {
                *last = others
                    .iter()
                    .try_fold(size.clone(), |left, part| left.sub(part))
                    .map_err(complex)?;
            }
            parts
        }
    };
    if parts.len() != count {
        return Err(Error::bad_file(format!("{} sizes for {count} outputs", parts.len())));
    }
    if parts.iter().any(|part| part.as_size().is_some_and(|size| size < 0)) {
        let sizes: Vec<_> = parts.iter().map(Dim::to_string).collect();
        return Err(Error::bad_file(format!(
            "an axis of size {size} in {count} parts of sizes {}",
            sizes.join(", ")
        )));
    }
    let mut start = Dim::from(0);
    for (i, part) in parts.iter().enumerate() {
        let end = start.add(part).map_err(complex)?;
        if r.wants(i) {
            let bounds = (vec![start], vec![end.clone()], vec![1]);
            let name = i.to_string();
            let y = slice_of(r, &name, x, &[axis], bounds)?;
            r.give(i, y)?;
        }
        start = end;
    }
    if start != size {
        return Err(Error::unsupported(format!(
            "its parts have {start} entries together, and the axis {size}"
        )));
    }
    Ok(())
}

/// Pad, whose sizes and value are attributes before opset 11 and inputs since.
pub(in crate::onnx) fn pad(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let rank = r.rank(x);
    let mode = match r.string("mode")?.unwrap_or("constant") {
        "constant" => PadMode::Constant,
        "reflect" => PadMode::Reflect,
        "edge" => PadMode::Edge,
        "wrap" if r.opset >= 19 => PadMode::Wrap,
        other => return Err(Error::bad_file(format!("mode {other:?} in opset {}", r.opset))),
    };
    let (pads, value, axes) = if r.opset < 11 {
        let pads = r.ints("pads")?.ok_or_else(|| Error::bad_file("pads are missing"))?;
        let value = r.float("value")?.filter(|&value| value != 0.0);
        let value = value.map(|value| r.scalar("value", value)).transpose()?;
        (pads.iter().copied().map(Dim::from).collect(), value, None)
    } else {
        let pads = r.known_input(1)?.values;
        let axes = if r.opset < 18 { None } else { r.optional_numbers(3)? };
        (pads, r.optional_input(2), axes)
    };
    let axes = match axes {
        Some(axes) => r.axes(&axes, rank)?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(Error::bad_file(format!("{} pads for {} axes", pads.len(), axes.len())));
    }
    let mut begins = vec![Dim::from(0); rank];
    let mut ends = begins.clone();
    for (i, &axis) in axes.iter().enumerate() {
        begins[axis] = pads[i].clone();
        ends[axis] = pads[axes.len() + i].clone();
    }
    let value = value.filter(|_| mode == PadMode::Constant);
    let mut inputs = vec![x];
    if let Some(value) = value {
        inputs.push(r.reshape("value", value, Vec::new())?);
    }
    let y = r.emit("", Op::Pad(Pad { mode: mode.into(), begins, ends }), &inputs)?;
    r.give(0, y)
}

/// CenterCropPad: as much of the middle as there is, in the middle of what is asked for.
pub(in crate::onnx) fn center_crop_pad(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let wanted = r.known_input(1)?.values;
    let dims = r.dims(x);
    let axes = match r.ints("axes")? {
        Some(axes) => r.axes(axes, dims.len())?,
        None => (0..dims.len()).collect(),
    };
    if axes.len() != wanted.len() {
        return Err(Error::bad_file(format!("{} sizes for {} axes", wanted.len(), axes.len())));
    }
    let mut begins = vec![Dim::from(0); dims.len()];
    let mut ends = begins.clone();
    for (axis, size) in axes.into_iter().zip(&wanted) {
        if *size == dims[axis] {
            continue;
        }
        let (Some(from), Some(to)) = (dims[axis].as_size(), size.as_size()) else {
            return Err(Error::unsupported(format!("an axis of {} to {size}", dims[axis]))
                .remedy("give dimensions sizes with --dim"));
        };
        // The odd entry is at the end.
        let half = (to - from) / 2;
        begins[axis] = Dim::from(half);
        ends[axis] = Dim::from(to - from - half);
    }
    let pad = Pad { mode: PadMode::Constant.into(), begins, ends };
    let y = r.emit("", Op::Pad(pad), &[x])?;
    r.give(0, y)
}
