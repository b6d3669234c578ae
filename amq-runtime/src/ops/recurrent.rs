//! LSTM, GRU and RNN layers.
//!
//! A [`Layer`] is built once from [`graph::Recurrent`](Recurrent) and its constants, and
//! [`Layer::forward`] runs it over a batch of sequences. With `.` for the product of elements, step t
//! of a sequence computes
//!
//! ```text
//! RNN   h = f((W x_t + Wb) + (R h + Rb))
//!
//! GRU   z = f((Wz x_t + Wbz) + (Rz h + Rbz))
//!       r = f((Wr x_t + Wbr) + (Rr h + Rbr))
//!       n = g((Wh x_t + Wbh) + (Rh (r . h) + Rbh))        linear_before_reset = 0
//!       n = g((Wh x_t + Wbh) + r . (Rh h + Rbh))          linear_before_reset = 1
//!       h = (1 - z) . n + z . h
//!
//! LSTM  i = f(((Wi x_t + Wbi) + (Ri h + Rbi)) + Pi . c)
//!       f = f(((Wf x_t + Wbf) + (Rf h + Rbf)) + Pf . c)    or 1 - i with input_forget
//!       n = g((Wc x_t + Wbc) + (Rc h + Rbc))
//!       c = f . c + i . n
//!       o = f(((Wo x_t + Wbo) + (Ro h + Rbo)) + Po . c)    with the new c
//!       h = o . h(c)
//! ```
//!
//! in f32 with the roundings that the parentheses say. `clip` bounds the arguments of f and g, not
//! that of h. Each vector enters its product alone, so neither the batch nor the way in which a
//! sequence is cut into calls changes a bit.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use amq_format::graph::{Cell, Direction, Recurrent, Unary};

use crate::kernels::gates::Canonical;
use crate::kernels::{Order, Target};
use crate::probe::{Part, Tap};
use crate::product::{Hands, Matrix, PackError, Scratch};

mod cell;
mod pass;

pub(crate) use pass::{LayerError, Weights, Which, part};
use pass::{Pass, expect, product};

/// Vectors that are multiplied with W together, at most, for each thread: steps of a few sequences, or one step of a group of
/// many, whose gates then stay in the second cache between the products and the cell.
const VECTORS: usize = 64;

/// Gives a packed matrix: which, of which direction, and its rows.
pub(crate) type Pack<'a> =
    dyn FnMut(Which, usize, Range<usize>) -> Result<Arc<Matrix>, PackError> + 'a;

/// What a call reads. Absent states are zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inputs<'a> {
    /// `[steps][batch][input]`
    pub(crate) x: &'a [f32],
    pub(crate) steps: usize,
    pub(crate) batch: usize,
    /// Steps of each sequence, `[batch]`; all of them if absent. What x holds beyond is not used.
    pub(crate) lengths: Option<&'a [i32]>,
    /// `[direction][batch][hidden]`
    pub(crate) h: Option<&'a [f32]>,
    /// LSTM: `[direction][batch][hidden]`
    pub(crate) c: Option<&'a [f32]>,
}

/// What a call writes, as far as it is wanted. NaNs are canonical.
#[derive(Debug, Default)]
pub(crate) struct Outputs<'a> {
    /// h of every step, `[steps][direction][batch][hidden]`; zero beyond a sequence's length.
    pub(crate) y: Option<&'a mut [f32]>,
    /// h after each sequence's last step, `[direction][batch][hidden]`.
    pub(crate) h: Option<&'a mut [f32]>,
    /// LSTM: c after each sequence's last step, `[direction][batch][hidden]`.
    pub(crate) c: Option<&'a mut [f32]>,
}

/// A recurrent layer, its weights packed.
#[derive(Debug)]
pub(crate) struct Layer {
    cell: Cell,
    direction: Direction,
    hidden: usize,
    input: usize,
    clip: Option<f32>,
    input_forget: bool,
    linear_before_reset: bool,
    target: Target,
    passes: Vec<Pass>,
}

/// What products work with.
pub(crate) struct Tools<'a> {
    pub(crate) hands: Hands<'a>,
    pub(crate) tap: Tap<'a>,
}

impl Tools<'_> {
    /// Multiplies vectors, of which those are shown that are `seen`.
    fn multiply(
        &mut self,
        (matrix, part, first_row): (&Matrix, Part, usize),
        x: &[f32],
        out: &mut [f32],
        seen: impl Fn(usize) -> bool,
    ) {
        let [columns, rows] = [matrix.cols(), matrix.rows()];
        matrix.share(x, out.len() / rows.max(1), None, out, &mut self.hands);
        self.tap.product(part, first_row, [columns, rows], x, out, seen);
    }
}

/// Working memory of one direction.
struct Work<'a> {
    /// W x, then gates: `[steps of a chunk][batch][gates * hidden]`
    gates: &'a mut [f32],
    /// R h, of all rows of `r`, each `[batch][rows]`
    products: &'a mut [f32],
    /// GRU with linear_before_reset = 0: r . h and its product, `[batch][hidden]`
    reset: &'a mut [f32],
    reset_products: &'a mut [f32],
    /// `[batch][hidden]`
    h: &'a mut [f32],
    /// LSTM: `[batch][hidden]`
    c: &'a mut [f32],
}

impl Work<'_> {
    /// What a group of sequences works in: its own states, and the first of everything else.
    fn of(&mut self, group: &Range<usize>, hidden: usize) -> Work<'_> {
        let Work { gates, products, reset, reset_products, h, c } = self;
        let count = group.len() * hidden;
        let own = group.start * hidden..group.end * hidden;
        Work {
            gates,
            products,
            reset: first(reset, count),
            reset_products: first(reset_products, count),
            h: &mut h[own.clone()],
            c: if c.is_empty() { c } else { &mut c[own] },
        }
    }
}

/// A direction's part of an output, where that is wanted: its states then need not be copied there. Else working
/// memory.
fn wanted<'a>(
    output: &'a mut Option<&mut [f32]>,
    own: &Range<usize>,
    working: &'a mut [f32],
) -> &'a mut [f32] {
    match output {
        Some(output) => &mut output[own.clone()],
        None => working,
    }
}

/// The first of some numbers, if there are any.
fn first(all: &mut [f32], count: usize) -> &mut [f32] {
    let count = count.min(all.len());
    &mut all[..count]
}

impl Layer {
    /// A layer whose matrices `pack` gives: rows of one of the two, of the direction that `weights` has as many entries
    /// for.
    pub(crate) fn new(
        recurrent: &Recurrent,
        weights: &[Weights<'_>],
        target: Target,
        pack: &mut Pack<'_>,
    ) -> Result<Layer, LayerError> {
        let (cell, direction) = (recurrent.cell(), recurrent.direction());
        let hidden = usize::try_from(recurrent.hidden_size).map_err(|_| LayerError::TooLarge)?;
        let rows = product(&[cell.gates(), hidden])?;
        product(&[2, rows])?;
        if hidden == 0 {
            return Err(LayerError::Size { part: "hidden_size", expected: 1, found: 0 });
        }
        expect("directions of the weights", direction.count(), weights.len())?;
        let count = match cell {
            Cell::Lstm => 3,
            Cell::Gru => 2,
            Cell::Rnn => 1,
        };
        expect("functions", count * direction.count(), recurrent.functions.len())?;
        let input = weights.first().map_or(0, |weights| weights.w.shape().1);
        let mut passes = Vec::with_capacity(weights.len());
        let chosen = recurrent.functions.chunks_exact(count);
        for (direction, (weights, chosen)) in weights.iter().zip(chosen).enumerate() {
            let mut functions = [Unary::default(); 3];
            functions[..count].copy_from_slice(chosen);
            let mut pack = |which, range| pack(which, direction, range);
            passes.push(Pass::new(recurrent, weights, functions, rows, input, &mut pack)?);
        }
        Ok(Layer {
            cell,
            direction,
            hidden,
            input,
            clip: recurrent.clip,
            input_forget: recurrent.input_forget,
            linear_before_reset: recurrent.linear_before_reset,
            target,
            passes,
        })
    }

    /// Sizes of the parts of the working memory, in the order of [`Work`].
    fn parts(&self, steps: usize, batch: usize) -> Result<[usize; 6], LayerError> {
        let rows = self.cell.gates() * self.hidden;
        let state = product(&[batch, self.hidden])?;
        let reset = if self.resets_before() { state } else { 0 };
        Ok([
            product(&[chunk(batch).min(steps), batch, rows])?,
            product(&[batch, rows])? - reset,
            reset,
            reset,
            state,
            if self.cell == Cell::Lstm { state } else { 0 },
        ])
    }

    fn resets_before(&self) -> bool {
        self.cell == Cell::Gru && !self.linear_before_reset
    }

    /// Numbers that [`Layer::forward`] needs as working memory.
    pub(crate) fn work_len(&self, steps: usize, batch: usize) -> Result<usize, LayerError> {
        self.parts(steps, batch)?
            .into_iter()
            .try_fold(0usize, |all, part| all.checked_add(part))
            .ok_or(LayerError::TooLarge)
    }

    /// Grows the scratch so that [`Layer::forward`] allocates nothing.
    pub(crate) fn reserve(&self, steps: usize, batch: usize, scratch: &mut Scratch) {
        for pass in &self.passes {
            pass.w.reserve(chunk(batch).min(steps).saturating_mul(batch), scratch);
            for r in [Some(&pass.r), pass.r_reset.as_ref()].into_iter().flatten() {
                r.reserve(batch, scratch);
            }
        }
    }

    /// Runs the layer. `work` holds at least [`Layer::work_len`] numbers, whatever their values.
    pub(crate) fn forward(
        &self,
        inputs: &Inputs<'_>,
        mut outputs: Outputs<'_>,
        work: &mut [f32],
        tools: &mut Tools<'_>,
    ) -> Result<(), LayerError> {
        let Inputs { steps, batch, .. } = *inputs;
        let directions = self.passes.len();
        let state = product(&[batch, self.hidden])?;
        let states = product(&[directions, state])?;
        self.check(inputs, &outputs, states)?;
        let parts = self.parts(steps, batch)?;
        let needed = self.work_len(steps, batch)?;
        let found = work.len();
        let mut rest = work.get_mut(..needed).ok_or(LayerError::Size {
            part: "working memory",
            expected: needed,
            found,
        })?;
        let [gates, products, reset, reset_products, h, c] = parts.map(|len| {
            let (part, tail) = core::mem::take(&mut rest).split_at_mut(len);
            rest = tail;
            part
        });
        // Stale numbers would be multiplied, though not used, for sequences of length 0.
        reset.fill(0.0);

        for index in 0..directions {
            let own = index * state..(index + 1) * state;
            let mut work = Work {
                gates: &mut *gates,
                products: &mut *products,
                reset: &mut *reset,
                reset_products: &mut *reset_products,
                h: wanted(&mut outputs.h, &own, h),
                c: wanted(&mut outputs.c, &own, c),
            };
            let reverse = match self.direction {
                Direction::Forward => false,
                Direction::Reverse => true,
                Direction::Bidirectional => index == 1,
            };
            let mut y = outputs.y.as_deref_mut();
            let together = VECTORS * (tools.hands.helpers.len() + 1);
            for start in (0..batch).step_by(together) {
                let group = start..batch.min(start + together);
                let work = &mut work.of(&group, self.hidden);
                let states = own.start + group.start * self.hidden;
                for (to, from) in [(&mut *work.h, inputs.h), (&mut *work.c, inputs.c)] {
                    match from {
                        Some(from) => to.copy_from_slice(&from[states..][..to.len()]),
                        None => to.fill(0.0),
                    }
                    // Without a step they are what is given.
                    if steps == 0 || inputs.lengths.is_some() {
                        self.target.at_places(to, [], Canonical);
                    }
                }
                self.run(index, reverse, inputs, group.clone(), work, tools, |t, h| {
                    let Some(y) = &mut y else { return };
                    let at = (t * directions + index) * state + group.start * self.hidden;
                    let y = &mut y[at..at + h.len()];
                    y.copy_from_slice(h);
                    for (n, y) in group.clone().zip(y.chunks_exact_mut(self.hidden)) {
                        if t >= inputs.length(n) {
                            y.fill(0.0);
                        }
                    }
                });
            }
        }
        Ok(())
    }

    fn check(
        &self,
        inputs: &Inputs<'_>,
        outputs: &Outputs<'_>,
        states: usize,
    ) -> Result<(), LayerError> {
        let Inputs { steps, batch, .. } = *inputs;
        expect("X", product(&[steps, batch, self.input])?, inputs.x.len())?;
        if self.cell != Cell::Lstm && (inputs.c.is_some() || outputs.c.is_some()) {
            return Err(LayerError::Extra("the cell state"));
        }
        for (part, found) in [
            ("initial_h", inputs.h.map(<[f32]>::len)),
            ("initial_c", inputs.c.map(<[f32]>::len)),
            ("Y_h", outputs.h.as_ref().map(|y| y.len())),
            ("Y_c", outputs.c.as_ref().map(|y| y.len())),
        ] {
            expect(part, states, found.unwrap_or(states))?;
        }
        if let Some(y) = &outputs.y {
            expect("Y", product(&[steps, states])?, y.len())?;
        }
        if let Some(lengths) = inputs.lengths {
            expect("sequence_lens", batch, lengths.len())?;
            for (sequence, &length) in lengths.iter().enumerate() {
                if usize::try_from(length).is_ok_and(|length| length <= steps) {
                    continue;
                }
                return Err(LayerError::SequenceLength { sequence, length, steps });
            }
        }
        Ok(())
    }

    /// Runs a direction of a group of sequences from the states in `work`, which hold the last states after it. Gives
    /// `write` each step and the states after it.
    #[expect(clippy::too_many_arguments, reason = "what a run is, and what it works with")]
    fn run(
        &self,
        direction: usize,
        reverse: bool,
        inputs: &Inputs<'_>,
        group: Range<usize>,
        work: &mut Work<'_>,
        tools: &mut Tools<'_>,
        mut write: impl FnMut(usize, &[f32]),
    ) {
        let Inputs { steps, batch, .. } = *inputs;
        let pass = &self.passes[direction];
        let (w, r) = (Part::Input { direction }, Part::Recurrent { direction });
        let (from, sequences) = (group.start, group.len());
        let active = |t: usize| move |n: usize| t < inputs.length(from + n);
        let order = tools.hands.scratch.order;
        // Read backwards, a sequence also begins where t < length first holds.
        let longest = group.map(|n| inputs.length(n)).max().unwrap_or(0);
        for t in longest..steps {
            write(t, work.h);
        }
        // Steps of some sequences of a batch do not lie together.
        let chunk = if sequences == batch { chunk(batch) } else { 1 };
        let chunks = longest.div_ceil(chunk);
        let slot = sequences * self.cell.gates() * self.hidden;
        let products = sequences * pass.r.rows();
        for index in 0..chunks {
            let first = chunk * if reverse { chunks - 1 - index } else { index };
            let count = chunk.min(longest - first);
            let x = &inputs.x[(first * batch + from) * self.input..];
            let x = &x[..count * sequences * self.input];
            let gates = &mut work.gates[..count * slot];
            // Backwards, a call of one step starts with R, as it starts with the last rows.
            let r_first = steps == 1 && order == Order::Backward;
            if r_first {
                let products = &mut work.products[..products];
                tools.multiply((&pass.r, r, 0), work.h, products, active(first));
            }
            let seen = |vector| active(first + vector / sequences)(vector % sequences);
            tools.multiply((&pass.w, w, 0), x, gates, seen);
            for step in 0..count {
                let step = if reverse { count - 1 - step } else { step };
                let t = first + step;
                if !r_first {
                    let products = &mut work.products[..products];
                    tools.multiply((&pass.r, r, 0), work.h, products, active(t));
                }
                self.step(direction, step * slot, active(t), work, tools);
                write(t, work.h);
                tools.hands.scratch.order = tools.hands.scratch.order.reversed();
            }
        }
        tools.hands.scratch.order = order;
    }
}

/// Steps whose products with W are computed together.
fn chunk(batch: usize) -> usize {
    (VECTORS / batch.max(1)).max(1)
}

impl Inputs<'_> {
    /// Steps of a sequence; they were checked.
    fn length(&self, sequence: usize) -> usize {
        self.lengths.map_or(self.steps, |lengths| lengths[sequence].unsigned_abs() as usize)
    }
}

#[cfg(test)]
mod tests;
