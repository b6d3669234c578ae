//! BatchNormalization, outside training and in it.

use amq_format::graph::{
    Binary, BinaryFunction as B, Dim, Op, Reduce, ReduceKind, Unary, UnaryFunction,
};

use super::old;
use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::Value;

fn op(function: B) -> Op {
    Op::Binary(Binary { function: function.into() })
}

/// What a node has for each channel.
struct Channels {
    scale: Value,
    bias: Value,
    mean: Value,
    variance: Value,
    epsilon: Value,
}

pub(in crate::onnx) fn batch_normalization(r: &mut Reader<'_, '_>) -> Result<()> {
    let epsilon = r.float("epsilon")?.unwrap_or(1e-5);
    let momentum = r.float("momentum")?.unwrap_or(0.9);
    if r.opset < 9 && !r.flag("spatial", true)? {
        return Err(Error::unsupported("statistics for each position (spatial = 0)"));
    }
    // Before opset 14 outputs beyond the first, read or not, say that it is training.
    let training = match r.opset {
        14.. => r.flag("training_mode", false)?,
        _ => (1..r.output_count()).any(|output| r.names_output(output)),
    };
    if old::trains(r)? && !training {
        return Err(Error::unsupported("is_test is 0, which means training")
            .remedy("export the model for inference"));
    }
    let x = r.input(0)?;
    let [scale, bias, mean, variance] = [r.input(1)?, r.input(2)?, r.input(3)?, r.input(4)?];
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
    let epsilon = r.scalar("epsilon", epsilon)?;
    let channels = Channels { scale, bias, mean, variance, epsilon };
    match training {
        true => trained(r, x, channels, momentum),
        false => normalized(r, x, channels),
    }
}

/// `scale / sqrt(variance + epsilon)`
fn factor(r: &mut Reader<'_, '_>, scale: Value, variance: Value, epsilon: Value) -> Result<Value> {
    let root = Unary { function: UnaryFunction::Sqrt.into(), alpha: 0.0, beta: 0.0 };
    let variance = r.emit("variance", op(B::Add), &[variance, epsilon])?;
    let deviation = r.emit("deviation", Op::Unary(root), &[variance])?;
    r.emit("factor", op(B::Div), &[scale, deviation])
}

/// A vector of channels as it is broadcast to x.
fn spread(r: &mut Reader<'_, '_>, part: &str, vector: Value, x: Value) -> Result<Value> {
    let mut shape = r.dims(vector);
    shape.resize(r.rank(x) - 1, Dim::from(1));
    r.reshape(part, vector, shape)
}

/// `x factor + offset` for each channel, with offset = bias - mean factor; both are constants once
/// they are folded.
fn normalized(r: &mut Reader<'_, '_>, x: Value, of: Channels) -> Result<()> {
    let factor = factor(r, of.scale, of.variance, of.epsilon)?;
    let shift = r.emit("shift", op(B::Mul), &[of.mean, factor])?;
    let offset = r.emit("offset", op(B::Sub), &[of.bias, shift])?;
    let factor = spread(r, "factor_reshape", factor, x)?;
    let offset = spread(r, "offset_reshape", offset, x)?;
    let scaled = r.emit("", op(B::Mul), &[x, factor])?;
    let y = r.emit("add", op(B::Add), &[scaled, offset])?;
    r.give(0, y)
}

/// `(x - mean) factor + bias` with the mean and the variance of x itself. Since opset 14 the
/// statistics that are given move towards these, `momentum` of each stays.
fn trained(r: &mut Reader<'_, '_>, x: Value, of: Channels, momentum: f32) -> Result<()> {
    let axes: Vec<u32> = (0..r.rank(x) as u32).filter(|&axis| axis != 1).collect();
    let reduce = Op::Reduce(Reduce { kind: ReduceKind::Mean.into(), axes, keep_dims: false });
    let mean = r.emit("mean", reduce.clone(), &[x])?;
    let mean_spread = spread(r, "mean_reshape", mean, x)?;
    let centred = r.emit("centred", op(B::Sub), &[x, mean_spread])?;
    let squares = r.emit("squares", op(B::Mul), &[centred, centred])?;
    let variance = r.emit("batch_variance", reduce, &[squares])?;
    let factor = factor(r, of.scale, variance, of.epsilon)?;
    let factor = spread(r, "factor_reshape", factor, x)?;
    let bias = spread(r, "bias_reshape", of.bias, x)?;
    let scaled = r.emit("", op(B::Mul), &[centred, factor])?;
    let y = r.emit("add", op(B::Add), &[scaled, bias])?;
    r.give(0, y)?;
    if r.opset >= 14 {
        let stays = r.scalar("momentum", momentum)?;
        let comes = r.scalar("rest", 1.0 - momentum)?;
        let moved = [("running_mean", of.mean, mean), ("running_variance", of.variance, variance)];
        for (i, (part, before, batch)) in moved.into_iter().enumerate() {
            let before = r.emit(&format!("{part}_before"), op(B::Mul), &[before, stays])?;
            let batch = r.emit(&format!("{part}_batch"), op(B::Mul), &[batch, comes])?;
            let after = r.emit(part, op(B::Add), &[before, batch])?;
            r.give(i + 1, after)?;
        }
    }
    Ok(())
}
