//! Resizing.

use amq_format::graph::{Op as AnyOp, Resize as Op};
use rayon::prelude::*;

use super::layer::{Gradients, Inputs, Layer, by_output, floats};
use super::single::Program;
use crate::error::Result;
use crate::ir::node;
use crate::tensor::{Data, Tensor};

/// What an entry of y takes of one of x, along an axis.
struct Share {
    from: usize,
    to: usize,
    weight: f32,
}

/// Values that are resized, each axis by itself.
pub(super) struct Resize {
    op: Op,
    program: Program,
    /// Of each axis that is resized; none before they are needed.
    shares: Vec<Vec<Share>>,
}

impl Resize {
    pub(super) fn new(op: &Op, program: Program) -> Resize {
        Resize { op: op.clone(), program, shares: Vec::new() }
    }

    /// The shares along an axis: what the runtime makes of entries of which one is 1.
    fn find(&self, at: usize, from: usize, to: usize) -> Result<Vec<Share>> {
        let of = |all: &[f32], at: usize| all.get(at).copied().into_iter().collect::<Vec<f32>>();
        let ends = of(&self.op.region, at + self.op.axes.len());
        let op = Op {
            axes: vec![1],
            sizes: vec![(to as i64).into()],
            scales: of(&self.op.scales, at),
            region: of(&self.op.region, at).into_iter().chain(ends).collect(),
            outside: 0.0,
            ..self.op.clone()
        };
        let mut ones = vec![0.0; from * from];
        ones.iter_mut().step_by(from + 1).for_each(|one| *one = 1.0);
        let ones = Tensor { dims: vec![from, from], data: Data::F32(ones) };
        let mut program = self.program.of(node("", AnyOp::Resize(op), vec![1], vec![2]));
        let found = program.run(&[Some(&ones)])?;
        let found: Vec<Option<&Tensor>> = found.iter().map(Option::as_ref).collect();
        let weights = floats(&found, 0)?.iter().enumerate();
        let share = |(at, &weight): (usize, &f32)| Share { from: at / to, to: at % to, weight };
        Ok(weights.map(share).filter(|share| share.weight != 0.0).collect())
    }
}

impl Layer for Resize {
    fn forward(&mut self, inputs: &Inputs<'_>) -> Result<Vec<Option<Tensor>>> {
        self.program.run(inputs)
    }

    fn backward(
        &mut self,
        inputs: &Inputs<'_>,
        outputs: &Inputs<'_>,
        gradients: &[Option<Vec<f32>>],
        _: &[bool],
    ) -> Result<Gradients> {
        let dims = |tensor: Option<&Tensor>| tensor.map_or(vec![], |tensor| tensor.dims.clone());
        let (x, mut y) = (dims(inputs[0]), dims(outputs[0]));
        let axes: Vec<usize> = self.op.axes.iter().map(|&axis| axis as usize).collect();
        if self.shares.is_empty() {
            let found = axes.iter().enumerate().map(|(at, &axis)| self.find(at, x[axis], y[axis]));
            self.shares = found.collect::<Result<_>>()?;
        }
        let mut gradient = by_output(gradients)?.to_vec();
        for (&axis, shares) in axes.iter().zip(&self.shares) {
            let inner: usize = y[axis + 1..].iter().product();
            let (before, after) = (y[axis] * inner, x[axis] * inner);
            y[axis] = x[axis];
            let mut by_x = vec![0.0; y.iter().product()];
            let parts = by_x.par_chunks_mut(after.max(1)).zip(gradient.par_chunks(before.max(1)));
            parts.for_each(|(x, y)| {
                for &Share { from, to, weight } in shares {
                    let x = &mut x[from * inner..][..inner];
                    x.iter_mut().zip(&y[to * inner..]).for_each(|(x, y)| *x += weight * y);
                }
            });
            gradient = by_x;
        }
        Ok(vec![Some(gradient)])
    }
}
