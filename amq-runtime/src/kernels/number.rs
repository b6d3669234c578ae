//! What elementary functions are computed of: a number, or several vectors of lanes side by side.
//!
//! A function is a chain of some forty operations, each of which waits for the one before. A CPU looks ahead far enough
//! for two or three chains only; with several side by side there is always one that can go on.

use core::ops::{Add, Div, Mul, Sub};

use super::lanes::{Lanes, NAN};

/// A number, or several that are computed alike. Operations round as those of f32 do, each for itself.
pub(crate) trait Number:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Add<f32, Output = Self>
    + Sub<f32, Output = Self>
    + Mul<f32, Output = Self>
{
    /// The magnitude.
    fn magnitude(self) -> Self;
    /// The magnitude, negative.
    fn negative(self) -> Self;
    /// The magnitude, with the sign of another.
    fn with_sign(self, sign: Self) -> Self;
    /// `1 - x`
    fn complement(self) -> Self;
    /// The larger of it and a bound; NaN if it is.
    fn at_least(self, low: f32) -> Self;
    /// The smaller of it and a bound; NaN if it is.
    fn at_most(self, high: f32) -> Self;
    /// It where another is below 0, else the constant. Where the other is 0 or NaN, either.
    fn where_negative(self, other: Self, constant: f32) -> Self;
    /// Itself, or the canonical NaN if it is one.
    fn canonical(self) -> Self;
    /// `2^(n - 127)`, n being the integer that the low bits hold.
    fn power_of_two(self) -> Self;
}

impl Number for f32 {
    #[inline(always)]
    fn magnitude(self) -> f32 {
        self.abs()
    }

    #[inline(always)]
    fn negative(self) -> f32 {
        -self.abs()
    }

    #[inline(always)]
    fn with_sign(self, sign: f32) -> f32 {
        self.copysign(sign)
    }

    #[inline(always)]
    fn complement(self) -> f32 {
        1.0 - self
    }

    #[inline(always)]
    fn at_least(self, low: f32) -> f32 {
        if self < low { low } else { self }
    }

    #[inline(always)]
    fn at_most(self, high: f32) -> f32 {
        if self > high { high } else { self }
    }

    #[inline(always)]
    fn where_negative(self, other: f32, constant: f32) -> f32 {
        if other < 0.0 { self } else { constant }
    }

    #[inline(always)]
    fn canonical(self) -> f32 {
        if self.is_nan() { NAN } else { self }
    }

    #[inline(always)]
    fn power_of_two(self) -> f32 {
        f32::from_bits(self.to_bits() << 23)
    }
}

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

/// A function of an element and those at its place in `N` inputs.
pub(crate) trait AtPlace<const N: usize>: Copy {
    /// Its value. Mark it `#[inline(always)]`.
    fn of<T: Number>(self, x: T, inputs: [T; N]) -> T;
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

/// The same, `SIDE` vectors of lanes side by side as long as there are so many.
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
