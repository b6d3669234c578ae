//! Conv, pooling and BatchNormalization: what works on `[N, C, spatial..]`.

use amq_format::graph::{
    AutoPad, Binary, BinaryFunction, Conv, Dim, Op, Pool, PoolKind, Unary, UnaryFunction,
};

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

/// `x factor + offset` for each channel, with factor = scale / sqrt(variance + epsilon) and
/// offset = bias - mean factor; both are constants once they are folded.
pub(in crate::onnx) fn batch_normalization(r: &mut Reader<'_, '_>) -> Result<()> {
    let epsilon = r.float("epsilon")?.unwrap_or(1e-5);
    // How fast training moves the mean and the variance.
    r.float("momentum")?;
    if r.opset < 9 && !r.flag("spatial", true)? {
        return Err(Error::unsupported("statistics for each position (spatial = 0)"));
    }
    if r.opset >= 14 && r.flag("training_mode", false)? {
        return Err(
            Error::unsupported("training_mode = 1").remedy("export the model for inference")
        );
    }
    let [x, scale, bias, mean, variance] =
        [r.input(0)?, r.input(1)?, r.input(2)?, r.input(3)?, r.input(4)?];
    let rank = r.rank(x);
    if rank < 2 {
        return Err(Error::bad_file(format!("its input has {rank} axes; at least 2 are needed")));
    }
    let channels = r.dims(x)[1].clone();
    for (i, statistic) in [scale, bias, mean, variance].into_iter().enumerate() {
        // Broadcasting would take one for all channels, or a channel for many.
        match r.dims(statistic).as_slice() {
            [size] if *size == channels => {}
            [size] if size.as_size().zip(channels.as_size()).is_none() => {
                return Err(Error::unsupported(format!(
                    "whether statistics of size {size} fit {channels} channels is not known"
                ))
                .remedy("export the model with a number of channels"));
            }
            dims => {
                let dims: Vec<_> = dims.iter().map(Dim::to_string).collect();
                return Err(Error::bad_file(format!(
                    "its input {} has the shape [{}], for {channels} channels",
                    i + 1,
                    dims.join(", ")
                )));
            }
        }
    }
    let op = |function: BinaryFunction| Op::Binary(Binary { function: function.into() });
    let root = Unary { function: UnaryFunction::Sqrt.into(), alpha: 0.0, beta: 0.0 };
    let epsilon = r.scalar("epsilon", epsilon)?;
    let variance = r.emit("variance", op(BinaryFunction::Add), &[variance, epsilon])?;
    let deviation = r.emit("deviation", Op::Unary(root), &[variance])?;
    let factor = r.emit("factor", op(BinaryFunction::Div), &[scale, deviation])?;
    let shift = r.emit("shift", op(BinaryFunction::Mul), &[mean, factor])?;
    let offset = r.emit("offset", op(BinaryFunction::Sub), &[bias, shift])?;

    let mut shape = r.dims(factor);
    shape.resize(rank - 1, Dim::from(1));
    let factor = r.reshape("factor_reshape", factor, shape.clone())?;
    let offset = r.reshape("offset_reshape", offset, shape)?;
    let scaled = r.emit("", op(BinaryFunction::Mul), &[x, factor])?;
    let y = r.emit("add", op(BinaryFunction::Add), &[scaled, offset])?;
    r.give(0, y)
}
