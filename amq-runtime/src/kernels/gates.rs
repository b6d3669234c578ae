//! Gates of recurrent cells: their sums and the functions of these in one pass over memory.

use amq_format::graph::{Unary, UnaryFunction};

use super::{Target, math};

/// A gate's sums of `(x + x_bias) + (h + h_bias)`, where x holds products with W and h those with R.
/// All are as long as the sums.
pub(crate) struct Terms<'a> {
    pub(crate) x_bias: &'a [f32],
    pub(crate) h: &'a [f32],
    pub(crate) h_bias: &'a [f32],
}

impl<'a> Terms<'a> {
    /// The terms of those elements that begin at `at`.
    pub(crate) fn from(&self, at: usize) -> Terms<'a> {
        Terms { x_bias: &self.x_bias[at..], h: &self.h[at..], h_bias: &self.h_bias[at..] }
    }

    /// Replaces x by the sums.
    pub(crate) fn sum(&self, target: Target, x: &mut [f32]) {
        target.vectorize(
            #[inline(always)]
            || self.map(x, |sum| sum),
        );
    }

    /// Replaces x by a function of the sums.
    pub(crate) fn gate(&self, target: Target, function: &Unary, x: &mut [f32]) {
        match function.function() {
            UnaryFunction::Sigmoid => target.vectorize(
                #[inline(always)]
                || self.map(x, math::sigmoid),
            ),
            UnaryFunction::Tanh => target.vectorize(
                #[inline(always)]
                || self.map(x, math::tanh),
            ),
            _ => {
                self.sum(target, x);
                math::unary_in_place(target, function, x);
            }
        }
    }

    #[inline(always)]
    fn map(&self, x: &mut [f32], function: impl Fn(f32) -> f32) {
        let len = x.len();
        let (x_bias, h, h_bias) = (&self.x_bias[..len], &self.h[..len], &self.h_bias[..len]);
        for (i, x) in x.iter_mut().enumerate() {
            *x = function((*x + x_bias[i]) + (h[i] + h_bias[i]));
        }
    }
}

/// `out = gate . function(x)`
pub(crate) fn gated(target: Target, function: &Unary, x: &[f32], gate: &[f32], out: &mut [f32]) {
    if function.function() == UnaryFunction::Tanh {
        target.vectorize(
            #[inline(always)]
            || {
                let (x, gate) = (&x[..out.len()], &gate[..out.len()]);
                for (i, out) in out.iter_mut().enumerate() {
                    *out = gate[i] * math::tanh(x[i]);
                }
            },
        );
        return;
    }
    math::unary(target, function, x, out);
    target.vectorize(
        #[inline(always)]
        || out.iter_mut().zip(gate).for_each(|(out, gate)| *out *= gate),
    );
}
