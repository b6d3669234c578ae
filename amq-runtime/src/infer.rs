//! Types and shapes of what nodes give, and what is wrong at a node as an error.

use alloc::vec::Vec;

use amq_format::Inference;
use amq_format::graph::{Node, Op};
pub(crate) use amq_format::spec::MAX_RANK;
pub(crate) use amq_format::{Fact, list};

use crate::error::{Error, Fault};

/// What is known of a node's outputs, from what is known of its inputs.
pub(crate) fn infer(node: &Node, inputs: &[Option<Fact>]) -> Result<Vec<Fact>, Error> {
    let inputs: Vec<Option<&Fact>> = inputs.iter().map(Option::as_ref).collect();
    Inference::default().node(node, &inputs).map_err(|fault| at(node, fault))
}

/// The error for a fault at a node.
pub(crate) fn at(node: &Node, Fault(what): Fault) -> Error {
    let op = node.op.as_ref().map_or("no operator", Op::name);
    Error::Node { node: node.name.clone(), op, what }
}
