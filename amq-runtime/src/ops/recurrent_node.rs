//! Recurrent layers in a graph: weights and kernel. What a layer computes is in
//! `recurrent`.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use amq_format::graph::{ABSENT, Node, Recurrent};

use super::recurrent::{Inputs, Layer, Outputs, Tools, Weights, Which, part};
use crate::call::{Call, Kernel, Memory, mismatch};
use crate::compute::{Computation, Compute, Shapes};
use crate::error::{Fault, fault};
use crate::probe::Tap;
use crate::product::Hands;
use crate::view::{Data, DataMut};
use crate::weights::Constants;

impl Compute for Recurrent {
    type Kept = Arc<Layer>;

    fn keep(&self, node: &Node, constants: &mut Constants<'_>) -> Result<Self::Kept, Fault> {
        let input = |i: usize| node.inputs.get(i).copied().unwrap_or(ABSENT);
        let directions = self.direction().count();
        let parts = |i: usize| -> Result<Vec<Option<Cow<'static, [f32]>>>, Fault> {
            let all = constants.floats(input(i))?;
            let of = |d: usize| {
                let all = all.as_ref()?;
                let len = all.len() / directions;
                Some(part(all, d * len..(d + 1) * len))
            };
            Ok((0..directions).map(of).collect())
        };
        let matrices = |i: usize| constants.sources(input(i), 2, directions);
        let (w, r) = (matrices(1)?, matrices(2)?);
        let products = w.iter().cloned().zip(r.iter().cloned());
        let vectors = parts(3)?.into_iter().zip(parts(7)?);
        let weights: Vec<Weights<'_>> = products
            .zip(vectors)
            .map(|((w, r), (biases, peepholes))| Weights { w, r, biases, peepholes })
            .collect();
        let target = constants.packer().target;
        let tensors = [constants.tensor(input(1))?, constants.tensor(input(2))?];
        let layer = Layer::new(self, &weights, target, &mut |which, direction, rows| {
            let (tensor, sources, activations) = match which {
                Which::W => (tensors[0], &w, self.activations()),
                Which::R => (tensors[1], &r, self.recurrent_activations()),
            };
            constants.rows(tensor, &sources[direction], direction, rows, activations)
        });
        Ok(Arc::new(layer.map_err(|why| fault!("{why}"))?))
    }

    fn computation(&self, kept: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let x = shapes.input(0)?;
        let (steps, batch) = (x.dims[0], x.dims[1]);
        let work = kept.work_len(steps, batch).map_err(|why| fault!("{why}"))?;
        Ok(Computation::Kernel(Box::new(Sequence { layer: Arc::clone(kept), steps, batch, work })))
    }
}

struct Sequence {
    layer: Arc<Layer>,
    steps: usize,
    batch: usize,
    /// Numbers of working memory.
    work: usize,
}

impl Kernel for Sequence {
    fn reserve(&self, memory: &mut Memory) {
        memory.reserve(|scratch| self.layer.reserve(self.steps, self.batch, scratch));
        memory.scratch.budget.grow(&mut memory.work, self.work, 0.0);
    }

    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let lengths = match call.inputs.optional(4) {
            None => None,
            Some(Data::I32(lengths)) => Some(lengths),
            Some(_) => return Err(mismatch()),
        };
        let state = |i: usize| call.inputs.optional(i).map(|_| call.inputs.f32(i)).transpose();
        let mut outputs = call.outputs.each().map(|output| match output {
            Some(DataMut::F32(output)) => Some(output),
            _ => None,
        });
        let mut output = || outputs.next().flatten();
        let (y, h, c) = (output(), output(), output());
        let Sequence { layer, steps, batch, .. } = self;
        let inputs = Inputs {
            x: call.inputs.f32(0)?,
            steps: *steps,
            batch: *batch,
            lengths,
            h: state(5)?,
            c: state(6)?,
        };
        let Memory { scratch, helpers, work, .. } = &mut *call.memory;
        let hands = Hands { workers: call.workers, scratch, helpers };
        let tools = &mut Tools { hands, tap: Tap::new(call.tap.node, &mut call.tap.probe) };
        let done = layer.forward(&inputs, Outputs { y, h, c }, work, tools);
        done.map_err(|why| fault!("{why}"))
    }
}
