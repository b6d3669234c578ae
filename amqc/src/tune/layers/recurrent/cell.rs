//! One step of one sequence: the gates from their products, and the way back.

use std::ops::Range;

use amq_format::graph::{Cell, Unary};

use super::kept::Pass;
use crate::tune::function::{apply, derivative};

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

    /// The derivative of a gate by its sum, at unit `i`.
    fn slope(&self, function: &Unary, at: usize) -> f32 {
        let (x, y) = (self.sums[at], self.gates[at]);
        match self.clip {
            Some(bound) if x.abs() >= bound => 0.0,
            _ => derivative(function, x, y),
        }
    }
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
    let [f, g, of_c] = &pass.functions;
    let [first, state] = [pass.gate(step, 0).start, pass.state(step).start];
    let at = |gate: usize, unit: usize| first + gate * hidden + unit;
    for unit in 0..hidden {
        match pass.cell {
            Cell::Rnn => {
                sums[unit] = h[unit] * pass.slope(f, at(0, unit));
                h[unit] = 0.0;
            }
            Cell::Gru => {
                let [z, candidate] = [0, 2].map(|gate| pass.gates[at(gate, unit)]);
                let by_h = h[unit];
                let by_z = by_h * (pass.h[state + unit] - candidate);
                sums[unit] = by_z * pass.slope(f, at(0, unit));
                let by_candidate = by_h * (1.0 - z) * pass.slope(g, at(2, unit));
                sums[2 * hidden + unit] = by_candidate;
                if !pass.resets_before {
                    let by_r = by_candidate * pass.candidate[state + unit];
                    sums[hidden + unit] = by_r * pass.slope(f, at(1, unit));
                }
                h[unit] = by_h * z;
            }
            Cell::Lstm => {
                let [i, o, forget, candidate] = [0, 1, 2, 3].map(|gate| pass.gates[at(gate, unit)]);
                let peephole = |weights: usize| p.map_or(0.0, |p| p[weights * hidden + unit]);
                let (before, after) = (pass.c[state + unit], pass.next_c[state + unit]);
                let by_o = h[unit] * pass.of_c[state + unit] * pass.slope(f, at(1, unit));
                let through = derivative(of_c, after, pass.of_c[state + unit]);
                let by_c = c[unit] + h[unit] * o * through + by_o * peephole(1);
                let (mut by_i, by_forget) = (by_c * candidate, by_c * before);
                let mut forgets = 0.0;
                if pass.input_forget {
                    by_i -= by_forget;
                } else {
                    forgets = by_forget * pass.slope(f, at(2, unit));
                }
                let takes = by_i * pass.slope(f, at(0, unit));
                sums[unit] = takes;
                sums[hidden + unit] = by_o;
                sums[2 * hidden + unit] = forgets;
                sums[3 * hidden + unit] = by_c * i * pass.slope(g, at(3, unit));
                by_p[unit] += takes * before;
                by_p[hidden + unit] += by_o * after;
                by_p[2 * hidden + unit] += forgets * before;
                c[unit] = by_c * forget + takes * peephole(0) + forgets * peephole(2);
                h[unit] = 0.0;
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
    let hidden = pass.sizes.hidden;
    let (first, state) = (pass.gate(step, 1).start, pass.state(step).start);
    for unit in 0..hidden {
        let by_r = by_reset[unit] * pass.h[state + unit];
        sums[hidden + unit] = by_r * pass.slope(&pass.functions[0], first + unit);
        h[unit] += by_reset[unit] * pass.gates[first + unit];
    }
}
