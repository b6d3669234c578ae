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
use amq_format::graph::{ABSENT, DataType, Dim, DimError, Node, Op, ValueId};

use crate::error::{Fault, ensure, fault};
use crate::infer::{Fact, Facts, MAX_RANK};
use crate::kernels::Target;
use crate::model::Constants;
use crate::plan::Values;
use crate::product::Scratch;
use crate::view::{Data, DataMut};

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

/// A type and a shape in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) data_type: DataType,
    pub(crate) dims: Vec<usize>,
}

impl Shape {
    /// The shape of a fact without names, if it can be addressed.
    pub(crate) fn new(fact: &Fact) -> Result<Shape, Fault> {
        let rank = fact.dims.len();
        ensure!(rank <= MAX_RANK, "it has {rank} axes, {MAX_RANK} are possible");
        let mut dims = Vec::with_capacity(rank);
        let mut bytes = fact.data_type.size();
        for dim in &fact.dims {
            let size = dim.as_size().and_then(|size| usize::try_from(size).ok());
            let size = size.ok_or_else(|| fault!("{dim} is no size"))?;
            // Axes of size 0 leave the others' sizes to be multiplied all the same.
            bytes = bytes
                .checked_mul(size.max(1))
                .filter(|&bytes| isize::try_from(bytes).is_ok())
                .ok_or_else(|| fault!("{} is too large", crate::infer::list(&fact.dims)))?;
            dims.push(size);
        }
        Ok(Shape { data_type: fact.data_type, dims })
    }

    /// The fact that it is.
    pub(crate) fn fact(&self) -> Fact {
        let dims = self.dims.iter().map(|&size| Dim::from(size as i64)).collect();
        Fact { data_type: self.data_type, dims }
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.dims.iter().product()
    }
}

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

/// A node's computation for one set of shapes.
pub(crate) trait Kernel: Send + Sync {
    /// Grows the working memory to what `run` needs, as far as its budget allows.
    fn reserve(&self, _memory: &mut Memory) {}

    /// Computes the outputs. Slices have the lengths of the shapes that the kernel was made for.
    fn run(
        &self,
        inputs: &Operands<'_>,
        outputs: &mut Results<'_>,
        context: &mut Context<'_>,
    ) -> Result<(), Fault>;
}

/// What a kernel works with besides its operands.
pub(crate) struct Context<'a> {
    pub(crate) target: Target,
    pub(crate) memory: &'a mut Memory,
}

/// Working memory, as large as the kernel that needs most.
#[derive(Default)]
pub(crate) struct Memory {
    /// Of products.
    pub(crate) scratch: Scratch,
    /// Of recurrent layers.
    pub(crate) work: Vec<f32>,
}

/// Inputs of a node while it runs.
pub(crate) struct Operands<'a> {
    pub(crate) ids: &'a [ValueId],
    pub(crate) values: Values<'a>,
}

impl<'a> Operands<'a> {
    /// An input that may be absent.
    pub(crate) fn optional(&self, i: usize) -> Option<Data<'a>> {
        self.values.get(*self.ids.get(i)?)
    }

    /// An input.
    pub(crate) fn data(&self, i: usize) -> Result<Data<'a>, Fault> {
        self.optional(i).ok_or_else(|| fault!("input {i} is missing"))
    }

    /// An input of floats.
    pub(crate) fn f32(&self, i: usize) -> Result<&'a [f32], Fault> {
        match self.data(i)? {
            Data::F32(x) => Ok(x),
            _ => Err(mismatch()),
        }
    }
}

/// Most outputs an operator has.
pub(crate) const MAX_OUTPUTS: usize = 3;

/// Outputs of a node while it runs.
pub(crate) struct Results<'a>(pub(crate) [Option<DataMut<'a>>; MAX_OUTPUTS]);

impl<'a> Results<'a> {
    /// The first output.
    pub(crate) fn data(&mut self) -> Result<&mut DataMut<'a>, Fault> {
        self.0[0].as_mut().ok_or_else(|| fault!("its output is absent"))
    }

    /// The first output, of floats.
    pub(crate) fn f32(&mut self) -> Result<&mut [f32], Fault> {
        match self.data()? {
            DataMut::F32(y) => Ok(y),
            _ => Err(mismatch()),
        }
    }
}

/// The fault of a kernel whose operands are not of the types that its rule allowed.
pub(crate) fn mismatch() -> Fault {
    fault!("its operands are not of the types it was planned for")
}
