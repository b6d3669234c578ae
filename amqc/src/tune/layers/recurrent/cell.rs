//! One step of one sequence: the gates from their products, and the way back.

use std::ops::Range;

use amq_format::graph::{Cell, Unary};
use amq_runtime::vectorize;

use super::kept::Pass;
use crate::tune::function::{apply, multiply_by_derivative};

impl Pass {
    /// A gate's place among those of a step.
    fn gate(&self, step: usize, gate: usize) -> Range<usize> {
        let hidden = self.sizes.hidden;
        let first = (step * self.sizes.gates + gate) * hidden;
        first..first + hidden
    }

    /// A state's place.
    fn state(&self, step: usize) -> Range<usize> {
        step * self.sizes.hidden..(step + 1) * self.sizes.hidden
    }

    /// A gate from its sums, which are there.
    fn close(&mut self, function: Unary, step: usize, gate: usize) {
        let at = self.gate(step, gate);
        if let Some(bound) = self.clip {
            self.sums[at.clone()].iter_mut().for_each(|sum| *sum = sum.clamp(-bound, bound));
        }
        self.gates[at.clone()].copy_from_slice(&self.sums[at.clone()]);
        apply(&function, &mut self.gates[at]);
    }

    /// Adds products to the sums of a gate.
    fn add(&mut self, step: usize, gate: usize, products: &[f32]) {
        let at = self.gate(step, gate);
        self.sums[at].iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
    }

    /// Turns gradients by a gate into those by its sums.
    fn open(&self, function: Unary, step: usize, gate: usize, by: &mut [f32]) {
        let at = self.gate(step, gate);
        let (x, y) = (&self.sums[at.clone()], &self.gates[at]);
        multiply_by_derivative(&function, (x, y), by);
        if let Some(bound) = self.clip {
            by.iter_mut().zip(x).filter(|(_, x)| x.abs() >= bound).for_each(|(by, _)| *by = 0.0);
        }
    }
}

/// `to = a b`, element by element.
fn multiply(to: &mut [f32], a: &[f32], b: &[f32]) {
    vectorize(
        #[inline(always)]
        || to.iter_mut().zip(a.iter().zip(b)).for_each(|(to, (a, b))| *to = a * b),
    );
}

/// `to += a b`, element by element.
fn multiply_add(to: &mut [f32], a: &[f32], b: &[f32]) {
    vectorize(
        #[inline(always)]
        || to.iter_mut().zip(a.iter().zip(b)).for_each(|(to, (a, b))| *to += a * b),
    );
}

/// GRU that resets before the product: the gates z and r.
pub(super) fn reset(pass: &mut Pass, step: usize, products: &[f32]) {
    let hidden = pass.sizes.hidden;
    let f = pass.functions[0];
    for (gate, products) in products.chunks_exact(hidden).enumerate() {
        pass.add(step, gate, products);
        pass.close(f, step, gate);
    }
}

/// The rest of a step; h and c become the states after it.
pub(super) fn step(
    pass: &mut Pass,
    step: usize,
    products: &[f32],
    p: Option<&[f32]>,
    (h, c): (&mut [f32], &mut [f32]),
) {
    let hidden = pass.sizes.hidden;
    let [f, g, of_c] = pass.functions;
    match pass.cell {
        Cell::Rnn => {
            pass.add(step, 0, products);
            pass.close(f, step, 0);
            h.copy_from_slice(&pass.gates[pass.gate(step, 0)]);
        }
        Cell::Gru => {
            if pass.resets_before {
                pass.add(step, 2, products);
            } else {
                reset(pass, step, &products[..2 * hidden]);
                let (own, r) = (pass.state(step), pass.gate(step, 1));
                pass.candidate[own.clone()].copy_from_slice(&products[2 * hidden..]);
                let at = pass.gate(step, 2);
                let terms = pass.gates[r].iter().zip(&pass.candidate[own]);
                pass.sums[at].iter_mut().zip(terms).for_each(|(sum, (r, x))| *sum += r * x);
            }
            pass.close(g, step, 2);
            let [z, candidate] = [0, 2].map(|gate| &pass.gates[pass.gate(step, gate)]);
            for ((h, z), candidate) in h.iter_mut().zip(z).zip(candidate) {
                *h = (1.0 - z) * candidate + z * *h;
            }
        }
        Cell::Lstm => {
            for (gate, products) in products.chunks_exact(hidden).enumerate() {
                pass.add(step, gate, products);
            }
            let peep = |pass: &mut Pass, gate: usize, weights: usize, c: &[f32]| {
                let Some(p) = p else { return };
                let at = pass.gate(step, gate);
                let terms = p[weights * hidden..][..hidden].iter().zip(c);
                pass.sums[at].iter_mut().zip(terms).for_each(|(sum, (p, c))| *sum += p * c);
            };
            peep(pass, 0, 0, c);
            pass.close(f, step, 0);
            if pass.input_forget {
                for (i, forget) in pass.gate(step, 0).zip(pass.gate(step, 2)) {
                    pass.gates[forget] = 1.0 - pass.gates[i];
                }
            } else {
                peep(pass, 2, 2, c);
                pass.close(f, step, 2);
            }
            pass.close(g, step, 3);
            let [i, forget, candidate] = [0, 2, 3].map(|gate| &pass.gates[pass.gate(step, gate)]);
            for (unit, c) in c.iter_mut().enumerate() {
                *c = forget[unit] * *c + i[unit] * candidate[unit];
            }
            peep(pass, 1, 1, c);
            pass.close(f, step, 1);
            let own = pass.state(step);
            pass.next_c[own.clone()].copy_from_slice(c);
            pass.of_c[own.clone()].copy_from_slice(c);
            apply(&of_c, &mut pass.of_c[own.clone()]);
            let o = &pass.gates[pass.gate(step, 1)];
            for ((h, o), c) in h.iter_mut().zip(o).zip(&pass.of_c[own]) {
                *h = o * c;
            }
        }
    }
}

/// From gradients by the states after a step, those by its sums; h and c become the gradients by the states before it,
/// as far as they do not come by the products with R.
pub(super) fn back(
    pass: &Pass,
    step: usize,
    p: Option<&[f32]>,
    (h, c): (&mut [f32], &mut [f32]),
    sums: &mut [f32],
    by_p: &mut [f32],
) {
    let hidden = pass.sizes.hidden;
    let [f, g, of_c] = pass.functions;
    let own = pass.state(step);
    let gate = |gate: usize| &pass.gates[pass.gate(step, gate)];
    match pass.cell {
        Cell::Rnn => {
            sums.copy_from_slice(h);
            pass.open(f, step, 0, sums);
            h.fill(0.0);
        }
        Cell::Gru => {
            let (by_z, rest) = sums.split_at_mut(hidden);
            let (by_r, by_candidate) = rest.split_at_mut(hidden);
            let values = gate(0).iter().zip(gate(2)).zip(&pass.h[own.clone()]);
            let by = by_z.iter_mut().zip(&mut *by_candidate).zip(h);
            for (((by_z, by_candidate), h), ((z, candidate), before)) in by.zip(values) {
                *by_z = *h * (before - candidate);
                *by_candidate = *h * (1.0 - z);
                *h *= z;
            }
            pass.open(f, step, 0, by_z);
            pass.open(g, step, 2, by_candidate);
            if !pass.resets_before {
                multiply(by_r, by_candidate, &pass.candidate[own]);
                pass.open(f, step, 1, by_r);
            }
        }
        Cell::Lstm => {
            let (before, after) = (&pass.c[own.clone()], &pass.next_c[own.clone()]);
            let of_after = &pass.of_c[own];
            let (by_i, rest) = sums.split_at_mut(hidden);
            let (by_o, rest) = rest.split_at_mut(hidden);
            let (by_forget, by_candidate) = rest.split_at_mut(hidden);
            let peepholes = |weights: usize| weights * hidden..(weights + 1) * hidden;
            multiply(by_o, h, of_after);
            pass.open(f, step, 1, by_o);
            h.iter_mut().zip(gate(1)).for_each(|(h, o)| *h *= o);
            multiply_by_derivative(&of_c, (after, of_after), h);
            c.iter_mut().zip(&*h).for_each(|(c, h)| *c += h);
            h.fill(0.0);
            if let Some(p) = p {
                multiply_add(c, by_o, &p[peepholes(1)]);
                multiply_add(&mut by_p[peepholes(1)], by_o, after);
            }
            multiply(by_i, c, gate(3));
            multiply(by_forget, c, before);
            multiply(by_candidate, c, gate(0));
            if pass.input_forget {
                by_i.iter_mut().zip(&*by_forget).for_each(|(i, forget)| *i -= forget);
                by_forget.fill(0.0);
            } else {
                pass.open(f, step, 2, by_forget);
            }
            pass.open(f, step, 0, by_i);
            pass.open(g, step, 3, by_candidate);
            c.iter_mut().zip(gate(2)).for_each(|(c, forget)| *c *= forget);
            if let Some(p) = p {
                for (weights, by) in [(0, by_i), (2, by_forget)] {
                    multiply_add(c, by, &p[peepholes(weights)]);
                    multiply_add(&mut by_p[peepholes(weights)], by, before);
                }
            }
        }
    }
}

/// GRU that resets before the product: from the gradient by r . h, those by the sums of r and by h.
pub(super) fn back_reset(
    pass: &Pass,
    step: usize,
    by_reset: &[f32],
    h: &mut [f32],
    sums: &mut [f32],
) {
    let own = pass.state(step);
    let by_r = &mut sums[pass.sizes.hidden..2 * pass.sizes.hidden];
    multiply(by_r, by_reset, &pass.h[own]);
    pass.open(pass.functions[0], step, 1, by_r);
    multiply_add(h, by_reset, &pass.gates[pass.gate(step, 1)]);
}
