//! Chosen entries, tensors put together, and borders.

use amq_format::Elements;
use amq_format::graph::{Concat, DataType, Dim, Gather, Op, Pad, PadMode};

use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;

pub(in crate::onnx) fn gather(r: &mut Reader<'_, '_>) -> Result<()> {
    let (x, indices) = (r.input(0)?, r.input(1)?);
    let axis = r.int("axis")?.unwrap_or(0);
    let axis = r.axis(axis, r.rank(x))?;
    let y = r.emit("", Op::Gather(Gather { axis: axis as u32 }), &[x, indices])?;
    r.give(0, y)
}

pub(in crate::onnx) fn concat(r: &mut Reader<'_, '_>) -> Result<()> {
    let inputs = r.inputs()?;
    let axis = r.int("axis")?.or((r.opset < 4).then_some(1));
    let axis = axis.ok_or_else(|| Error::bad_file("axis is missing"))?;
    let axis = r.axis(axis, r.rank(inputs[0]))?;
    let y = r.emit("", Op::Concat(Concat { axis: axis as u32 }), &inputs)?;
    r.give(0, y)
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
    let mut decided = false;
    let (pads, value, axes) = if r.opset < 11 {
        let pads = r.ints(if r.opset < 2 { "paddings" } else { "pads" })?;
        let pads = pads.ok_or_else(|| Error::bad_file("pads are missing"))?;
        let value = r.float("value")?.filter(|&value| value != 0.0);
        let value = value.map(|value| r.scalar("value", value)).transpose()?;
        (pads.iter().copied().map(Dim::from).collect(), value, None)
    } else {
        let pads = r.input(1)?;
        let known = r.partly_known(pads)?;
        decided = known.contains(&None);
        let found = if decided { r.signed_sizes("pads", pads)? } else { Vec::new() };
        let mut found = found.into_iter();
        let pads = known.into_iter().filter_map(|known| {
            let found = found.next();
            known.or(found)
        });
        let pads = pads.collect::<Vec<Dim>>();
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
    let mut y = r.emit("", Op::Pad(Pad { mode: mode.into(), begins, ends }), &inputs)?;
    if decided {
        // Names show that sizes are not negative, as differences do not.
        let from = r.dims(x);
        let mut dims = r.dims(y);
        for (axis, dim) in dims.iter_mut().enumerate().filter(|(axis, dim)| **dim != from[*axis]) {
            let size = r.known(DataType::I64, Elements::vector(vec![dim.clone()]))?;
            if let Some(named) = r.sizes(&format!("size_{axis}"), size)?.pop() {
                *dim = named;
            }
        }
        y = r.reshape("sized", y, dims)?;
    }
    r.give(0, y)
}

/// CenterCropPad: as much of the middle as there is, in the middle of what is asked for.
pub(in crate::onnx) fn center_crop_pad(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let wanted = r.sizes_input(1)?;
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
