//! One step of a layer, from its products: sums, gates and the states after it.

use amq_format::graph::{Cell, Unary, UnaryFunction};

use super::pass::Pass;
use super::{Layer, Tools, Work};
use crate::kernels::gates::{self, Blend, BlendTanh, CandidateSum, Canonical, NextCell, Terms};
use crate::kernels::math;
use crate::kernels::number::{Number, by_place};
use crate::probe::Part;

impl Layer {
    /// One step, from the products with W, which start at `at`, and those with R, of those sequences
    /// that are active.
    pub(super) fn step(
        &self,
        direction: usize,
        at: usize,
        active: impl Fn(usize) -> bool,
        work: &mut Work<'_>,
        tools: &mut Tools<'_>,
    ) {
        let (pass, hidden) = (&self.passes[direction], self.hidden);
        let (width, rows) = (pass.w.rows(), pass.r.rows());
        let batch = work.h.len() / hidden;
        if let Some(r_reset) = pass.r_reset.as_deref() {
            for n in (0..batch).filter(|n| active(*n)) {
                let gates = &mut work.gates[at + n * width..][..rows];
                let products = &work.products[n * rows..][..rows];
                self.gate(&pass.functions[0], gates, &pass.terms(products, 0));
                let own = n * hidden..(n + 1) * hidden;
                let (r, h) = (&gates[hidden..], &work.h[own.clone()]);
                self.combine(&mut work.reset[own], [r, h], |_, [r, h]| r * h);
            }
            let part = (r_reset, Part::Recurrent { direction }, 2 * hidden);
            tools.multiply(part, work.reset, work.reset_products, &active);
        }
        for n in (0..batch).filter(|n| active(*n)) {
            let gates = &mut work.gates[at + n * width..][..width];
            let products = &work.products[n * rows..][..rows];
            let own = n * hidden..(n + 1) * hidden;
            let h = &mut work.h[own.clone()];
            match self.cell {
                Cell::Rnn => {
                    self.gate(&pass.functions[0], gates, &pass.terms(products, 0));
                    h.copy_from_slice(gates);
                    self.target.at_places(h, [], Canonical);
                }
                Cell::Gru => {
                    let (zr, candidate) = gates.split_at_mut(2 * hidden);
                    let [f, g, _] = &pass.functions;
                    if pass.r_reset.is_some() {
                        let terms = pass.terms(&work.reset_products[own], 2 * hidden);
                        self.gate(g, candidate, &terms);
                    } else {
                        let (zr_products, products) = products.split_at(2 * hidden);
                        self.gate(f, zr, &pass.terms(zr_products, 0));
                        let terms = pass.terms(products, 2 * hidden);
                        let (z, r) = zr.split_at(hidden);
                        if g.function() == UnaryFunction::Tanh && self.clip.is_none() {
                            let Terms { x_bias, h: r_h, h_bias } = terms;
                            let inputs = [z, candidate, x_bias, r, r_h, h_bias];
                            self.target.at_places(h, inputs, BlendTanh);
                            continue;
                        }
                        let inputs = [terms.x_bias, r, terms.h, terms.h_bias];
                        self.target.at_places(candidate, inputs, CandidateSum);
                        self.function(g, candidate);
                    }
                    self.target.at_places(h, [&zr[..hidden], candidate], Blend);
                }
                Cell::Lstm => {
                    self.lstm(pass, gates, &pass.terms(products, 0), &mut work.c[own], h);
                }
            }
        }
    }

    /// An LSTM cell, from the terms of its gates in order i, o, f, c.
    fn lstm(
        &self,
        pass: &Pass,
        gates: &mut [f32],
        terms: &Terms<'_>,
        c: &mut [f32],
        h: &mut [f32],
    ) {
        let hidden = self.hidden;
        let [f, g, of_c] = &pass.functions;
        let (i, rest) = gates.split_at_mut(hidden);
        let (o, rest) = rest.split_at_mut(hidden);
        let (forget, candidate) = rest.split_at_mut(hidden);
        let gate = |gate: &mut [f32], index: usize, c: &[f32]| {
            let terms = terms.from(index * hidden);
            match &pass.peepholes {
                None => self.gate(f, gate, &terms),
                Some(peepholes) => {
                    terms.sum(self.target, gate);
                    let weights = &peepholes[index * hidden..][..hidden];
                    self.combine(gate, [weights, c], |sum, [weight, c]| sum + weight * c);
                    self.function(f, gate);
                }
            }
        };
        gate(i, 0, c);
        if self.input_forget {
            self.combine(forget, [i], |_, [i]| 1.0 - i);
        } else {
            gate(forget, 2, c);
        }
        self.gate(g, candidate, &terms.from(3 * hidden));
        self.target.at_places(c, [forget, i, candidate], NextCell);
        gate(o, 1, c);
        gates::gated(self.target, of_c, c, o, h);
    }

    /// A gate: a function of the sums of its terms, bounded where the layer bounds them.
    fn gate(&self, function: &Unary, x: &mut [f32], terms: &Terms<'_>) {
        if self.clip.is_some() {
            terms.sum(self.target, x);
            self.function(function, x);
        } else {
            terms.gate(self.target, function, x);
        }
    }

    /// A gate's function of its sums.
    fn function(&self, function: &Unary, sums: &mut [f32]) {
        if let Some(bound) = self.clip {
            self.combine(sums, [], |sum, []| sum.at_most(bound).at_least(-bound));
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
            || by_place(out, inputs, function),
        );
    }
}
