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

use alloc::vec::Vec;
use core::fmt;

use amq_format::graph::{Cell, Direction, Recurrent, Unary};

use crate::kernels::{Order, Target, math};
use crate::product::{Matrix, MatrixSource, PackError, Scratch};

/// Vectors of the sequence that are multiplied with W together, at most, unless the batch has more.
const VECTORS: usize = 64;

/// Weights of one direction, as a file holds them.
#[derive(Clone, Debug)]
pub(crate) struct Weights {
    /// `[gates * hidden][input]`
    pub(crate) w: MatrixSource,
    /// `[gates * hidden][hidden]`
    pub(crate) r: MatrixSource,
    /// Those of W, then those of R: `[2 * gates * hidden]`.
    pub(crate) biases: Option<Vec<f32>>,
    /// LSTM: of i, o, f: `[3 * hidden]`.
    pub(crate) peepholes: Option<Vec<f32>>,
}

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

/// What a call writes, as far as it is wanted.
#[derive(Debug, Default)]
pub(crate) struct Outputs<'a> {
    /// h of every step, `[steps][direction][batch][hidden]`; zero beyond a sequence's length.
    pub(crate) y: Option<&'a mut [f32]>,
    /// h after each sequence's last step, `[direction][batch][hidden]`.
    pub(crate) h: Option<&'a mut [f32]>,
    /// LSTM: c after each sequence's last step, `[direction][batch][hidden]`.
    pub(crate) c: Option<&'a mut [f32]>,
}

/// Why a layer cannot be built or run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LayerError {
    /// A matrix cannot be packed.
    Pack(PackError),
    /// A part has not the size that the layer's shape asks for.
    Size { part: &'static str, expected: usize, found: usize },
    /// A part that this kind of cell does not have.
    Extra(&'static str),
    /// A sequence's length is negative or above the number of steps.
    SequenceLength { sequence: usize, length: i32, steps: usize },
    /// Sizes whose product is no number of elements.
    TooLarge,
}

impl fmt::Display for LayerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayerError::Pack(error) => error.fmt(f),
            LayerError::Size { part, expected, found } => {
                write!(f, "{part}: {found} where the layer's shape asks for {expected}")
            }
            LayerError::Extra(part) => write!(f, "{part}: this kind of cell has none"),
            LayerError::SequenceLength { sequence, length, steps } => write!(
                f,
                "sequence_lens[{sequence}] is {length}, and must lie within 0 to {steps}, \
                 the number of steps"
            ),
            LayerError::TooLarge => f.write_str("sizes overflow"),
        }
    }
}

impl From<PackError> for LayerError {
    fn from(error: PackError) -> LayerError {
        LayerError::Pack(error)
    }
}

fn expect(part: &'static str, expected: usize, found: usize) -> Result<(), LayerError> {
    if expected == found { Ok(()) } else { Err(LayerError::Size { part, expected, found }) }
}

fn product(sizes: &[usize]) -> Result<usize, LayerError> {
    sizes.iter().try_fold(1usize, |all, size| all.checked_mul(*size)).ok_or(LayerError::TooLarge)
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

/// One direction.
#[derive(Debug)]
struct Pass {
    w: Matrix,
    /// Of all gates that read h as it is.
    r: Matrix,
    /// GRU with linear_before_reset = 0: of the gate that reads `r . h`.
    r_reset: Option<Matrix>,
    w_bias: Vec<f32>,
    r_bias: Vec<f32>,
    peepholes: Option<Vec<f32>>,
    /// As many as the cell has.
    functions: [Unary; 3],
}

/// Working memory of one direction.
struct Work<'a> {
    /// W x, then sums and gates: `[steps of a chunk][batch][gates * hidden]`
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

impl Layer {
    /// Packs a layer; `weights` has one entry for each direction.
    pub(crate) fn new(
        recurrent: &Recurrent,
        weights: &[Weights],
        target: Target,
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
        for (weights, chosen) in weights.iter().zip(recurrent.functions.chunks_exact(count)) {
            let mut functions = [Unary::default(); 3];
            functions[..count].copy_from_slice(chosen);
            passes.push(Pass::new(recurrent, weights, functions, rows, input, target)?);
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
        scratch: &mut Scratch,
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
        let mut work = Work { gates, products, reset, reset_products, h, c };

        for (index, pass) in self.passes.iter().enumerate() {
            let own = index * state..(index + 1) * state;
            for (to, from) in [(&mut *work.h, inputs.h), (&mut *work.c, inputs.c)] {
                match from {
                    Some(from) => to.copy_from_slice(&from[own.clone()]),
                    None => to.fill(0.0),
                }
            }
            let reverse = match self.direction {
                Direction::Forward => false,
                Direction::Reverse => true,
                Direction::Bidirectional => index == 1,
            };
            let mut y = outputs.y.as_deref_mut();
            self.run(pass, reverse, inputs, &mut work, scratch, |t, h| {
                if let Some(y) = &mut y {
                    let at = (t * directions + index) * state;
                    for (n, y) in y[at..at + state].chunks_exact_mut(self.hidden).enumerate() {
                        if t < inputs.length(n) {
                            y.copy_from_slice(&h[n * self.hidden..][..self.hidden]);
                        } else {
                            y.fill(0.0);
                        }
                    }
                }
            });
            if let Some(to) = &mut outputs.h {
                to[own.clone()].copy_from_slice(work.h);
            }
            if let Some(to) = &mut outputs.c {
                to[own].copy_from_slice(work.c);
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

    /// Runs one direction from the states in `work`, which hold the last states after it. Gives
    /// `write` each step and the states after it.
    fn run(
        &self,
        pass: &Pass,
        reverse: bool,
        inputs: &Inputs<'_>,
        work: &mut Work<'_>,
        scratch: &mut Scratch,
        mut write: impl FnMut(usize, &[f32]),
    ) {
        let Inputs { steps, batch, .. } = *inputs;
        let order = scratch.order;
        // Read backwards, a sequence also begins where t < length first holds.
        let longest = (0..batch).map(|n| inputs.length(n)).max().unwrap_or(0);
        for t in longest..steps {
            write(t, work.h);
        }
        let chunk = chunk(batch);
        let chunks = longest.div_ceil(chunk);
        let slot = batch * self.cell.gates() * self.hidden;
        for index in 0..chunks {
            let first = chunk * if reverse { chunks - 1 - index } else { index };
            let count = chunk.min(longest - first);
            let x = &inputs.x[first * batch * self.input..][..count * batch * self.input];
            let gates = &mut work.gates[..count * slot];
            // Backwards, a call of one step starts with R, as it starts with the last rows.
            let r_first = steps == 1 && order == Order::Backward;
            if r_first {
                pass.r.multiply(work.h, batch, work.products, scratch);
            }
            pass.w.multiply(x, count * batch, gates, scratch);
            for gates in gates.chunks_exact_mut(pass.w_bias.len()) {
                self.combine(gates, [&pass.w_bias], |sum, [bias]| sum + bias);
            }
            for step in 0..count {
                let step = if reverse { count - 1 - step } else { step };
                let t = first + step;
                if !r_first {
                    pass.r.multiply(work.h, batch, work.products, scratch);
                }
                self.step(pass, step * slot, |n| t < inputs.length(n), work, scratch);
                write(t, work.h);
                scratch.order = scratch.order.reversed();
            }
        }
        scratch.order = order;
    }

    /// One step, from the products with R, of those sequences that are active, whose gates start
    /// at `at`.
    fn step(
        &self,
        pass: &Pass,
        at: usize,
        active: impl Fn(usize) -> bool,
        work: &mut Work<'_>,
        scratch: &mut Scratch,
    ) {
        let hidden = self.hidden;
        let (width, rows) = (pass.w.rows(), pass.r.rows());
        let batch = work.h.len() / hidden;
        if let Some(r_reset) = &pass.r_reset {
            for n in (0..batch).filter(|n| active(*n)) {
                let gates = &mut work.gates[at + n * width..][..rows];
                self.sum(gates, &work.products[n * rows..][..rows], &pass.r_bias[..rows]);
                self.gate(&pass.functions[0], gates);
                let own = n * hidden..(n + 1) * hidden;
                let (r, h) = (&gates[hidden..], &work.h[own.clone()]);
                self.combine(&mut work.reset[own], [r, h], |_, [r, h]| r * h);
            }
            r_reset.multiply(work.reset, batch, work.reset_products, scratch);
        }
        for n in (0..batch).filter(|n| active(*n)) {
            let gates = &mut work.gates[at + n * width..][..width];
            let products = &mut work.products[n * rows..][..rows];
            let own = n * hidden..(n + 1) * hidden;
            let h = &mut work.h[own.clone()];
            match self.cell {
                Cell::Rnn => {
                    self.sum(gates, products, &pass.r_bias);
                    self.gate(&pass.functions[0], gates);
                    h.copy_from_slice(gates);
                }
                Cell::Gru => {
                    let (zr, candidate) = gates.split_at_mut(2 * hidden);
                    let (zr_bias, bias) = pass.r_bias.split_at(2 * hidden);
                    if pass.r_reset.is_some() {
                        self.sum(candidate, &work.reset_products[own], bias);
                    } else {
                        let (zr_products, products) = products.split_at(2 * hidden);
                        self.sum(zr, zr_products, zr_bias);
                        self.gate(&pass.functions[0], zr);
                        let r = &zr[hidden..];
                        self.combine(candidate, [r, products, bias], |sum, [r, product, bias]| {
                            sum + r * (product + bias)
                        });
                    }
                    self.gate(&pass.functions[1], candidate);
                    self.combine(h, [&zr[..hidden], candidate], |h, [z, candidate]| {
                        (1.0 - z) * candidate + z * h
                    });
                }
                Cell::Lstm => {
                    self.sum(gates, products, &pass.r_bias);
                    self.lstm(pass, gates, &mut work.c[own], h);
                }
            }
        }
    }

    /// An LSTM cell, from the sums of its gates in order i, o, f, c.
    fn lstm(&self, pass: &Pass, gates: &mut [f32], c: &mut [f32], h: &mut [f32]) {
        let hidden = self.hidden;
        let [f, g, of_c] = &pass.functions;
        let (i, rest) = gates.split_at_mut(hidden);
        let (o, rest) = rest.split_at_mut(hidden);
        let (forget, candidate) = rest.split_at_mut(hidden);
        let peephole = |gate: &mut [f32], index: usize, c: &[f32]| {
            if let Some(peepholes) = &pass.peepholes {
                let weights = &peepholes[index * hidden..][..hidden];
                self.combine(gate, [weights, c], |sum, [weight, c]| sum + weight * c);
            }
        };
        peephole(i, 0, c);
        self.gate(f, i);
        if self.input_forget {
            self.combine(forget, [i], |_, [i]| 1.0 - i);
        } else {
            peephole(forget, 2, c);
            self.gate(f, forget);
        }
        self.gate(g, candidate);
        self.combine(c, [forget, i, candidate], |c, [forget, i, candidate]| {
            forget * c + i * candidate
        });
        peephole(o, 1, c);
        self.gate(f, o);
        math::unary(self.target, of_c, c, h);
        self.combine(h, [o], |h, [o]| o * h);
    }

    /// Adds `product + bias`.
    fn sum(&self, sums: &mut [f32], products: &[f32], bias: &[f32]) {
        self.combine(sums, [products, bias], |sum, [product, bias]| sum + (product + bias));
    }

    /// A gate's function of its sums.
    fn gate(&self, function: &Unary, sums: &mut [f32]) {
        if let Some(bound) = self.clip {
            self.combine(sums, [], |sum, []| math::at_least(math::at_most(sum, bound), -bound));
        }
        math::unary_in_place(self.target, function, sums);
    }

    /// Replaces each element by a function of itself and those at its place in the inputs.
    fn combine<const N: usize>(
        &self,
        out: &mut [f32],
        inputs: [&[f32]; N],
        function: impl Fn(f32, [f32; N]) -> f32,
    ) {
        self.target.vectorize(
            #[inline(always)]
            || {
                let len = out.len();
                let inputs = inputs.map(|input| &input[..len]);
                for (i, out) in out.iter_mut().enumerate() {
                    *out = function(*out, inputs.map(|input| input[i]));
                }
            },
        );
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

impl Pass {
    fn new(
        recurrent: &Recurrent,
        weights: &Weights,
        functions: [Unary; 3],
        rows: usize,
        input: usize,
        target: Target,
    ) -> Result<Pass, LayerError> {
        let (cell, activations) = (recurrent.cell(), recurrent.activations());
        let hidden = rows / cell.gates();
        for (parts, matrix, cols) in [
            (["rows of W", "columns of W"], &weights.w, input),
            (["rows of R", "columns of R"], &weights.r, hidden),
        ] {
            expect(parts[0], rows, matrix.shape().0)?;
            expect(parts[1], cols, matrix.shape().1)?;
        }
        let resets_before = cell == Cell::Gru && !recurrent.linear_before_reset;
        let at = if resets_before { 2 * hidden } else { rows };
        let pack = |range| Matrix::pack_rows(&weights.r, range, activations, target);
        let mut w_bias = match &weights.biases {
            Some(biases) => biases.clone(),
            None => alloc::vec![0.0; 2 * rows],
        };
        expect("B", 2 * rows, w_bias.len())?;
        let r_bias = w_bias.split_off(rows);
        if let Some(peepholes) = &weights.peepholes {
            if cell != Cell::Lstm {
                return Err(LayerError::Extra("P"));
            }
            expect("P", 3 * hidden, peepholes.len())?;
        }
        Ok(Pass {
            w: Matrix::pack(&weights.w, activations, target)?,
            r: pack(0..at)?,
            r_reset: if resets_before { Some(pack(at..rows)?) } else { None },
            w_bias,
            r_bias,
            peepholes: weights.peepholes.clone(),
            functions,
        })
    }
}

#[cfg(test)]
mod tests;
