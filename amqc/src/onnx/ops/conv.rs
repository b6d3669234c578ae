//! Conv and pooling: what works on windows of `[N, C, spatial..]`.

use amq_format::graph::{AutoPad, Conv, Dim, Op, Pool, PoolKind};

use crate::error::{Error, Result};
use crate::onnx::attrs::{FLOAT, Reader};
use crate::onnx::builder::Value;

/// Steps and borders of a window.
struct Window {
    strides: Vec<u64>,
    dilations: Vec<u64>,
    pads: Vec<u64>,
    auto_pad: AutoPad,
}

/// Number of spatial axes of x, one or two.
fn spatial_axes(r: &Reader<'_, '_>, x: Value) -> Result<usize> {
    match r.rank(x) {
        rank @ 3..=4 => Ok(rank - 2),
        0..3 => Err(Error::bad_file(format!("its input has {} axes", r.rank(x)))),
        rank => Err(Error::unsupported(format!("{} spatial axes; 1 or 2 are supported", rank - 2))),
    }
}

/// An attribute with `count` numbers that are at least `least`.
fn sizes(r: &mut Reader<'_, '_>, name: &str, count: usize, least: u64) -> Result<Option<Vec<u64>>> {
    let Some(ints) = r.ints(name)? else { return Ok(None) };
    let sizes: Option<Vec<u64>> =
        ints.iter().map(|&i| u64::try_from(i).ok().filter(|&size| size >= least)).collect();
    sizes.filter(|sizes| sizes.len() == count).map(Some).ok_or_else(|| {
        Error::bad_file(format!("{name} is {ints:?}; {count} numbers from {least} are needed"))
    })
}

fn window(r: &mut Reader<'_, '_>, axes: usize, dilated: bool) -> Result<Window> {
    let strides = sizes(r, "strides", axes, 1)?.unwrap_or_else(|| vec![1; axes]);
    let dilations = if dilated { sizes(r, "dilations", axes, 1)? } else { None };
    let dilations = dilations.unwrap_or_else(|| vec![1; axes]);
    let pads = sizes(r, "pads", 2 * axes, 0)?.unwrap_or_else(|| vec![0; 2 * axes]);
    let mode = r.string("auto_pad")?.unwrap_or("NOTSET");
    let auto_pad = match mode {
        "NOTSET" | "VALID" => AutoPad::Explicit,
        "SAME_UPPER" => AutoPad::SameUpper,
        "SAME_LOWER" => AutoPad::SameLower,
        other => return Err(Error::bad_file(format!("auto_pad {other:?}"))),
    };
    if mode != "NOTSET" && pads.iter().any(|&pad| pad > 0) {
        return Err(Error::bad_file(format!("auto_pad is {mode}, and pads are given too")));
    }
    Ok(Window { strides, dilations, pads, auto_pad })
}

pub(in crate::onnx) fn conv(r: &mut Reader<'_, '_>) -> Result<()> {
    let (x, weights) = (r.input(0)?, r.input(1)?);
    let axes = spatial_axes(r, x)?;
    let Window { strides, dilations, pads, auto_pad } = window(r, axes, true)?;
    let groups = r.int("group")?.unwrap_or(1);
    let groups = u64::try_from(groups)
        .ok()
        .filter(|&groups| groups > 0)
        .ok_or_else(|| Error::bad_file(format!("group is {groups}")))?;
    if let Some(kernel) = r.ints("kernel_shape")? {
        let dims = r.dims(weights);
        let known: Vec<Dim> = kernel.iter().copied().map(Dim::from).collect();
        if dims.get(2..) != Some(&known) {
            return Err(Error::bad_file(format!("kernel_shape {kernel:?} is not that of W")));
        }
    }
    if r.rank(weights) != axes + 2 {
        let (found, needed) = (r.rank(weights), axes + 2);
        return Err(Error::bad_file(format!("W has {found} axes, x has {needed}")));
    }
    // Channels last: a window's columns are then those of its pixels, one after the other.
    let spatial = 2..axes as u32 + 2;
    let perm: Vec<u32> = [0].into_iter().chain(spatial).chain([1]).collect();
    let weights = r.transpose("weights", weights, &perm)?;
    let auto_pad = auto_pad.into();
    let conv = Conv { strides, dilations, pads, auto_pad, groups, activations: FLOAT };
    let inputs = [Some(x), Some(weights), r.optional_input(2)];
    let y = r.emit_many("", Op::Conv(conv), &inputs, &[true])?;
    y.into_iter().flatten().try_for_each(|y| r.give(0, y))
}

pub(in crate::onnx) fn max_pool(r: &mut Reader<'_, '_>) -> Result<()> {
    // The order in which indices are counted; they are an output that is not supported.
    r.flag("storage_order", false)?;
    pool(r, PoolKind::Max)
}

pub(in crate::onnx) fn average_pool(r: &mut Reader<'_, '_>) -> Result<()> {
    pool(r, PoolKind::Average)
}

fn pool(r: &mut Reader<'_, '_>, kind: PoolKind) -> Result<()> {
    let x = r.input(0)?;
    let axes = spatial_axes(r, x)?;
    let kernel = sizes(r, "kernel_shape", axes, 1)?
        .ok_or_else(|| Error::bad_file("kernel_shape is missing"))?;
    let dilated = r.opset >= if kind == PoolKind::Max { 10 } else { 19 };
    let Window { strides, dilations, pads, auto_pad } = window(r, axes, dilated)?;
    let ceil_mode = r.opset >= 10 && r.flag("ceil_mode", false)?;
    let count_include_pad = kind == PoolKind::Average && r.flag("count_include_pad", false)?;
    let pool = Pool {
        kind: kind.into(),
        kernel,
        strides,
        dilations,
        pads,
        auto_pad: auto_pad.into(),
        ceil_mode,
        count_include_pad,
    };
    let y = r.emit("", Op::Pool(pool), &[x])?;
    r.give(0, y)
}
