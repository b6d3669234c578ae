//! What elementary functions are computed of: a number, or several at once.

use core::ops::{Add, Div, Mul, Sub};

use super::lanes::NAN;

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
