//! Gates of recurrent cells: their sums and the functions of these in one pass over memory.

use amq_format::graph::{Unary, UnaryFunction};

use super::number::{AtPlace, Number};
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
        target.at_places(x, self.inputs(), Sum);
    }

    /// Replaces x by a function of the sums.
    pub(crate) fn gate(&self, target: Target, function: &Unary, x: &mut [f32]) {
        match function.function() {
            UnaryFunction::Sigmoid => target.at_places(x, self.inputs(), Sigmoid),
            UnaryFunction::Tanh => target.at_places(x, self.inputs(), Tanh),
            _ => {
                self.sum(target, x);
                math::unary_in_place(target, function, x);
            }
        }
    }

    fn inputs(&self) -> [&'a [f32]; 3] {
        [self.x_bias, self.h, self.h_bias]
    }
}

#[derive(Clone, Copy)]
struct Sum;

impl AtPlace<3> for Sum {
    #[inline(always)]
    fn of<T: Number>(self, x: T, [x_bias, h, h_bias]: [T; 3]) -> T {
        (x + x_bias) + (h + h_bias)
    }
}

#[derive(Clone, Copy)]
struct Sigmoid;

impl AtPlace<3> for Sigmoid {
    #[inline(always)]
    fn of<T: Number>(self, x: T, terms: [T; 3]) -> T {
        math::sigmoid(Sum.of(x, terms))
    }
}

#[derive(Clone, Copy)]
struct Tanh;

impl AtPlace<3> for Tanh {
    #[inline(always)]
    fn of<T: Number>(self, x: T, terms: [T; 3]) -> T {
        math::tanh(Sum.of(x, terms))
    }
}

/// The sum of a GRU's candidate, from its product with W, the bias of that, r, the product with R, and its bias.
#[derive(Clone, Copy)]
pub(crate) struct CandidateSum;

impl AtPlace<4> for CandidateSum {
    #[inline(always)]
    fn of<T: Number>(self, x: T, [x_bias, r, h, h_bias]: [T; 4]) -> T {
        (x + x_bias) + r * (h + h_bias)
    }
}

/// A GRU's state after a step, from that before, z and the candidate.
#[derive(Clone, Copy)]
pub(crate) struct Blend;

impl AtPlace<2> for Blend {
    #[inline(always)]
    fn of<T: Number>(self, h: T, [z, candidate]: [T; 2]) -> T {
        (z.complement() * candidate + z * h).canonical()
    }
}

/// The same, from z and what the tanh of the candidate's sum is made of.
#[derive(Clone, Copy)]
pub(crate) struct BlendTanh;

impl AtPlace<6> for BlendTanh {
    #[inline(always)]
    fn of<T: Number>(self, h: T, [z, x, x_bias, r, r_h, h_bias]: [T; 6]) -> T {
        Blend.of(h, [z, math::tanh(CandidateSum.of(x, [x_bias, r, r_h, h_bias]))])
    }
}

/// An LSTM's cell after a step, from that before, its two gates and the candidate.
#[derive(Clone, Copy)]
pub(crate) struct NextCell;

impl AtPlace<3> for NextCell {
    #[inline(always)]
    fn of<T: Number>(self, c: T, [forget, input, candidate]: [T; 3]) -> T {
        (forget * c + input * candidate).canonical()
    }
}

/// Itself times a gate.
#[derive(Clone, Copy)]
struct Times;

impl AtPlace<1> for Times {
    #[inline(always)]
    fn of<T: Number>(self, x: T, [gate]: [T; 1]) -> T {
        (x * gate).canonical()
    }
}

/// A gate times the tanh of x.
#[derive(Clone, Copy)]
struct GatedTanh;

impl AtPlace<2> for GatedTanh {
    #[inline(always)]
    fn of<T: Number>(self, _: T, [x, gate]: [T; 2]) -> T {
        Times.of(math::tanh(x), [gate])
    }
}

/// `out = gate . function(x)`
pub(crate) fn gated(target: Target, function: &Unary, x: &[f32], gate: &[f32], out: &mut [f32]) {
    if function.function() == UnaryFunction::Tanh {
        return target.at_places(out, [x, gate], GatedTanh);
    }
    math::unary(target, function, x, out);
    target.at_places(out, [gate], Times);
}

/// What it is, with the canonical NaN.
#[derive(Clone, Copy)]
pub(crate) struct Canonical;

impl AtPlace<0> for Canonical {
    #[inline(always)]
    fn of<T: Number>(self, x: T, []: [T; 0]) -> T {
        x.canonical()
    }
}
