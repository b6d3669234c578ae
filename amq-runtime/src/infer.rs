//! Types and shapes of what operators give.
//!
//! One set of rules serves the compiler, which infers with names, and the runtime, which infers with
//! names when it loads a model and with numbers when it plans a call. Each rule stands beside its
//! kernel in `ops/`.

use alloc::string::String;
use alloc::vec::Vec;

use amq_format::graph::{DataType, Dim, Node};
pub(crate) use amq_format::spec::MAX_RANK;
use amq_format::spec::operator;

use crate::error::{Error, Fault, ensure, fault};
use crate::ops;

/// What is known of a value before it is computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Type of its elements.
    pub data_type: DataType,
    /// Its shape.
    pub dims: Vec<Dim>,
}

/// Types and shapes of a node's outputs, one for each of `node.outputs`, from those of its inputs.
///
/// `inputs` has one entry for each of `node.inputs`, `None` where it is absent. Sizes that only a
/// call can tell are taken to fit; the same rules look again when the call is planned.
///
/// # Errors
/// [`Error::Node`] where types or shapes do not fit the operator.
pub fn infer(node: &Node, inputs: &[Option<Fact>]) -> Result<Vec<Fact>, Error> {
    let outputs = ops::rule(node, &Facts(inputs)).and_then(|mut outputs| {
        let (given, most) = (node.outputs.len(), outputs.len());
        ensure!(given <= most, "it has {given} outputs, {most} are possible");
        outputs.truncate(given);
        for fact in &outputs {
            let rank = fact.dims.len();
            ensure!(rank <= MAX_RANK, "its result has {rank} axes, {MAX_RANK} are possible");
            let negative = fact.dims.iter().find(|d| d.as_size().is_some_and(|size| size < 0));
            ensure!(negative.is_none(), "its result has a negative size: {}", list(&fact.dims));
        }
        Ok(outputs)
    });
    outputs.map_err(|fault| at(node, fault))
}

/// The error for a fault at a node.
pub(crate) fn at(node: &Node, Fault(what): Fault) -> Error {
    let op = node.op.as_ref().map_or("no operator", |op| operator(op).0);
    Error::Node { node: node.name.clone(), op, what }
}

/// What is known of a node's inputs.
pub(crate) struct Facts<'a>(pub(crate) &'a [Option<Fact>]);

impl<'a> Facts<'a> {
    /// The number of inputs must be in this range.
    pub(crate) fn count(&self, least: usize, most: usize) -> Result<(), Fault> {
        let count = self.0.len();
        ensure!((least..=most).contains(&count), "it has {count} inputs, not {least} to {most}");
        (0..least).try_for_each(|i| self.get(i).map(|_| ()))
    }

    /// An input that must be there.
    pub(crate) fn get(&self, i: usize) -> Result<&'a Fact, Fault> {
        self.optional(i).ok_or_else(|| fault!("input {i} is missing"))
    }

    /// An input that may be absent.
    pub(crate) fn optional(&self, i: usize) -> Option<&'a Fact> {
        self.0.get(i).and_then(Option::as_ref)
    }

    /// An input that must be there and hold floats.
    pub(crate) fn f32(&self, i: usize) -> Result<&'a Fact, Fault> {
        let fact = self.get(i)?;
        let found = fact.data_type.name();
        ensure!(fact.data_type == DataType::F32, "input {i} is {found}, it must be f32");
        Ok(fact)
    }

    /// Input 2, if it is there, must be a float for each of the rows of W.
    pub(crate) fn bias(&self, rows: &Dim) -> Result<(), Fault> {
        if self.optional(2).is_none() {
            return Ok(());
        }
        let bias = self.f32(2)?;
        bias.rank("bias", 1)?;
        same("the size of bias", &bias.dims[0], rows)
    }
}

impl Fact {
    /// A tensor of floats.
    pub(crate) fn f32(dims: Vec<Dim>) -> Fact {
        Fact { data_type: DataType::F32, dims }
    }

    /// The size of an axis that must be there.
    pub(crate) fn axis(&self, axis: usize) -> Result<&Dim, Fault> {
        let found = self.dims.len();
        self.dims.get(axis).ok_or_else(|| fault!("axis {axis} of {found} does not exist"))
    }

    /// The number of axes must be this.
    pub(crate) fn rank(&self, what: &str, rank: usize) -> Result<(), Fault> {
        let found = self.dims.len();
        ensure!(found == rank, "{what} has {found} axes, it must have {rank}");
        Ok(())
    }
}

/// Two sizes must be equal, as far as they are known.
pub(crate) fn same(what: &str, found: &Dim, expected: &Dim) -> Result<(), Fault> {
    let differ = matches!((found.as_size(), expected.as_size()), (Some(a), Some(b)) if a != b);
    ensure!(!differ, "{what} is {found}, it must be {expected}");
    Ok(())
}

/// The shape that two give when broadcast together.
pub(crate) fn broadcast(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>, Fault> {
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let lead = long.len() - short.len();
    let mut dims = long[..lead].to_vec();
    for (x, y) in long[lead..].iter().zip(short) {
        let dim = x.broadcast(y);
        dims.push(dim.map_err(|why| fault!("shapes {} and {}: {why}", list(a), list(b)))?);
    }
    Ok(dims)
}

/// A shape as errors show it.
pub(crate) fn list<T: core::fmt::Display>(dims: &[T]) -> String {
    use core::fmt::Write;
    let mut text = String::from("[");
    for (i, dim) in dims.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = write!(text, "{}{dim}", if i > 0 { ", " } else { "" });
    }
    text.push(']');
    text
}
