//! Functions of one element and their derivatives.

use amq_format::graph::{Unary, UnaryFunction as F};
use amq_runtime::vectorize;

/// `e^x` to about two units in the last place: written for vectors.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // 1.5 * 2^23: a small number added to it is rounded to an integer, which its low bits hold.
    const ROUNDER: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUNDER;
    let n = shifted - ROUNDER;
    // ln 2 in two parts, of which the first has few digits.
    let r = (x - n * 0.693_145_75) - n * 1.428_606_8e-6;
    let mut power = 1.0 / 720.0;
    for factor in [120.0, 24.0, 6.0, 2.0, 1.0, 1.0] {
        power = power * r + 1.0 / factor;
    }
    power * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(x + x) + 1.0)
}

/// The functions that gates have, in the place of what they are of.
pub(super) fn apply(function: &Unary, x: &mut [f32]) {
    let Unary { alpha, beta, .. } = *function;
    let mut each = |f: &dyn Fn(f32) -> f32| x.iter_mut().for_each(|x| *x = f(*x));
    match function.function() {
        F::Sigmoid => vectorize(
            #[inline(always)]
            || x.iter_mut().for_each(|x| *x = sigmoid(*x)),
        ),
        F::Tanh => vectorize(
            #[inline(always)]
            || x.iter_mut().for_each(|x| *x = tanh(*x)),
        ),
        F::Relu => each(&|x| x.max(0.0)),
        F::Affine => each(&|x| alpha * x + beta),
        F::LeakyRelu => each(&|x| if x >= 0.0 { x } else { alpha * x }),
        F::ThresholdedRelu => each(&|x| if x > alpha { x } else { 0.0 }),
        F::ScaledTanh => each(&|x| alpha * (beta * x).tanh()),
        F::HardSigmoid => each(&|x| (alpha * x + beta).clamp(0.0, 1.0)),
        F::Elu => each(&|x| if x >= 0.0 { x } else { alpha * x.exp_m1() }),
        F::Softsign => each(&|x| x / (1.0 + x.abs())),
        // The last of those that the format allows.
        _ => each(&|x| x.max(0.0) + (-x.abs()).exp().ln_1p()),
    }
}

/// Whether a function has a derivative that training can use.
pub(super) fn is_smooth(function: &Unary) -> bool {
    !matches!(function.function(), F::Not | F::Sign | F::Floor | F::Ceil | F::Round)
}

/// Multiplies each of `by` with the derivative at its x, where the function is y.
pub(super) fn multiply_by_derivative(function: &Unary, (x, y): (&[f32], &[f32]), by: &mut [f32]) {
    let of_y = by.iter_mut().zip(y);
    match function.function() {
        F::Sigmoid => vectorize(
            #[inline(always)]
            || of_y.for_each(|(by, y)| *by *= y * (1.0 - y)),
        ),
        F::Tanh => vectorize(
            #[inline(always)]
            || of_y.for_each(|(by, y)| *by *= 1.0 - y * y),
        ),
        _ => of_y.zip(x).for_each(|((by, &y), &x)| *by *= derivative(function, x, y)),
    }
}

/// The derivative at x, where the function is y. Rounding to a narrower float is passed as if it were not there.
fn derivative(function: &Unary, x: f32, y: f32) -> f32 {
    let Unary { alpha, beta, .. } = *function;
    let step = |on: bool| if on { 1.0 } else { 0.0 };
    match function.function() {
        F::Sigmoid => y * (1.0 - y),
        F::Tanh => 1.0 - y * y,
        F::Relu => step(x > 0.0),
        F::Affine => alpha,
        F::LeakyRelu => {
            if x >= 0.0 {
                1.0
            } else {
                alpha
            }
        }
        F::ThresholdedRelu => step(x > alpha),
        F::ScaledTanh => beta * (alpha - y * y / alpha),
        F::HardSigmoid => {
            if y > 0.0 && y < 1.0 {
                alpha
            } else {
                0.0
            }
        }
        F::HardSwish => {
            let inner = x / 6.0 + 0.5;
            if inner <= 0.0 {
                0.0
            } else if inner >= 1.0 {
                1.0
            } else {
                x / 3.0 + 0.5
            }
        }
        F::Elu => {
            if x >= 0.0 {
                1.0
            } else {
                y + alpha
            }
        }
        F::Selu => {
            if x > 0.0 {
                beta
            } else {
                y + alpha * beta
            }
        }
        F::Celu => {
            if x >= 0.0 {
                1.0
            } else {
                (x / alpha).exp()
            }
        }
        F::Softplus => 1.0 / (1.0 + (-x).exp()),
        F::Softsign => 1.0 / (1.0 + x.abs()).powi(2),
        F::Clip => step(x > alpha && x < beta),
        F::Abs => {
            if x < 0.0 {
                -1.0
            } else {
                step(x > 0.0)
            }
        }
        F::Neg => -1.0,
        F::Reciprocal => -y * y,
        F::Sqrt => 0.5 / y,
        F::Exp => y,
        F::Log => 1.0 / x,
        F::Erf => std::f32::consts::FRAC_2_SQRT_PI * (-x * x).exp(),
        F::ToF16 | F::ToBf16 => 1.0,
        F::Sin => x.cos(),
        F::Cos => -x.sin(),
        F::Tan => 1.0 + y * y,
        F::Asin => 1.0 / (1.0 - x * x).sqrt(),
        F::Acos => -1.0 / (1.0 - x * x).sqrt(),
        F::Atan => 1.0 / (1.0 + x * x),
        F::Sinh => x.cosh(),
        F::Cosh => x.sinh(),
        F::Asinh => 1.0 / (x * x + 1.0).sqrt(),
        F::Acosh => 1.0 / (x * x - 1.0).sqrt(),
        F::Atanh => 1.0 / (1.0 - x * x),
        F::Not | F::Sign | F::Floor | F::Ceil | F::Round => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_those_of_the_library() {
        for i in -870..880 {
            let x = i as f32 * 0.1;
            let expected = f64::from(x).exp();
            assert!((f64::from(exp(x)) / expected - 1.0).abs() < 6e-7, "{x}");
        }
        assert!(exp(f32::NAN).is_nan());
    }
}
