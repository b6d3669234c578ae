//! Which layer a node is.

use std::path::Path;

use amq_format::graph::{Node, Op};
use amq_runtime::Isa;

use super::conv::Conv;
use super::elementwise::{self, Elementwise};
use super::fold::Fold;
use super::layer::{Gradients, Inputs, Layer};
use super::linear::Linear;
use super::matmul::MatMul;
use super::mirrored::{Mirrored, mirror};
use super::movement::{Movement, moved};
use super::pool::Pool;
use super::recurrent::Recurrent;
use super::resize::Resize;
use super::single::Program;
use super::table::Table;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Whether training goes through a node; `table` says that it looks up rows of a matrix.
pub(in crate::tune) fn has_gradient(op: &Op, table: bool) -> bool {
    match op {
        Op::Linear(_)
        | Op::MatMul(_)
        | Op::Conv(_)
        | Op::Pool(_)
        | Op::Recurrent(_)
        | Op::Fold(_)
        | Op::Resize(_) => true,
        Op::Gather(_) if table => true,
        op => moved(op, 0).is_some() || mirror(op).is_some() || elementwise::has_gradient(op),
    }
}

/// What layers are made with.
#[derive(Clone, Copy, Debug)]
pub(in crate::tune) struct Maker<'a> {
    /// The model's file, for errors.
    pub(in crate::tune) path: &'a Path,
    /// The instruction set that activations are coded and other nodes run with.
    pub(in crate::tune) isa: Isa,
}

impl Maker<'_> {
    /// The layer of a node in whose sizes numbers stand; `table` says that it looks up rows of a matrix.
    pub(in crate::tune) fn layer(&self, node: &Node, table: bool) -> Box<dyn Layer> {
        let program = || Program::new(self.path, self.isa, node);
        match &node.op {
            Some(Op::Linear(op)) => Box::new(Linear::new(self.isa, op.activations())),
            Some(Op::Conv(op)) => Box::new(Conv::new(self.isa, op)),
            Some(Op::MatMul(_)) => Box::new(MatMul),
            Some(Op::Pool(op)) => Box::new(Pool::new(op, &program())),
            Some(Op::Fold(op)) => Box::new(Fold::new(op, program())),
            Some(Op::Resize(op)) => Box::new(Resize::new(op, program())),
            Some(Op::Recurrent(op)) => Box::new(Recurrent::new(self.isa, op)),
            Some(Op::Gather(_)) if table => Box::new(Table::default()),
            Some(op) if elementwise::has_gradient(op) => Box::new(Elementwise(program())),
            Some(op) => match (moved(op, node.inputs.len()), mirror(op)) {
                (Some(moved), _) => Box::new(Movement::new(moved, program())),
                (_, Some(mirror)) => Box::new(Mirrored::new(program(), mirror)),
                _ => Box::new(Plain(program())),
            },
            None => Box::new(Plain(program())),
        }
    }
}

/// A node that nothing is trained through.
struct Plain(Program);

impl Layer for Plain {
    fn forward(&mut self, inputs: &Inputs<'_>) -> Result<Vec<Option<Tensor>>> {
        self.0.run(inputs)
    }

    fn backward(
        &mut self,
        _: &Inputs<'_>,
        _: &Inputs<'_>,
        _: &[Option<Vec<f32>>],
        _: &[bool],
    ) -> Result<Gradients> {
        Err(Error::unsupported("a node without a gradient"))
    }
}
