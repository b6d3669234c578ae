//! Several vectors of lanes side by side, of which functions are computed as of one number.
//!
//! A function is a chain of some forty operations, each of which waits for the one before. A CPU looks ahead far enough
//! for two or three chains only; with several side by side there is always one that can go on.

use core::ops::{Add, Div, Mul, Sub};

use super::lanes::Lanes;
use super::number::{AtPlace, Number, by_place};

/// What functions need of lanes beyond what products do.
pub(crate) trait Floats: Lanes {
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// The larger; b where either is NaN.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// The smaller; b where either is NaN.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// The magnitude of a with the sign of b.
    fn with_sign(self, a: Self::F, b: Self::F) -> Self::F;
    /// a where the sign is negative, else b.
    fn by_sign(self, sign: Self::F, a: Self::F, b: Self::F) -> Self::F;
    /// Bits as an integer times 2^23; those that do not fit are lost.
    fn shift_to_exponent(self, a: Self::F) -> Self::F;
}

/// `N` vectors side by side.
#[derive(Clone, Copy)]
struct Together<S: Floats, const N: usize>(S, [S::F; N]);

// Loops and not closures: one that is not inlined would not have the instructions.
macro_rules! each {
    ($together:expr, |$lanes:ident, $a:ident| $out:expr) => {{
        let Together($lanes, mut all) = $together;
        for value in &mut all {
            let $a = *value;
            *value = $out;
        }
        Together($lanes, all)
    }};
    ($together:expr, $others:expr, |$lanes:ident, $a:ident, $b:ident| $out:expr) => {{
        let Together($lanes, mut all) = $together;
        for (value, other) in all.iter_mut().zip($others.1) {
            let ($a, $b) = (*value, other);
            *value = $out;
        }
        Together($lanes, all)
    }};
}

macro_rules! operator {
    ($operator:ident, $function:ident, $by:ident) => {
        impl<S: Floats, const N: usize> $operator for Together<S, N> {
            type Output = Self;

            #[inline(always)]
            fn $function(self, other: Self) -> Self {
                each!(self, other, |lanes, a, b| lanes.$by(a, b))
            }
        }
    };
    ($operator:ident<f32>, $function:ident, $by:ident) => {
        impl<S: Floats, const N: usize> $operator<f32> for Together<S, N> {
            type Output = Self;

            #[inline(always)]
            fn $function(self, constant: f32) -> Self {
                let constant = self.0.splat(constant);
                each!(self, |lanes, a| lanes.$by(a, constant))
            }
        }
    };
}

operator!(Add, add, add);
operator!(Sub, sub, sub);
operator!(Mul, mul, mul);
operator!(Div, div, div);
operator!(Add<f32>, add, add);
operator!(Sub<f32>, sub, sub);
operator!(Mul<f32>, mul, mul);

impl<S: Floats, const N: usize> Number for Together<S, N> {
    #[inline(always)]
    fn magnitude(self) -> Self {
        each!(self, |lanes, a| lanes.abs(a))
    }

    #[inline(always)]
    fn negative(self) -> Self {
        let sign = self.0.splat(-1.0);
        each!(self, |lanes, a| lanes.with_sign(a, sign))
    }

    #[inline(always)]
    fn with_sign(self, sign: Self) -> Self {
        each!(self, sign, |lanes, a, b| lanes.with_sign(a, b))
    }

    #[inline(always)]
    fn complement(self) -> Self {
        let one = self.0.splat(1.0);
        each!(self, |lanes, a| lanes.sub(one, a))
    }

    #[inline(always)]
    fn at_least(self, low: f32) -> Self {
        let low = self.0.splat(low);
        each!(self, |lanes, a| lanes.max(low, a))
    }

    #[inline(always)]
    fn at_most(self, high: f32) -> Self {
        let high = self.0.splat(high);
        each!(self, |lanes, a| lanes.min(high, a))
    }

    #[inline(always)]
    fn where_negative(self, other: Self, constant: f32) -> Self {
        let constant = self.0.splat(constant);
        each!(self, other, |lanes, a, b| lanes.by_sign(b, a, constant))
    }

    #[inline(always)]
    fn canonical(self) -> Self {
        each!(self, |lanes, a| lanes.canonical(a))
    }

    #[inline(always)]
    fn power_of_two(self) -> Self {
        each!(self, |lanes, a| lanes.shift_to_exponent(a))
    }
}

/// As [`by_place`], `SIDE` vectors of lanes side by side as long as there are so many.
#[inline(always)]
pub(super) fn side_by_side<S: Floats, const SIDE: usize, const N: usize>(
    lanes: S,
    out: &mut [f32],
    inputs: [&[f32]; N],
    function: impl AtPlace<N>,
) {
    let mut at = 0;
    while out.len() - at >= 16 * SIDE {
        together::<S, SIDE, N>(lanes, out, inputs, at, function);
        at += 16 * SIDE;
    }
    while out.len() - at >= 16 {
        together::<S, 1, N>(lanes, out, inputs, at, function);
        at += 16;
    }
    let inputs = inputs.map(|input| &input[at..]);
    by_place(&mut out[at..], inputs, |x, inputs| function.of(x, inputs));
}

/// Replaces so many vectors from an element on.
#[inline(always)]
fn together<S: Floats, const SIDE: usize, const N: usize>(
    lanes: S,
    out: &mut [f32],
    inputs: [&[f32]; N],
    at: usize,
    function: impl AtPlace<N>,
) {
    let out = &mut out[at..at + 16 * SIDE];
    let x = load::<S, SIDE>(lanes, out);
    let mut others = [x; N];
    for (other, input) in others.iter_mut().zip(inputs) {
        *other = load(lanes, &input[at..at + 16 * SIDE]);
    }
    let Together(_, values) = function.of(x, others);
    for (value, out) in values.into_iter().zip(out.as_chunks_mut().0) {
        lanes.store(value, out);
    }
}

#[inline(always)]
fn load<S: Floats, const SIDE: usize>(lanes: S, x: &[f32]) -> Together<S, SIDE> {
    let mut all = [lanes.splat(0.0); SIDE];
    for (value, x) in all.iter_mut().zip(x.as_chunks().0) {
        *value = lanes.load(x);
    }
    Together(lanes, all)
}
