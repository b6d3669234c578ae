//! Conv and pooling: what works on windows of `[N, C, spatial..]`.

use amq_format::graph::{
    AutoPad, BinaryFunction, Conv, DataType, Dim, Op, Pad, Pool, PoolKind, UnaryFunction,
};

use super::{blocks, norm, volume};
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

/// Number of spatial axes of x, one to three.
fn spatial_axes(r: &Reader<'_, '_>, x: Value) -> Result<usize> {
    match r.rank(x) {
        rank @ 3..=5 => Ok(rank - 2),
        0..3 => Err(Error::bad_file(format!("its input has {} axes", r.rank(x)))),
        rank => Err(Error::unsupported(format!("{} spatial axes; 1 to 3 are supported", rank - 2))),
    }
}

/// An attribute with `count` numbers that are at least `least`.
pub(super) fn sizes(
    r: &mut Reader<'_, '_>,
    name: &str,
    count: usize,
    least: u64,
) -> Result<Option<Vec<u64>>> {
    let Some(ints) = r.ints(name)? else { return Ok(None) };
    // Products of two are numbers too.
    let allowed = least..=i32::MAX as u64;
    let sizes: Option<Vec<u64>> =
        ints.iter().map(|&i| u64::try_from(i).ok().filter(|size| allowed.contains(size))).collect();
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
    let (x, weights, bias) = (r.input(0)?, r.input(1)?, r.optional_input(2));
    let y = convolved(r, "", x, weights, bias)?;
    r.give(0, y)
}

/// A convolution with the node's attributes.
pub(super) fn convolved(
    r: &mut Reader<'_, '_>,
    part: &str,
    x: Value,
    weights: Value,
    bias: Option<Value>,
) -> Result<Value> {
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
    let auto_pad = auto_pad.into();
    let conv = Conv { strides, dilations, pads, auto_pad, groups, activations: FLOAT };
    if axes == 3 {
        return volume::conv(r, x, weights, bias, conv);
    }
    // Channels last: a window's columns are then those of its pixels, one after the other.
    let spatial = 2..axes as u32 + 2;
    let perm: Vec<u32> = [0].into_iter().chain(spatial).chain([1]).collect();
    let weights = r.transpose("weights", weights, &perm)?;
    r.emit_one(part, Op::Conv(conv), &[Some(x), Some(weights), bias])
}

/// MaxPool; of bytes too, which f32 holds exactly.
pub(in crate::onnx) fn max_pool(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let by_columns = r.opset >= 8 && r.flag("storage_order", false)?;
    let pool = pool(r, x, PoolKind::Max, r.opset >= 10)?;
    let of = r.data_type(x);
    let floats = match of {
        DataType::U8 | DataType::I8 => r.cast_to("floats", x, DataType::F32)?,
        _ => x,
    };
    let wanted = [r.wants(0), r.wants(1)];
    let outputs = match pool.kernel.len() {
        3 => {
            let (y, indices) = volume::pool(r, floats, &pool, wanted[1])?;
            vec![Some(y), indices]
        }
        _ => r.emit_many("", Op::Pool(pool), &[Some(floats)], &wanted)?,
    };
    if let Some(&Some(y)) = outputs.first() {
        let y = r.cast_to("bytes", y, of)?;
        r.give(0, y)?;
    }
    if let Some(&Some(mut indices)) = outputs.get(1) {
        if by_columns {
            let spatial = r.dims(x)[2..].to_vec();
            indices = blocks::by_columns(r, indices, &spatial)?;
        }
        r.give(1, indices)?;
    }
    Ok(())
}

pub(in crate::onnx) fn average_pool(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let y = averaged(r, "", x)?;
    r.give(0, y)
}

/// Means over windows with the node's attributes.
pub(super) fn averaged(r: &mut Reader<'_, '_>, part: &str, x: Value) -> Result<Value> {
    let pool = pool(r, x, PoolKind::Average, r.opset >= 19)?;
    emit_pool(r, part, x, pool)
}

/// `(sum |x|^p)^(1/p)` over windows.
pub(in crate::onnx) fn p_pool(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let p = r.int("p")?.unwrap_or(2);
    let pool = pool(r, x, PoolKind::Sum, r.opset >= 18)?;
    let powers = norm::powers(r, x, p)?;
    let sum = emit_pool(r, "", powers, pool)?;
    let y = norm::root(r, "root", sum, p)?;
    r.give(0, y)
}

fn emit_pool(r: &mut Reader<'_, '_>, part: &str, x: Value, pool: Pool) -> Result<Value> {
    if pool.kernel.len() == 3 {
        return Ok(volume::pool(r, x, &pool, false)?.0);
    }
    r.emit(part, Op::Pool(pool), &[x])
}

/// Pooling as the node's attributes say; since some opset with dilations.
fn pool(r: &mut Reader<'_, '_>, x: Value, kind: PoolKind, dilated: bool) -> Result<Pool> {
    let axes = spatial_axes(r, x)?;
    let kernel = sizes(r, "kernel_shape", axes, 1)?
        .ok_or_else(|| Error::bad_file("kernel_shape is missing"))?;
    let Window { strides, dilations, pads, auto_pad } = window(r, axes, dilated)?;
    let ceil_mode = match kind {
        PoolKind::Sum => r.opset >= 18 && r.flag("ceil_mode", false)?,
        _ => r.opset >= 10 && r.flag("ceil_mode", false)?,
    };
    let count_include_pad = kind == PoolKind::Average && r.flag("count_include_pad", false)?;
    Ok(Pool {
        kind: kind.into(),
        kernel,
        strides,
        dilations,
        pads,
        auto_pad: auto_pad.into(),
        ceil_mode,
        count_include_pad,
    })
}

/// CausalConvWithState: each channel by itself, after what came before it.
pub(in crate::onnx) fn causal_conv(r: &mut Reader<'_, '_>) -> Result<()> {
    let (x, weights, bias) = (r.input(0)?, r.input(1)?, r.optional_input(2));
    let (dims, shape) = (r.dims(x), r.dims(weights));
    let (3, [Some(channels), Some(1), Some(kernel)]) =
        (dims.len(), [0, 1, 2].map(|axis| shape.get(axis).and_then(Dim::as_size)))
    else {
        return Err(Error::bad_file("x or W has another shape than [N, C, L] and [C, 1, k]"));
    };
    let before = kernel - 1;
    let padded = match r.optional_input(3) {
        Some(past) => r.joined("padded", 2, &[past, x])?,
        None => {
            let begins = vec![Dim::from(0), Dim::from(0), Dim::from(before)];
            let ends = vec![Dim::from(0); 3];
            r.emit("padded", Op::Pad(Pad { mode: 0, begins, ends }), &[x])?
        }
    };
    let turned = r.transpose("weights", weights, &[0, 2, 1])?;
    let conv = Conv {
        strides: vec![1],
        dilations: vec![1],
        pads: vec![0; 2],
        auto_pad: AutoPad::Explicit.into(),
        groups: channels as u64,
        activations: FLOAT,
    };
    let inputs = [Some(padded), Some(turned), bias];
    let outputs = r.emit_many("", Op::Conv(conv), &inputs, &[true])?;
    let y = outputs.into_iter().flatten().next();
    let mut y = y.ok_or_else(|| Error::unsupported("its operator has no output here"))?;
    match r.string("activation")?.unwrap_or("none") {
        "none" => {}
        "silu" | "swish" => {
            let sigmoid = r.unary("sigmoid", UnaryFunction::Sigmoid, y)?;
            y = r.binary("swish", BinaryFunction::Mul, y, sigmoid)?;
        }
        other => return Err(Error::bad_file(format!("activation {other:?}"))),
    }
    r.give(0, y)?;
    if r.wants(1) {
        let length = r.dims(padded)[2].clone();
        let start = r.dim(length.add(&Dim::from(-before)))?;
        let state = r.sliced("state", padded, 2, (start, length, 1))?;
        r.give(1, state)?;
    }
    Ok(())
}
