//! One direction of a recurrent layer: its steps, and the way back through them.

use amq_format::graph::{Activations, Cell};
use amq_runtime::Isa;
use rayon::prelude::*;

use super::super::layer::add_rows;
use super::cell;
use super::kept::{Pass, Sizes};
use crate::error::Result;
use crate::quant::BitCodes;
use crate::tune::coded::Vectors;
use crate::tune::product::{Matrix, add_product, product, turned};

/// The weights of a direction, as the operator has them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weights<'a> {
    pub(super) w: &'a [f32],
    pub(super) r: &'a [f32],
    pub(super) b: Option<&'a [f32]>,
    pub(super) p: Option<&'a [f32]>,
}

/// A matrix of codes, and the first row of a direction's.
pub(super) type CodedRows<'a> = Option<(&'a BitCodes, usize)>;

/// What a loss's gradient is by each input.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) x: Vec<f32>,
    pub(super) w: Vec<f32>,
    pub(super) r: Vec<f32>,
    pub(super) b: Vec<f32>,
    pub(super) h: Vec<f32>,
    pub(super) c: Vec<f32>,
    pub(super) p: Vec<f32>,
}

/// Rows of R, as each step multiplies by them.
struct Recurrence<'a> {
    hidden: usize,
    bias: &'a [f32],
    codes: CodedRows<'a>,
    /// Turned, where there are no codes.
    turned: Vec<f32>,
}

impl<'a> Recurrence<'a> {
    fn new(r: &[f32], hidden: usize, bias: &'a [f32], codes: CodedRows<'a>) -> Recurrence<'a> {
        let turned = if codes.is_some() { Vec::new() } else { turned(r, hidden) };
        Recurrence { hidden, bias, codes, turned }
    }

    /// Codes vectors in their place, and writes their products with the rows.
    ///
    /// # Errors
    /// What the runtime refuses.
    fn multiply(
        &self,
        isa: Isa,
        activations: Activations,
        x: &mut [f32],
        out: &mut [f32],
    ) -> Result<()> {
        let (hidden, rows) = (self.hidden, self.bias.len());
        match (Vectors::code(isa, activations, hidden, x)?, self.codes) {
            (Some(x), Some((codes, first))) => {
                x.multiply(codes, first..first + rows, Some(self.bias), out);
            }
            _ => {
                out.chunks_exact_mut(rows.max(1)).for_each(|to| to.copy_from_slice(self.bias));
                add_product(Matrix::new(x, hidden), Matrix::new(&self.turned, rows), out);
            }
        }
        Ok(())
    }
}

impl Pass {
    /// Steps in the order in which they are taken.
    fn order(&self) -> Vec<usize> {
        let steps = self.sizes.steps;
        (0..steps).map(|t| if self.reverse { steps - 1 - t } else { t }).collect()
    }

    /// Sequences that have a step.
    fn active(&self, t: usize) -> Vec<usize> {
        (0..self.sizes.batch).filter(|&n| t < self.lengths[n]).collect()
    }

    /// Runs the steps from the states `h` and `c`; gives those after the last. `write` is told h after each step of
    /// each sequence. `x` comes with its codes, if it has some, and so do W and R.
    pub(super) fn forward(
        &mut self,
        (x, coded_x): (&[f32], Option<&Vectors>),
        weights: &Weights<'_>,
        [coded_w, coded_r]: [CodedRows<'_>; 2],
        (mut h, mut c): (Vec<f32>, Vec<f32>),
        write: &mut dyn FnMut(usize, usize, &[f32]),
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        let Sizes { batch, input, hidden, gates, .. } = self.sizes;
        let (rows, state) = (gates * hidden, batch * hidden);
        let by_h = if self.resets_before { 2 * hidden } else { rows };
        let w_bias = weights.b.map(|b| &b[..rows]);
        match (coded_x, coded_w) {
            (Some(x), Some((w, first))) => {
                x.multiply(w, first..first + rows, w_bias, &mut self.sums);
            }
            _ => {
                let (x, w) = (Matrix::new(x, input), Matrix::new(weights.w, input));
                self.sums = product(x, w.t());
                let sums = self.sums.par_chunks_exact_mut(rows);
                if let Some(b) = w_bias {
                    sums.for_each(|sums| sums.iter_mut().zip(b).for_each(|(sum, b)| *sum += b));
                }
            }
        }
        let bias = weights.b.map_or(vec![0.0; rows], |b| b[rows..].to_vec());
        let (r, r_candidate) = weights.r.split_at(by_h * hidden);
        let of_rows = |first: usize| coded_r.map(|(codes, start)| (codes, start + first));
        let r = Recurrence::new(r, hidden, &bias[..by_h], of_rows(0));
        let r_candidate = Recurrence::new(r_candidate, hidden, &bias[by_h..], of_rows(by_h));
        let mut products = vec![0.0; batch * rows];
        for t in self.order() {
            let at = t * state..(t + 1) * state;
            self.h[at.clone()].copy_from_slice(&h);
            if self.cell == Cell::Lstm {
                self.c[at.clone()].copy_from_slice(&c);
            }
            let coded = &mut self.coded_h[at.clone()];
            coded.copy_from_slice(&h);
            let mut products = &mut products[..batch * by_h];
            r.multiply(self.isa, self.activations, coded, products)?;
            let active = self.active(t);
            if self.resets_before {
                for &n in &active {
                    cell::reset(self, t * batch + n, &products[n * by_h..][..by_h]);
                }
                let coded = &mut self.coded_reset[at.clone()];
                for n in 0..batch {
                    let r = &self.gates[(t * batch + n) * rows + hidden..][..hidden];
                    for (i, r) in r.iter().enumerate() {
                        coded[n * hidden + i] = r * h[n * hidden + i];
                    }
                }
                products = &mut products[..batch * hidden];
                r_candidate.multiply(self.isa, self.activations, coded, products)?;
            }
            let width = products.len().checked_div(batch).unwrap_or(0);
            for &n in &active {
                let own = n * hidden..(n + 1) * hidden;
                let products = &products[n * width..][..width];
                let states = (&mut h[own.clone()], &mut c[own.clone()]);
                cell::step(self, t * batch + n, products, weights.p, states);
                write(t, n, &h[own]);
            }
        }
        Ok((h, c))
    }

    /// Gradients from those by the outputs of each step and by the last states.
    pub(super) fn backward(
        &mut self,
        x: &[f32],
        weights: &Weights<'_>,
        by_y: Option<&[f32]>,
        (mut h, mut c): (Vec<f32>, Vec<f32>),
        wants_x: bool,
    ) -> Result<Given> {
        let Sizes { steps, batch, input, hidden, gates } = self.sizes;
        let (rows, state) = (gates * hidden, batch * hidden);
        let by_h = if self.resets_before { 2 * hidden } else { rows };
        // By the sums, and by the products with R where a gate stands between them.
        let mut sums = vec![0.0; steps * batch * rows];
        let mut products = vec![0.0; steps * batch * by_h];
        let mut candidates = vec![0.0; if self.resets_before { steps * state } else { 0 }];
        let mut p = vec![0.0; 3 * hidden];
        for t in self.order().into_iter().rev() {
            let active = self.active(t);
            if let Some(by_y) = by_y {
                for &n in &active {
                    let y = &by_y[(t * batch + n) * hidden..][..hidden];
                    h[n * hidden..][..hidden].iter_mut().zip(y).for_each(|(h, y)| *h += y);
                }
            }
            for &n in &active {
                let (step, own) = (t * batch + n, n * hidden..(n + 1) * hidden);
                let states = (&mut h[own.clone()], &mut c[own]);
                let by_sums = &mut sums[step * rows..][..rows];
                cell::back(self, step, weights.p, states, by_sums, &mut p);
            }
            if self.resets_before {
                let own = &mut candidates[t * state..][..state];
                for &n in &active {
                    let by = &sums[(t * batch + n) * rows + 2 * hidden..][..hidden];
                    own[n * hidden..][..hidden].copy_from_slice(by);
                }
                let r = Matrix::new(&weights.r[by_h * hidden..], hidden);
                let by_reset = product(Matrix::new(own, hidden), r);
                for &n in &active {
                    let (step, own) = (t * batch + n, n * hidden..(n + 1) * hidden);
                    let by_sums = &mut sums[step * rows..][..rows];
                    cell::back_reset(self, step, &by_reset[own.clone()], &mut h[own], by_sums);
                }
            }
            for &n in &active {
                let step = t * batch + n;
                let to = &mut products[step * by_h..][..by_h];
                to.copy_from_slice(&sums[step * rows..][..by_h]);
                if self.cell == Cell::Gru && !self.resets_before {
                    let r = &self.gates[step * rows + hidden..][..hidden];
                    to[2 * hidden..].iter_mut().zip(r).for_each(|(to, r)| *to *= r);
                }
            }
            let own = &products[t * batch * by_h..][..batch * by_h];
            add_product(
                Matrix::new(own, by_h),
                Matrix::new(&weights.r[..by_h * hidden], hidden),
                &mut h,
            );
        }
        let by_sums = Matrix::new(&sums, rows);
        let mut r = product(Matrix::new(&products, by_h).t(), Matrix::new(&self.coded_h, hidden));
        let mut b = vec![0.0; 2 * rows];
        let (w_bias, r_bias) = b.split_at_mut(rows);
        add_rows(&sums, w_bias);
        add_rows(&products, &mut r_bias[..by_h]);
        if self.resets_before {
            let by_r = Matrix::new(&candidates, hidden).t();
            r.extend(product(by_r, Matrix::new(&self.coded_reset, hidden)));
            add_rows(&candidates, &mut r_bias[by_h..]);
        }
        Ok(Given {
            x: match wants_x {
                true => product(by_sums, Matrix::new(weights.w, input)),
                false => Vec::new(),
            },
            w: product(by_sums.t(), Matrix::new(x, input)),
            r,
            b,
            h,
            c,
            p,
        })
    }
}
