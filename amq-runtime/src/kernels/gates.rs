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
        let inputs = [&self.x_bias[..len], &self.h[..len], &self.h_bias[..len]];
        by_lanes(x, inputs, |x, [x_bias, h, h_bias]| function((x + x_bias) + (h + h_bias)));
    }
}

/// Elements that are computed together.
const LANES: usize = 16;

/// Elements of which the steps of a plain loop are made, at most.
const STEP: usize = 64;

/// Replaces each element by a function of itself and those at its place in the inputs, which are as long.
/// A plain loop is compiled to steps of many elements and to others behind them, at last of one at a time: few
/// elements would be done so, and are done by lanes instead.
#[inline(always)]
pub(crate) fn by_lanes<const N: usize>(
    out: &mut [f32],
    inputs: [&[f32]; N],
    function: impl Fn(f32, [f32; N]) -> f32,
) {
    if out.len() >= STEP {
        for (i, out) in out.iter_mut().enumerate() {
            *out = function(*out, inputs.map(|input| input[i]));
        }
        return;
    }
    let (whole, rest) = out.as_chunks_mut::<LANES>();
    let chunks = inputs.map(|input| input.as_chunks::<LANES>());
    for (i, out) in whole.iter_mut().enumerate() {
        lanes(out, chunks.map(|(whole, _)| &whole[i]), &function);
    }
    if !rest.is_empty() {
        let padded = |part: &[f32]| {
            let mut lanes = [0.0; LANES];
            lanes[..part.len()].copy_from_slice(part);
            lanes
        };
        let mut last = padded(rest);
        let inputs = chunks.map(|(_, rest)| padded(rest));
        lanes(&mut last, inputs.each_ref(), &function);
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

#[inline(always)]
fn lanes<const N: usize>(
    out: &mut [f32; LANES],
    inputs: [&[f32; LANES]; N],
    function: &impl Fn(f32, [f32; N]) -> f32,
) {
    for (lane, out) in out.iter_mut().enumerate() {
        *out = function(*out, inputs.map(|input| input[lane]));
    }
}

/// `out = gate . function(x)`
pub(crate) fn gated(target: Target, function: &Unary, x: &[f32], gate: &[f32], out: &mut [f32]) {
    if function.function() == UnaryFunction::Tanh {
        target.vectorize(
            #[inline(always)]
            || {
                let inputs = [&x[..out.len()], &gate[..out.len()]];
                by_lanes(out, inputs, |_, [x, gate]| gate * math::tanh(x));
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
