//! Recurrent layers in a graph: shape rule, weights and kernel. What a layer computes is in
//! `recurrent`.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use amq_format::graph::{ABSENT, Cell, DataType, Dim, Node, Recurrent};

use super::recurrent::{Inputs, Layer, Outputs, Weights};
use crate::call::{Call, Kernel, Memory, mismatch};
use crate::error::{Fault, ensure, fault};
use crate::infer::{Fact, Facts, same};
use crate::shape::Shape;
use crate::view::{Data, DataMut};
use crate::weights::Constants;

pub(super) fn rule(op: &Recurrent, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
    let lstm = op.cell() == Cell::Lstm;
    inputs.count(3, if lstm { 8 } else { 6 })?;
    let size = |size: u64| i64::try_from(size).map(Dim::from).map_err(|_| fault!("{size} units"));
    let hidden = size(op.hidden_size)?;
    let directions = Dim::from(op.direction().count() as i64);
    let rows = hidden.mul(&Dim::from(op.cell().gates() as i64))?;
    let x = inputs.f32(0)?;
    x.rank("X", 3)?;
    let (steps, batch, width) = (&x.dims[0], &x.dims[1], &x.dims[2]);
    let two = Dim::from(2);
    let states = [&directions, batch, &hidden];
    let parts: [(usize, &str, &[&Dim]); 6] = [
        (1, "W", &[&directions, &rows, width]),
        (2, "R", &[&directions, &rows, &hidden]),
        (3, "B", &[&directions, &rows.mul(&two)?]),
        (5, "initial_h", &states),
        (6, "initial_c", &states),
        (7, "P", &[&directions, &hidden.mul(&Dim::from(3))?]),
    ];
    for (i, name, expected) in parts {
        if i < 3 || inputs.optional(i).is_some() {
            let part = inputs.f32(i)?;
            part.rank(name, expected.len())?;
            for (axis, (found, expected)) in part.dims.iter().zip(expected).enumerate() {
                same(&alloc::format!("axis {axis} of {name}"), found, expected)?;
            }
        }
    }
    if let Some(lens) = inputs.optional(4) {
        let found = lens.data_type.name();
        ensure!(lens.data_type == DataType::I32, "sequence_lens is {found}, it must be i32");
        lens.rank("sequence_lens", 1)?;
        same("the size of sequence_lens", &lens.dims[0], batch)?;
    }
    let states = Vec::from(states.map(Dim::clone));
    let y = Vec::from([steps, &directions, batch, &hidden].map(Dim::clone));
    let mut outputs = Vec::from([Fact::f32(y), Fact::f32(states.clone())]);
    if lstm {
        outputs.push(Fact::f32(states));
    }
    Ok(outputs)
}

/// Packs a layer's weights.
pub(super) fn prepare(
    op: &Recurrent,
    node: &Node,
    constants: &Constants<'_>,
) -> Result<Layer, Fault> {
    let input = |i: usize| node.inputs.get(i).copied().unwrap_or(ABSENT);
    let directions = op.direction().count();
    let parts = |i: usize| -> Result<Vec<Option<Vec<f32>>>, Fault> {
        let all = constants.floats(input(i))?;
        let part = |d: usize| {
            let all = all.as_ref()?;
            let len = all.len() / directions;
            Some(all[d * len..(d + 1) * len].to_vec())
        };
        Ok((0..directions).map(part).collect())
    };
    let matrices = |i: usize| constants.sources(input(i), 2, directions);
    let products = matrices(1)?.into_iter().zip(matrices(2)?);
    let vectors = parts(3)?.into_iter().zip(parts(7)?);
    let weights: Vec<Weights> = products
        .zip(vectors)
        .map(|((w, r), (biases, peepholes))| Weights { w, r, biases, peepholes })
        .collect();
    Layer::new(op, &weights, constants.target()).map_err(|why| fault!("{why}"))
}

pub(super) fn kernel(layer: &Arc<Layer>, x: &Shape) -> Result<Box<dyn Kernel>, Fault> {
    let (steps, batch) = (x.dims[0], x.dims[1]);
    let work = layer.work_len(steps, batch).map_err(|why| fault!("{why}"))?;
    Ok(Box::new(Sequence { layer: Arc::clone(layer), steps, batch, work }))
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
        self.layer.reserve(self.steps, self.batch, &mut memory.scratch);
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
        let Memory { scratch, work } = &mut *call.memory;
        let done = layer.forward(&inputs, Outputs { y, h, c }, work, scratch);
        done.map_err(|why| fault!("{why}"))
    }
}
