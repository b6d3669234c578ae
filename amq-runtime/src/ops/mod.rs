//! Operators: how each is computed. What they declare, among that their shape rules, is in
//! `amq_format`.
//!
//! A kernel is made for one node and one set of shapes, holds all that follows from them, and runs
//! without allocating.
//!
//! Sums have one order, whatever the instruction set and the number of rows: it is part of what a
//! file means.

use alloc::borrow::Cow;

use amq_format::for_each_operator;
use amq_format::graph::*;
use amq_format::operator::Arity;

use crate::compute::{Computation, Compute, Shapes};
use crate::error::{Fault, fault};
use crate::weights::Constants;

pub(crate) use elementwise::{Chain, Part};
pub(crate) use shape::expand_kernel;

mod along;
mod binary;
mod cast;
mod concat;
mod control;
mod conv;
mod elementwise;
mod fold;
mod found;
mod gather;
mod grid;
mod index;
mod linear;
mod matmul;
mod narrow;
mod order;
mod pad;
mod pool;
mod recurrent;
mod recurrent_node;
mod reduce;
mod region;
mod resize;
mod select;
mod shape;
mod softmax;
mod spectrum;
mod suppress;
mod unary;
mod walk;
mod window;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

/// The node with numbers in place of the names in its operator's sizes, and in those of its bodies;
/// but for names of which only the node or a body knows the size.
pub(crate) fn bind<'n>(
    node: &'n Node,
    size_of: &dyn Fn(&str) -> Option<i64>,
) -> Result<Cow<'n, Node>, DimError> {
    let names = |dims: &[Dim]| dims.iter().any(|dim| dim.as_size().is_none());
    let named = node.op.as_ref().is_some_and(|op| op.operator().dims().into_iter().any(names));
    if !named && node.bodies.is_empty() {
        return Ok(Cow::Borrowed(node));
    }
    let mut node = node.clone();
    let own = core::mem::take(&mut node.binds);
    let dim_of = |name: &str| {
        let own = own.iter().any(|own| own == name);
        if own { Some(Dim::named(name)) } else { size_of(name).map(Dim::from) }
    };
    let dims = node.op.iter_mut().flat_map(|op| op.operator_mut().dims_mut());
    for dim in dims.flatten() {
        *dim = dim.substitute(&dim_of)?;
    }
    let known = |name: &str| Some(size_of(name).map_or_else(|| Dim::named(name), Dim::from));
    node.bodies.iter_mut().for_each(|body| bind_body(body, &known));
    node.binds = own;
    Ok(Cow::Owned(node))
}

/// A size that does not exist stays as it is: the body may never run, and says so if it does.
fn bind_body(body: &mut Graph, dim_of: &dyn Fn(&str) -> Option<Dim>) {
    let bind = |dim: &mut Dim| {
        if let Ok(bound) = dim.substitute(dim_of) {
            *dim = bound;
        }
    };
    body.inputs.iter_mut().chain(&mut body.outputs).flat_map(|port| &mut port.dims).for_each(bind);
    for node in &mut body.nodes {
        let dims = node.op.iter_mut().flat_map(|op| op.operator_mut().dims_mut());
        dims.flatten().for_each(bind);
        node.bodies.iter_mut().for_each(|body| bind_body(body, dim_of));
    }
}

/// Whether an input, if it is a constant, is among what its node or a body keeps, so that its plain elements are not needed.
pub(crate) fn is_kept(op: &Op, input: usize, multi_bit: bool) -> bool {
    let declared = op.operator();
    let Arity { bodies, captures, .. } = declared.arity();
    let slots = declared.slots();
    let slot = slots.iter().find(|slot| slot.input == input);
    bodies > 0 && input >= captures.first
        || slot.is_some_and(|slot| slot.is_constant() || multi_bit)
}

macro_rules! dispatch {
    ($($tag:tt $name:ident($($held:tt)*),)*) => {
        /// What a node keeps of its constant inputs.
        pub(crate) enum Kept {
            $($name(<$name as Compute>::Kept),)*
        }

        /// Packs a node's constants.
        pub(crate) fn keep(node: &Node, constants: &mut Constants<'_>) -> Result<Kept, Fault> {
            Ok(match node.op.as_ref().ok_or_else(|| fault!("it has no operator"))? {
                $(Op::$name(op) => Kept::$name(op.keep(node, constants)?),)*
            })
        }

        /// As [`Compute::computation`].
        pub(crate) fn computation(
            op: &Op,
            kept: &Kept,
            shapes: &Shapes<'_>,
        ) -> Result<Computation, Fault> {
            match (op, kept) {
                $((Op::$name(op), Kept::$name(kept)) => op.computation(kept, shapes),)*
                _ => Err(fault!("it was loaded as another operator")),
            }
        }
    };
}

for_each_operator!(dispatch);
