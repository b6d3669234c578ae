//! Losses of classes.

use amq_format::graph::{
    BinaryFunction as B, DataType, Dim, Gather, GatherElements, Op, ReduceKind, Softmax,
    UnaryFunction as U,
};

use super::layout::product;
use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::Value;

pub(in crate::onnx) fn negative_log_likelihood(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let y = loss(r, x)?;
    r.give(0, y)
}

pub(in crate::onnx) fn softmax_cross_entropy(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    if r.rank(x) < 2 {
        return Err(Error::bad_file("its input has no classes"));
    }
    let log = r.emit("log_softmax", Op::Softmax(Softmax { axis: 1, log: true }), &[x])?;
    let y = loss(r, log)?;
    r.give(0, y)?;
    r.give(1, log)
}

/// The loss of logarithms of probabilities `[N, C, ..]` for the classes that input 1 names: each the
/// negative of its class's, times its class's weight, none where the class is to be ignored.
fn loss(r: &mut Reader<'_, '_>, x: Value) -> Result<Value> {
    let (target, weight) = (r.input(1)?, r.optional_input(2));
    let ignored = r.int("ignore_index")?;
    let reduction = r.string("reduction")?.unwrap_or("mean");
    let dims = r.dims(x);
    if dims.len() < 2 {
        return Err(Error::bad_file("its input has no classes"));
    }
    let of_targets = r.dims(target);
    let flat = vec![dims[0].clone(), dims[1].clone(), product(&dims[2..])?];
    let Some((_, of_one)) = of_targets.split_first() else {
        return Err(Error::bad_file("its targets are one number"));
    };
    let places = vec![dims[0].clone(), product(of_one)?];
    let x = r.reshape("flatten", x, flat)?;
    let target = r.reshape("targets", target, places.clone())?;
    let mut class = target;
    let mut counted = None;
    if let Some(ignored) = ignored {
        let number = r.number("ignore_index", r.data_type(target), ignored)?;
        let ignored = r.binary("ignored", B::Equal, target, number)?;
        let zero = r.number("class_0", r.data_type(target), 0)?;
        class = r.select("classes", ignored, zero, target)?;
        let counts = r.unary("counts", U::Not, ignored)?;
        counted = Some(r.cast_to("counted", counts, DataType::F32)?);
    }
    if let Some(weight) = weight {
        let weights = r.emit("weights", Op::Gather(Gather { axis: 0 }), &[weight, class])?;
        counted = Some(match counted {
            Some(counted) => r.binary("weighted", B::Mul, weights, counted)?,
            None => weights,
        });
    }
    let index = vec![places[0].clone(), Dim::from(1), places[1].clone()];
    let index = r.reshape("index", class, index)?;
    let chosen = r.emit("chosen", Op::GatherElements(GatherElements { axis: 1 }), &[x, index])?;
    let chosen = r.reshape("squeeze", chosen, places)?;
    let mut losses = r.unary("negative", U::Neg, chosen)?;
    if let Some(counted) = counted {
        losses = r.binary("losses", B::Mul, losses, counted)?;
    }
    match (reduction, counted) {
        ("none", _) => r.reshape("", losses, of_targets),
        ("sum", _) => r.reduced("", ReduceKind::Sum, losses, &[0, 1], false),
        ("mean", None) => r.reduced("", ReduceKind::Mean, losses, &[0, 1], false),
        ("mean", Some(counted)) => {
            let sum = r.reduced("sum", ReduceKind::Sum, losses, &[0, 1], false)?;
            let count = r.reduced("count", ReduceKind::Sum, counted, &[0, 1], false)?;
            r.binary("", B::Div, sum, count)
        }
        (other, _) => Err(Error::bad_file(format!("reduction {other:?}"))),
    }
}
