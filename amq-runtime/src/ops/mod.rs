//! Operators: of each family its shape rule and its kernels, side by side.
//!
//! A rule works on sizes with names; the same rule runs on numbers when a call is planned. A kernel
//! is made for one node and one set of shapes, holds all that follows from them, and runs without
//! allocating.
//!
//! Sums have one order, whatever the instruction set and the number of rows: it is part of what a
//! file means.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use amq_format::TensorView;
use amq_format::graph::{ABSENT, Dim, DimError, Node, Op};

use crate::call::Kernel;
use crate::error::{Fault, fault};
use crate::infer::{Fact, Facts};
use crate::shape::Shape;
use crate::weights::Constants;

pub(crate) use shape::expand_kernel;

mod binary;
mod cast;
mod concat;
mod conv;
mod gather;
mod linear;
mod matmul;
mod pad;
mod pool;
mod recurrent;
mod recurrent_node;
mod reduce;
mod select;
mod shape;
mod softmax;
mod unary;
mod walk;
mod window;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

/// Types and shapes of all outputs that a node's operator has.
pub(crate) fn rule(node: &Node, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
    let op = node.op.as_ref().ok_or_else(|| fault!("it has no operator"))?;
    let fact = match op {
        Op::Linear(op) => linear::rule(op, inputs),
        Op::MatMul(_) => matmul::rule(inputs),
        Op::Conv(op) => conv::rule(op, inputs),
        Op::Pool(op) => pool::rule(op, inputs),
        Op::Recurrent(op) => return recurrent_node::rule(op, inputs),
        Op::Gather(op) => gather::rule(op, inputs),
        Op::Unary(op) => unary::rule(op, inputs),
        Op::Binary(op) => binary::rule(op, inputs),
        Op::Select(_) => select::rule(inputs),
        Op::Reduce(op) => reduce::rule(op, inputs),
        Op::Softmax(op) => softmax::rule(op, inputs),
        Op::Concat(op) => concat::rule(op, inputs),
        Op::Slice(op) => shape::slice(op, inputs),
        Op::Reshape(op) => shape::reshape(op, inputs),
        Op::Transpose(op) => shape::transpose(op, inputs),
        Op::Pad(op) => pad::rule(op, inputs),
        Op::Expand(op) => shape::expand(op, inputs),
        Op::Cast(op) => cast::rule(op, inputs),
        Op::Dims(op) => shape::dims(op, inputs),
    };
    fact.map(|fact| Vec::from([fact]))
}

/// The node with numbers in place of the names in its operator's sizes.
pub(crate) fn bind(node: &Node, size_of: &dyn Fn(&str) -> Option<i64>) -> Result<Node, DimError> {
    let mut node = node.clone();
    let put = |dims: &mut Vec<Dim>| {
        dims.iter_mut().try_for_each(|dim| {
            *dim = Dim::from(dim.eval(size_of)?);
            Ok(())
        })
    };
    match &mut node.op {
        Some(Op::Slice(op)) => put(&mut op.starts).and_then(|()| put(&mut op.ends))?,
        Some(Op::Pad(op)) => put(&mut op.begins).and_then(|()| put(&mut op.ends))?,
        Some(Op::Reshape(op)) => put(&mut op.dims)?,
        Some(Op::Expand(op)) => put(&mut op.dims)?,
        Some(Op::Dims(op)) => put(&mut op.dims)?,
        _ => {}
    }
    Ok(node)
}

/// What a node keeps from its constant inputs, made when a model is loaded.
pub(crate) enum Prepared {
    /// Nothing: its kernel reads its inputs.
    Nothing,
    Linear(Arc<linear::Weights>),
    Conv(Arc<conv::Weights>),
    Recurrent(Arc<recurrent::Layer>),
    Table(Arc<gather::Table>),
}

/// Whether an input is kept by [`prepare`], so that its plain elements are not needed.
pub(crate) fn is_prepared(op: &Op, input: usize, multi_bit: bool) -> bool {
    match op {
        Op::Linear(_) | Op::Conv(_) => input > 0,
        Op::Recurrent(_) => matches!(input, 1 | 2 | 3 | 7),
        Op::Gather(_) => input == 0 && multi_bit,
        _ => false,
    }
}

/// Packs a node's constants.
pub(crate) fn prepare(node: &Node, constants: &mut Constants<'_>) -> Result<Prepared, Fault> {
    let input = |i: usize| node.inputs.get(i).copied().unwrap_or(ABSENT);
    Ok(match &node.op {
        Some(Op::Linear(op)) => Prepared::Linear(Arc::new(linear::Weights {
            matrix: constants.matrix(input(1), op.activations())?,
            bias: constants.floats(input(2))?,
        })),
        Some(Op::Conv(op)) => Prepared::Conv(Arc::new(conv::Weights {
            matrix: constants.conv_matrix(input(1), op)?,
            bias: constants.floats(input(2))?,
        })),
        Some(Op::Recurrent(op)) => {
            Prepared::Recurrent(Arc::new(recurrent_node::prepare(op, node, constants)?))
        }
        Some(Op::Gather(_)) => match constants.view(input(0)) {
            Some(TensorView::MultiBit(view)) => {
                Prepared::Table(Arc::new(gather::Table::new(&view)))
            }
            _ => Prepared::Nothing,
        },
        _ => Prepared::Nothing,
    })
}

/// The kernel of a node without names for these shapes; none where the output is the first input's
/// elements as they are.
pub(crate) fn kernel(
    op: &Op,
    prepared: &Prepared,
    inputs: &[Option<Shape>],
    outputs: &[Shape],
) -> Result<Option<Box<dyn Kernel>>, Fault> {
    let input = |i: usize| {
        let shape = inputs.get(i).and_then(Option::as_ref);
        shape.ok_or_else(|| fault!("input {i} is missing"))
    };
    let y = outputs.first().ok_or_else(|| fault!("it has no outputs"))?;
    Ok(Some(match (op, prepared) {
        (Op::Linear(_), Prepared::Linear(weights)) => linear::kernel(weights, input(0)?),
        (Op::Conv(op), Prepared::Conv(weights)) => {
            conv::kernel(op, weights, input(0)?, input(1)?, y)?
        }
        (Op::Recurrent(_), Prepared::Recurrent(layer)) => recurrent_node::kernel(layer, input(0)?)?,
        (Op::Gather(op), Prepared::Table(table)) => gather::kernel(op, Some(table), input(0)?)?,
        (Op::Gather(op), _) => gather::kernel(op, None, input(0)?)?,
        (Op::MatMul(_), _) => matmul::kernel(input(0)?, input(1)?, y),
        (Op::Pool(op), _) => pool::kernel(op, input(0)?, y)?,
        (Op::Unary(op), _) => unary::kernel(op),
        (Op::Binary(op), _) => binary::kernel(op, input(0)?, input(1)?, y),
        (Op::Select(_), _) => select::kernel(input(0)?, input(1)?, input(2)?, y),
        (Op::Reduce(op), _) => reduce::kernel(op, input(0)?),
        (Op::Softmax(op), _) => softmax::kernel(op, input(0)?),
        (Op::Concat(op), _) => concat::kernel(op, inputs, y)?,
        (Op::Slice(op), _) => shape::slice_kernel(op, input(0)?, y)?,
        (Op::Reshape(_), _) => return Ok(None),
        (Op::Transpose(op), _) => match shape::transpose_kernel(op, input(0)?, y) {
            Some(kernel) => kernel,
            None => return Ok(None),
        },
        (Op::Pad(op), _) => pad::kernel(op, input(0)?, y)?,
        (Op::Expand(_), _) if input(0)?.len() == y.len() => return Ok(None),
        (Op::Expand(_), _) => expand_kernel(input(0)?, y),
        (Op::Cast(_), _) if input(0)?.data_type == y.data_type => return Ok(None),
        (Op::Cast(_), _) => cast::kernel(),
        (Op::Dims(op), _) => shape::dims_kernel(op)?,
        (Op::Linear(_) | Op::Conv(_) | Op::Recurrent(_), _) => {
            return Err(fault!("its weights are missing"));
        }
    }))
}
