//! Elementary functions of f32.
//!
//! Each is a fixed sequence of correctly rounded additions, multiplications and divisions without
//! branches, so that a loop over them vectorizes and gives the same bits for every [`Target`].
//! `docs/mathematics.md` states the method and the error of each. A NaN gives a NaN, whose payload
//! means nothing.

use amq_format::graph::{Unary, UnaryFunction};

use super::Target;
use super::number::Number;

/// 1.5 * 2^23: a small number added to it is rounded to an integer, which its low bits then hold.
const ROUNDER: f32 = 12_582_912.0;

/// ln 2 in two parts, the first of 15 bits: its product with an exponent is exact.
const LN_2_HIGH: f32 = 0.693_145_75;
const LN_2_LOW: f32 = 1.428_606_8e-6;

/// Splits x, within -104 to 89, as `n ln 2 + r` and returns `e^r - 1` and `2^(n + bias - 127)`.
/// `n + bias` must lie in 1 to 254.
#[inline(always)]
fn reduce<T: Number>(x: T, bias: f32) -> (T, T) {
    let shifted = x * core::f32::consts::LOG2_E + (ROUNDER + bias);
    let n = shifted - (ROUNDER + bias);
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let q =
        (((r * 0.001_394_065_7 + 0.008_366_403) * r + 0.041_666_403) * r + 0.166_665_45) * r + 0.5;
    (r + r * r * q, shifted.power_of_two())
}

/// `e^x` for x not above 0.
#[inline(always)]
fn exp_not_above_zero<T: Number>(x: T) -> T {
    let (p, scale) = reduce(x.at_least(-104.0), 127.0 + 63.0);
    // Two factors, for results below the least normal number: only the second product rounds.
    ((p + 1.0) * scale) * f32::from_bits((127 - 63) << 23)
}

/// `e^x`
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let x = if x < -104.0 { -104.0 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };
    let (bias, rest) =
        if x > 0.0 { (127.0 - 1.0, 2.0) } else { (127.0 + 63.0, f32::from_bits((127 - 63) << 23)) };
    let (p, scale) = reduce(x, bias);
    ((1.0 + p) * scale) * rest
}

/// `e^x - 1` for x within -20 to 88.
#[inline(always)]
fn exp_m1_bounded<T: Number>(x: T) -> T {
    let (p, scale) = reduce(x, 127.0);
    scale * p + (scale - 1.0)
}

/// `e^x - 1`
#[inline(always)]
pub(crate) fn exp_m1(x: f32) -> f32 {
    let bounded = if x < -20.0 { -20.0 } else { x };
    let bounded = if bounded > 88.0 { 88.0 } else { bounded };
    if x > 88.0 { exp(x) } else { exp_m1_bounded(bounded) }
}

/// `1 / (1 + e^-x)`
#[inline(always)]
pub(crate) fn sigmoid<T: Number>(x: T) -> T {
    let e = exp_not_above_zero(x.negative());
    // At 0 both are 1.
    e.where_negative(x, 1.0) / (e + 1.0)
}

/// Hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh<T: Number>(x: T) -> T {
    let a = x.magnitude().at_most(10.0);
    let t = exp_m1_bounded(a + a);
    (t / (t + 2.0)).with_sign(x)
}

/// Natural logarithm.
#[inline(always)]
pub(crate) fn ln(x: f32) -> f32 {
    let tiny = x < f32::MIN_POSITIVE;
    let (scaled, offset) = if tiny { (x * 8_388_608.0, -23.0) } else { (x, 0.0) };
    // scaled = 2^n m with m in sqrt(1/2) to sqrt(2).
    let n = scaled.to_bits().wrapping_sub(core::f32::consts::FRAC_1_SQRT_2.to_bits()) as i32 >> 23;
    let m = f32::from_bits(scaled.to_bits().wrapping_sub((n as u32) << 23));
    let n = n as f32 + offset;
    // ln(1 + f) = ln((1 + s) / (1 - s)) = 2 s + s R(s^2), rearranged so that f enters unrounded.
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let r = z * (0.666_667_76 + z * (0.399_775_77 + z * 0.298_710_53));
    let half = 0.5 * f * f;
    let y = n * LN_2_HIGH + (f - (half - (s * (half + r) + n * LN_2_LOW)));
    let y = if x < f32::INFINITY { y } else { x };
    let y = if x < 0.0 { f32::NAN } else { y };
    if x == 0.0 { f32::NEG_INFINITY } else { y }
}

/// `ln(1 + e^x)`
#[inline(always)]
pub(crate) fn softplus(x: f32) -> f32 {
    let e = exp_not_above_zero(-x.abs());
    let u = 1.0 + e;
    // The second term mends the rounding of u.
    let tail = ln(u) + (e - (u - 1.0)) / u;
    (if x > 0.0 { x } else { 0.0 }) + tail
}

/// Error function.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let a = x.abs();
    let z = a * a;
    let p = 0.128_379_17
        + z * (-0.376_126_3
            + z * (0.112_836_25
                + z * (-0.026_855_668
                    + z * (0.005_192_228 + z * (-0.000_804_782_1 + z * 7.989_471_5e-5)))));
    let near = a + a * p;
    // 1 - erf as e^q.
    let b = if a > 4.0 { 4.0 } else { a };
    let q = -0.000_177_495_5
        + b * (-1.127_749_6
            + b * (-0.637_059_75
                + b * (-0.104_037_37
                    + b * (0.022_277_09 + b * (-0.003_055_608_4 + b * 0.000_197_181_83)))));
    let far = 1.0 - exp_not_above_zero(q);
    (if a < 0.92 { near } else { far }).copysign(x)
}

/// `x^y`, as the f64 function rounded to f32.
pub(crate) fn pow(x: f32, y: f32) -> f32 {
    // Correctly rounded, and the one exponent that is common.
    if y == 2.0 { x * x } else { libm::pow(f64::from(x), f64::from(y)) as f32 }
}

/// Square root, correctly rounded.
#[inline(always)]
pub(crate) fn sqrt(x: f32) -> f32 {
    #[cfg(feature = "std")]
    return x.sqrt();
    #[cfg(not(feature = "std"))]
    libm::sqrtf(x)
}

/// Nearest integer, ties to even.
#[inline(always)]
pub(crate) fn round(x: f32) -> f32 {
    // From 2^23 on every number is an integer.
    let a = x.abs();
    let rounded = (a + 8_388_608.0) - 8_388_608.0;
    if a < 8_388_608.0 { rounded.copysign(x) } else { x }
}

/// Largest integer not above x.
#[inline(always)]
pub(crate) fn floor(x: f32) -> f32 {
    let rounded = round(x);
    rounded - if rounded > x { 1.0 } else { 0.0 }
}

/// Smallest integer not below x.
#[inline(always)]
pub(crate) fn ceil(x: f32) -> f32 {
    -floor(-x)
}

/// The function of each element of x, to `out` of the same length.
pub(crate) fn unary(target: Target, unary: &Unary, x: &[f32], out: &mut [f32]) {
    debug_assert_eq!(x.len(), out.len());
    target.vectorize(
        #[inline(always)]
        || apply(unary, Between(x, out)),
    );
}

/// The function of each element of x, in its place.
pub(crate) fn unary_in_place(target: Target, function: &Unary, x: &mut [f32]) {
    if cfg!(target_arch = "wasm32") {
        // A module is downloaded: copies cost less than all functions' code once more.
        let mut copy = [0.0; 128];
        for x in x.chunks_mut(copy.len()) {
            let copy = &mut copy[..x.len()];
            copy.copy_from_slice(x);
            unary(target, function, copy, x);
        }
        return;
    }
    target.vectorize(
        #[inline(always)]
        || apply(function, InPlace(x)),
    );
}

/// x without the lowest `bits` of its mantissa, rounded to nearest, ties to even. x is no NaN.
#[inline(always)]
fn shortened(x: f32, bits: u32) -> f32 {
    let below_half = (1 << (bits - 1)) - 1;
    let last = x.to_bits() >> bits & 1;
    f32::from_bits((x.to_bits().wrapping_add(below_half + last)) & (u32::MAX << bits))
}

#[inline(always)]
fn to_f16(x: f32) -> f32 {
    // Below 2^-14 values are multiples of 2^-24, as f32 has them from 0.5 to 1.
    let small = (x.abs() + 0.5) - 0.5;
    let normal = shortened(x.abs(), 13);
    let finite = if x.abs() < 6.103_515_6e-5 { small } else { normal };
    let y = if x.abs() < 65520.0 { finite } else { f32::INFINITY };
    if x.is_nan() { x } else { y.copysign(x) }
}

#[inline(always)]
fn to_bf16(x: f32) -> f32 {
    if x.is_nan() { x } else { shortened(x, 16) }
}

/// Where elements come from and go to.
trait Elements {
    fn map(self, function: impl Fn(f32) -> f32);
}

struct InPlace<'a>(&'a mut [f32]);

impl Elements for InPlace<'_> {
    #[inline(always)]
    fn map(self, function: impl Fn(f32) -> f32) {
        for x in self.0 {
            *x = function(*x);
        }
    }
}

struct Between<'a>(&'a [f32], &'a mut [f32]);

impl Elements for Between<'_> {
    #[inline(always)]
    fn map(self, function: impl Fn(f32) -> f32) {
        for (x, y) in self.0.iter().zip(self.1) {
            *y = function(*x);
        }
    }
}

/// A function of f64, its result rounded to f32.
fn narrowed(function: fn(f64) -> f64) -> impl Fn(f32) -> f32 {
    move |x| function(f64::from(x)) as f32
}

#[inline(always)]
fn apply(unary: &Unary, elements: impl Elements) {
    let (alpha, beta) = (unary.alpha, unary.beta);
    match unary.function() {
        UnaryFunction::Abs => elements.map(f32::abs),
        UnaryFunction::Neg => elements.map(|x| -x),
        UnaryFunction::Sign => elements.map(|x| {
            let y = if x > 0.0 { 1.0 } else { x + 0.0 };
            if x < 0.0 { -1.0 } else { y }
        }),
        UnaryFunction::Floor => elements.map(floor),
        UnaryFunction::Ceil => elements.map(ceil),
        UnaryFunction::Round => elements.map(round),
        UnaryFunction::Reciprocal => elements.map(|x| 1.0 / x),
        UnaryFunction::Sqrt => elements.map(sqrt),
        UnaryFunction::Exp => elements.map(exp),
        UnaryFunction::Log => elements.map(ln),
        UnaryFunction::Erf => elements.map(erf),
        UnaryFunction::Not => elements.map(|x| if x == 0.0 { 1.0 } else { 0.0 }),
        UnaryFunction::Relu => elements.map(|x| x.at_least(0.0)),
        UnaryFunction::LeakyRelu => elements.map(|x| if x >= 0.0 { x } else { alpha * x }),
        UnaryFunction::ThresholdedRelu => elements.map(|x| if x > alpha { x } else { 0.0 }),
        UnaryFunction::Elu => elements.map(|x| if x >= 0.0 { x } else { alpha * exp_m1(x) }),
        UnaryFunction::Selu => {
            elements.map(|x| beta * if x > 0.0 { x } else { alpha * exp_m1(x) });
        }
        UnaryFunction::Celu => {
            elements.map(|x| x.at_least(0.0) + (alpha * exp_m1(x / alpha)).at_most(0.0));
        }
        UnaryFunction::Sigmoid => elements.map(sigmoid),
        UnaryFunction::HardSigmoid => {
            elements.map(|x| (alpha * x + beta).at_most(1.0).at_least(0.0));
        }
        UnaryFunction::HardSwish => {
            elements.map(|x| x * (x / 6.0 + 0.5).at_most(1.0).at_least(0.0));
        }
        UnaryFunction::Tanh => elements.map(tanh),
        UnaryFunction::ScaledTanh => elements.map(|x| alpha * tanh(beta * x)),
        UnaryFunction::Softplus => elements.map(softplus),
        UnaryFunction::Softsign => elements.map(|x| x / (1.0 + x.abs())),
        UnaryFunction::Affine => elements.map(|x| alpha * x + beta),
        UnaryFunction::Clip => elements.map(|x| x.at_least(alpha).at_most(beta)),
        UnaryFunction::ToF16 => elements.map(to_f16),
        UnaryFunction::ToBf16 => elements.map(to_bf16),
        UnaryFunction::Sin => elements.map(narrowed(libm::sin)),
        UnaryFunction::Cos => elements.map(narrowed(libm::cos)),
        UnaryFunction::Tan => elements.map(narrowed(libm::tan)),
        UnaryFunction::Asin => elements.map(narrowed(libm::asin)),
        UnaryFunction::Acos => elements.map(narrowed(libm::acos)),
        UnaryFunction::Atan => elements.map(narrowed(libm::atan)),
        UnaryFunction::Sinh => elements.map(narrowed(libm::sinh)),
        UnaryFunction::Cosh => elements.map(narrowed(libm::cosh)),
        UnaryFunction::Asinh => elements.map(narrowed(libm::asinh)),
        UnaryFunction::Acosh => elements.map(narrowed(libm::acosh)),
        UnaryFunction::Atanh => elements.map(narrowed(libm::atanh)),
    }
}

#[cfg(test)]
mod tests;
