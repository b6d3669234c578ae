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
        let inputs = [self.x_bias, self.h, self.h_bias];
        by_place(x, inputs, |x, [x_bias, h, h_bias]| function((x + x_bias) + (h + h_bias)));
    }
}

/// Replaces each element by a function of itself and those at its place in the inputs, which are at least as long.
#[inline(always)]
pub(crate) fn by_place<const N: usize>(
    out: &mut [f32],
    inputs: [&[f32]; N],
    function: impl Fn(f32, [f32; N]) -> f32,
) {
    // As long as the compiler can see: a loop that it believes may end early ends with single elements, always.
    let len = out.len();
    let inputs = inputs.map(|input| &input[..len]);
    for i in 0..len {
        out[i] = function(out[i], inputs.map(|input| input[i]));
    }
}

/// `out = gate . function(x)`
pub(crate) fn gated(target: Target, function: &Unary, x: &[f32], gate: &[f32], out: &mut [f32]) {
    if function.function() == UnaryFunction::Tanh {
        target.vectorize(
            #[inline(always)]
            || by_place(out, [x, gate], |_, [x, gate]| gate * math::tanh(x)),
        );
        return;
    }
    math::unary(target, function, x, out);
    target.vectorize(
        #[inline(always)]
        || out.iter_mut().zip(gate).for_each(|(out, gate)| *out *= gate),
    );
}
