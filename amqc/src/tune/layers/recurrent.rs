//! Recurrent layers, and back-propagation through their steps.

mod cell;
mod kept;
mod pass;

use std::sync::Arc;

use amq_format::graph::{Activations, Cell, Direction, Recurrent as Op};
use amq_runtime::Isa;

use super::layer::{Gradients, Inputs, Layer, check_columns, floats, optional};
use crate::error::Result;
use crate::quant::BitCodes;
use crate::tensor::{Data, Tensor};
use crate::tune::coded::Vectors;
use kept::{Pass, Sizes};
use pass::Weights;

/// An LSTM, GRU or RNN layer.
pub(super) struct Recurrent {
    isa: Isa,
    op: Op,
    /// What entered the products with W in the place of X.
    x: Vec<f32>,
    /// The codes of W and R.
    codes: [Option<Arc<BitCodes>>; 2],
    /// Of each direction, what its steps left.
    passes: Vec<Pass>,
}

impl Recurrent {
    pub(super) fn new(isa: Isa, op: &Op) -> Recurrent {
        Recurrent { isa, op: op.clone(), x: Vec::new(), codes: [None, None], passes: Vec::new() }
    }

    fn sizes(&self, inputs: &Inputs<'_>) -> Sizes {
        let dims = inputs[0].map(|x| x.dims.as_slice()).unwrap_or_default();
        let dim = |axis: usize| dims.get(axis).copied().unwrap_or(0);
        let (steps, batch, input) = (dim(0), dim(1), dim(2));
        Sizes {
            steps,
            batch,
            input,
            hidden: self.op.hidden_size as usize,
            gates: self.op.cell().gates(),
        }
    }

    /// Steps of each sequence.
    fn lengths(&self, inputs: &Inputs<'_>, sizes: &Sizes) -> Vec<usize> {
        let given = inputs.get(4).copied().flatten().and_then(|lengths| lengths.data.integers());
        let length = |n: &i64| usize::try_from(*n).unwrap_or(0).min(sizes.steps);
        let all = vec![sizes.steps; sizes.batch];
        given.map_or(all, |lengths| lengths.iter().map(length).collect())
    }
}

/// The weights of a direction.
fn weights<'a>(inputs: &Inputs<'a>, direction: usize, sizes: &Sizes) -> Result<Weights<'a>> {
    let rows = sizes.gates * sizes.hidden;
    let part = |data: &'a [f32], size: usize| &data[direction * size..(direction + 1) * size];
    Ok(Weights {
        w: part(floats(inputs, 1)?, rows * sizes.input),
        r: part(floats(inputs, 2)?, rows * sizes.hidden),
        b: optional(inputs, 3).map(|b| part(b, 2 * rows)),
        p: optional(inputs, 7).map(|p| part(p, 3 * sizes.hidden)),
    })
}

impl Layer for Recurrent {
    fn coded_inputs(&self) -> &'static [usize] {
        let is_coded = |activations: Activations| activations.codes().is_some();
        match (is_coded(self.op.activations()), is_coded(self.op.recurrent_activations())) {
            (true, true) => &[1, 2],
            (true, false) => &[1],
            (false, true) => &[2],
            (false, false) => &[],
        }
    }

    fn take_codes(&mut self, input: usize, codes: Option<Arc<BitCodes>>) {
        self.codes[input - 1] = codes;
    }

    fn forward(&mut self, inputs: &Inputs<'_>) -> Result<Vec<Option<Tensor>>> {
        let sizes = self.sizes(inputs);
        check_columns(inputs, sizes.input)?;
        let coded = std::mem::take(&mut self.codes);
        let lengths = self.lengths(inputs, &sizes);
        let Sizes { steps, batch, hidden, .. } = sizes;
        let state = batch * hidden;
        let directions = self.op.direction().count();
        self.x.clear();
        self.x.extend_from_slice(floats(inputs, 0)?);
        let coded_x = Vectors::code(self.isa, self.op.activations(), sizes.input, &mut self.x)?;
        let mut y = vec![0.0; steps * directions * state];
        let [mut last_h, mut last_c] =
            [vec![0.0; directions * state], vec![0.0; directions * state]];
        self.passes.clear();
        for direction in 0..directions {
            let reverse = match self.op.direction() {
                Direction::Forward => false,
                Direction::Reverse => true,
                Direction::Bidirectional => direction == 1,
            };
            let own = direction * state..(direction + 1) * state;
            let start = |input: usize| {
                optional(inputs, input).map_or(vec![0.0; state], |all| all[own.clone()].to_vec())
            };
            let weights = weights(inputs, direction, &sizes)?;
            let first = direction * sizes.gates * hidden;
            let codes = coded.each_ref().map(|codes| Some((codes.as_deref()?, first)));
            let mut pass =
                Pass::new(self.isa, &self.op, direction, reverse, sizes, lengths.clone());
            let (h, c) = pass.forward(
                (&self.x, coded_x.as_ref()),
                &weights,
                codes,
                (start(5), start(6)),
                &mut |t, n, h| {
                    let at = ((t * directions + direction) * batch + n) * hidden;
                    y[at..at + hidden].copy_from_slice(h);
                },
            )?;
            last_h[own.clone()].copy_from_slice(&h);
            last_c[own].copy_from_slice(&c);
            self.passes.push(pass);
        }
        let tensor = |dims: Vec<usize>, data| Some(Tensor { dims, data: Data::F32(data) });
        let states = vec![directions, batch, hidden];
        let mut outputs =
            vec![tensor(vec![steps, directions, batch, hidden], y), tensor(states.clone(), last_h)];
        if self.op.cell() == Cell::Lstm {
            outputs.push(tensor(states, last_c));
        }
        Ok(outputs)
    }

    fn backward(
        &mut self,
        inputs: &Inputs<'_>,
        _: &Inputs<'_>,
        gradients: &[Option<Vec<f32>>],
        wanted: &[bool],
    ) -> Result<Gradients> {
        let sizes = self.sizes(inputs);
        let Sizes { steps, batch, hidden, .. } = sizes;
        let directions = self.passes.len();
        let state = batch * hidden;
        let mut found: Gradients = vec![None; inputs.len()];
        let by = |output: usize| gradients.get(output).and_then(Option::as_ref);
        for (direction, pass) in self.passes.iter_mut().enumerate() {
            let own = direction * state..(direction + 1) * state;
            let end =
                |output: usize| by(output).map_or(vec![0.0; state], |g| g[own.clone()].to_vec());
            // `[step][sequence][unit]`
            let by_y: Option<Vec<f32>> = by(0).map(|y| {
                let at = |t: usize| (t * directions + direction) * state;
                (0..steps).flat_map(|t| &y[at(t)..at(t) + state]).copied().collect()
            });
            let weights = weights(inputs, direction, &sizes)?;
            let given =
                pass.backward(&self.x, &weights, by_y.as_deref(), (end(1), end(2)), wanted[0])?;
            let parts = [
                Some(given.x),
                Some(given.w),
                Some(given.r),
                Some(given.b),
                None,
                Some(given.h),
                Some(given.c),
                Some(given.p),
            ];
            for (input, part) in parts.into_iter().enumerate() {
                let (Some(part), Some(true)) = (part, wanted.get(input)) else { continue };
                match (&mut found[input], input) {
                    (Some(sum), 0) => sum.iter_mut().zip(&part).for_each(|(sum, x)| *sum += x),
                    (Some(all), _) => all.extend(part),
                    (none, _) => *none = Some(part),
                }
            }
        }
        Ok(found)
    }
}
