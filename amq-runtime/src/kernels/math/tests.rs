use std::vec::Vec;

use super::*;
use crate::kernels::Isa;
use crate::kernels::number::AtPlace;

/// Distance of y from the true value, in units of the last place of an f32 of its size.
fn ulps(y: f32, truth: f64) -> f64 {
    let nearest = truth as f32;
    if nearest.is_nan() || nearest.is_infinite() || y.is_infinite() || y.is_nan() {
        let same = (y.is_nan() && nearest.is_nan()) || y == nearest;
        // A result just below overflow may round either way.
        let near = y.is_infinite() != nearest.is_infinite()
            && !y.is_nan()
            && y.signum() == nearest.signum()
            && y.abs() >= f32::MAX
            && nearest.abs() >= f32::MAX;
        return if same {
            0.0
        } else if near {
            1.0
        } else {
            f64::INFINITY
        };
    }
    let exponent = ((truth.abs().to_bits() >> 52) as i32 - 1023).max(-126);
    (f64::from(y) - truth).abs() / 2f64.powi(exponent - 23)
}

struct Case {
    name: &'static str,
    function: fn(f32) -> f32,
    truth: fn(f64) -> f64,
    /// As `docs/mathematics.md` states it.
    bound: f64,
}

fn softplus_truth(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn sigmoid_truth(x: f64) -> f64 {
    if x.is_nan() { x } else { 1.0 / (1.0 + (-x).exp()) }
}

const CASES: [Case; 8] = [
    Case { name: "exp", function: exp, truth: f64::exp, bound: 1.1 },
    Case { name: "exp_m1", function: exp_m1, truth: f64::exp_m1, bound: 1.8 },
    Case { name: "sigmoid", function: sigmoid, truth: sigmoid_truth, bound: 2.5 },
    Case { name: "tanh", function: tanh, truth: f64::tanh, bound: 2.6 },
    Case { name: "ln", function: ln, truth: f64::ln, bound: 1.0 },
    Case { name: "softplus", function: softplus, truth: softplus_truth, bound: 2.1 },
    Case { name: "erf", function: erf, truth: libm::erf, bound: 1.4 },
    Case { name: "sqrt", function: sqrt, truth: f64::sqrt, bound: 0.5 },
];

/// Largest error over every `stride`-th number.
fn worst(case: &Case, stride: usize) -> (f64, f32) {
    let mut worst = (0.0, 0.0);
    for bits in (0..=u32::MAX).step_by(stride) {
        let x = f32::from_bits(bits);
        let error = ulps((case.function)(x), (case.truth)(f64::from(x)));
        if error > worst.0 {
            worst = (error, x);
        }
    }
    worst
}

#[test]
fn errors_are_as_stated() {
    for case in &CASES {
        let (error, x) = worst(case, 7919);
        assert!(error <= case.bound, "{}({x:e}): {error} ulp", case.name);
    }
}

#[test]
#[ignore = "takes minutes: every f32"]
fn errors_are_as_stated_everywhere() {
    for case in &CASES {
        let (error, x) = worst(case, 1);
        println!("{}: {error:.3} ulp at {x:e}", case.name);
        assert!(error <= case.bound, "{}({x:e}): {error} ulp", case.name);
    }
}

#[test]
fn special_values() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    for case in &CASES {
        assert!((case.function)(nan).is_nan(), "{}", case.name);
    }
    assert_eq!([exp(-inf), exp(inf), exp(0.0), exp(-0.0)], [0.0, inf, 1.0, 1.0]);
    assert_eq!([exp_m1(-inf), exp_m1(inf), exp_m1(0.0)], [-1.0, inf, 0.0]);
    assert_eq!([sigmoid(-inf), sigmoid(inf), sigmoid(0.0)], [0.0, 1.0, 0.5]);
    assert_eq!([tanh(-inf), tanh(inf)], [-1.0, 1.0]);
    assert_eq!([erf(-inf), erf(inf)], [-1.0, 1.0]);
    assert_eq!([ln(0.0), ln(-0.0), ln(inf), ln(1.0)], [-inf, -inf, inf, 0.0]);
    assert!(ln(-1.0).is_nan() && ln(-inf).is_nan() && ln(-f32::from_bits(1)).is_nan());
    assert_eq!([softplus(-inf), softplus(inf)], [0.0, inf]);
    for odd in [tanh, erf, round, floor, ceil] {
        assert_eq!(odd(-0.0).to_bits(), (-0.0f32).to_bits());
        assert_eq!(odd(0.0).to_bits(), 0);
    }
    assert_eq!(
        [pow(2.0, 10.0), pow(-2.0, 3.0), pow(3.0, 2.0), pow(4.0, 0.5)],
        [1024.0, -8.0, 9.0, 2.0]
    );
    assert_eq!([pow(0.0, -1.0), pow(nan, 0.0), pow(-inf, 2.0)], [inf, 1.0, inf]);
    assert!(pow(-2.0, 0.5).is_nan());
}

#[derive(Clone, Copy)]
struct Sigmoid;

impl AtPlace<0> for Sigmoid {
    fn of<T: Number>(self, x: T, []: [T; 0]) -> T {
        sigmoid(x)
    }
}

/// The tanh where another is negative, times its complement, bounded.
#[derive(Clone, Copy)]
struct Others;

impl AtPlace<1> for Others {
    fn of<T: Number>(self, x: T, [other]: [T; 1]) -> T {
        (tanh(x).where_negative(other, 0.25) * x.complement()).at_least(-3.0).at_most(2.0)
    }
}

#[test]
fn many_places_have_the_bits_of_one() {
    // As many as lie side by side, and fewer.
    let lens = (0..300).cycle();
    let bits = |x: f32| if x.is_nan() { crate::kernels::NAN.to_bits() } else { x.to_bits() };
    for target in Isa::ALL.into_iter().filter_map(Target::new) {
        let mut patterns = (0..=u32::MAX).step_by(5003).map(f32::from_bits);
        for len in lens.clone() {
            let x: Vec<f32> = patterns.by_ref().take(len).collect();
            if x.len() < len {
                break;
            }
            // Neither 0 nor NaN, where either choice will do.
            let other: Vec<f32> = (0..len).map(|i| if i % 3 == 0 { -0.5 } else { 0.5 }).collect();
            let (mut sigmoids, mut others) = (x.clone(), x.clone());
            target.at_places(&mut sigmoids, [], Sigmoid);
            target.at_places(&mut others, [&other], Others);
            for (i, &x) in x.iter().enumerate() {
                let one = Others.of(x, [other[i]]);
                assert_eq!(bits(sigmoids[i]), bits(sigmoid(x)), "{target:?} {len} {x:e}");
                assert_eq!(bits(others[i]), bits(one), "{target:?} {len} {x:e}");
            }
        }
    }
}

#[test]
fn tanh_and_sigmoid_never_fall() {
    let mut previous = (-1.0, 0.0);
    for step in -40_000..=40_000 {
        let x = step as f32 / 2000.0;
        let next = (tanh(x), sigmoid(x));
        // A fall of one unit in the last place is rounding, not shape.
        assert!(next.0 >= previous.0 - 1.2e-7 && next.0.abs() <= 1.0, "tanh {x}");
        assert!(next.1 >= previous.1 - 1.2e-7 && next.1 <= 1.0, "sigmoid {x}");
        previous = next;
    }
}

#[test]
fn rounding_is_exact() {
    for bits in (0..=u32::MAX).step_by(4093) {
        let x = f32::from_bits(bits);
        if x.is_nan() {
            assert!(round(x).is_nan() && floor(x).is_nan() && ceil(x).is_nan());
            continue;
        }
        assert_eq!(round(x).to_bits(), x.round_ties_even().to_bits(), "round {x}");
        assert_eq!(floor(x).to_bits(), x.floor().to_bits(), "floor {x}");
        assert_eq!(ceil(x).to_bits(), x.ceil().to_bits(), "ceil {x}");
    }
    for x in [0.5, 1.5, 2.5, -0.5, -1.5, 8_388_607.5, 4_194_303.5, -0.2] {
        assert_eq!(round(x).to_bits(), x.round_ties_even().to_bits(), "round {x}");
        assert_eq!(floor(x).to_bits(), x.floor().to_bits(), "floor {x}");
        assert_eq!(ceil(x).to_bits(), x.ceil().to_bits(), "ceil {x}");
    }
}

fn functions() -> Vec<Unary> {
    let parameters = [(0.0, 0.0), (0.2, 0.5), (-1.25, 1.5), (1.67, 1.05)];
    let mut functions = Vec::new();
    for function in 0..=UnaryFunction::ToBf16 as i32 {
        functions.extend(parameters.map(|(alpha, beta)| Unary { function, alpha, beta }));
    }
    functions
}

fn sweep() -> Vec<f32> {
    let specials = [
        0.0,
        -0.0,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE,
        1e-45,
        -1e-45,
        88.722_83,
        88.722_84,
        -87.4,
        -103.9,
        -104.1,
    ];
    let mut x: Vec<f32> = (0..=u32::MAX).step_by(262_139).map(f32::from_bits).collect();
    x.extend((-30_000..30_000).map(|i| i as f32 * 0.003_7));
    x.extend(specials);
    x
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let bits = |y: &f32| if y.is_nan() { f32::NAN.to_bits() } else { y.to_bits() };
    let x = sweep();
    for function in functions() {
        let mut reference = x.clone();
        unary_in_place(Target::new(Isa::Scalar).unwrap(), &function, &mut reference);
        let reference: Vec<u32> = reference.iter().map(bits).collect();
        for target in Isa::ALL.into_iter().filter_map(Target::new) {
            let mut y = std::vec![0.0; x.len()];
            unary(target, &function, &x, &mut y);
            assert!(y.iter().map(bits).eq(reference.iter().copied()), "{function:?} {target:?}");
            // Another place in the vector: the loop's tail computes what its body did.
            for (i, &x) in x.iter().enumerate().step_by(977) {
                let mut alone = [x];
                unary_in_place(target, &function, &mut alone);
                assert_eq!(bits(&alone[0]), reference[i], "{function:?} {target:?} {x}");
            }
        }
    }
}

/// The functions as `docs/mathematics.md` states them, with the coefficients of its table.
struct Stated {
    q: Vec<f32>,
    r: Vec<f32>,
    p: Vec<f32>,
    far: Vec<f32>,
}

impl Stated {
    fn new() -> Stated {
        let text = include_str!("../../../../docs/mathematics.md");
        let row = |name: &str| {
            let row = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            let bits = row.split("0x").skip(1).map(|bits| u32::from_str_radix(&bits[..8], 16));
            bits.map(|bits| f32::from_bits(bits.unwrap())).collect()
        };
        Stated { q: row("| q |"), r: row("| R |"), p: row("| P |"), far: row("| Q |") }
    }

    fn polynomial(c: &[f32], t: f32) -> f32 {
        c.iter().copied().rev().reduce(|sum, c| c + t * sum).unwrap()
    }

    /// 2^n
    fn power(n: f32) -> f32 {
        f32::from_bits(((n + 127.0) as u32) << 23)
    }

    /// p and n of exp.
    fn reduced(&self, x: f32, b: f32) -> (f32, f32) {
        let m = 12_582_912.0 + b;
        let n = (x * f32::from_bits(0x3fb8_aa3b) + m) - m;
        let r = (x - n * f32::from_bits(0x3f31_7200)) - n * f32::from_bits(0x35bf_be8e);
        (r + (r * r) * Self::polynomial(&self.q, r), n)
    }

    fn exp(&self, x: f32) -> f32 {
        let x = x.clamp(-104.0, 89.0);
        let b = if x > 0.0 { 126.0 } else { 190.0 };
        let (p, n) = self.reduced(x, b);
        ((1.0 + p) * Self::power(n + b - 127.0)) * Self::power(127.0 - b)
    }

    fn exp_m1(&self, x: f32) -> f32 {
        if x > 88.0 {
            return self.exp(x);
        }
        let (p, n) = self.reduced(if x < -20.0 { -20.0 } else { x }, 127.0);
        let w = Self::power(n);
        w * p + (w - 1.0)
    }

    fn sigmoid(&self, x: f32) -> f32 {
        let e = self.exp(-x.abs());
        if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
    }

    fn tanh(&self, x: f32) -> f32 {
        let a = if x.abs() > 10.0 { 10.0 } else { x.abs() };
        let t = self.exp_m1(a + a);
        (t / (t + 2.0)).copysign(x)
    }

    fn ln(&self, x: f32) -> f32 {
        if x == 0.0 {
            return f32::NEG_INFINITY;
        } else if x < 0.0 || !x.is_finite() {
            return if x == f32::INFINITY { x } else { f32::NAN };
        }
        let tiny = x < Self::power(-126.0);
        let (mut m, mut n) = if tiny { (x * Self::power(23.0), -23.0) } else { (x, 0.0) };
        let least = f32::from_bits(0x3f35_04f3);
        while m < least {
            (m, n) = (m * 2.0, n - 1.0);
        }
        while m >= 2.0 * least {
            (m, n) = (m * 0.5, n + 1.0);
        }
        let f = m - 1.0;
        let s = f / (2.0 + f);
        let z = s * s;
        let h = (0.5 * f) * f;
        let r = z * Self::polynomial(&self.r, z);
        let (high, low) = (f32::from_bits(0x3f31_7200), f32::from_bits(0x35bf_be8e));
        n * high + (f - (h - (s * (h + r) + n * low)))
    }

    fn softplus(&self, x: f32) -> f32 {
        let e = self.exp(-x.abs());
        let u = 1.0 + e;
        x.max(0.0) + (self.ln(u) + (e - (u - 1.0)) / u)
    }

    fn erf(&self, x: f32) -> f32 {
        let a = x.abs();
        let far = || 1.0 - self.exp(Self::polynomial(&self.far, if a > 4.0 { 4.0 } else { a }));
        let y = if a < 0.92 { a + a * Self::polynomial(&self.p, a * a) } else { far() };
        y.copysign(x)
    }
}

#[test]
fn functions_are_as_stated_to_the_bit() {
    type Both = (fn(f32) -> f32, fn(&Stated, f32) -> f32);
    let functions: [Both; 7] = [
        (exp, Stated::exp),
        (exp_m1, Stated::exp_m1),
        (sigmoid, Stated::sigmoid),
        (tanh, Stated::tanh),
        (ln, Stated::ln),
        (softplus, Stated::softplus),
        (erf, Stated::erf),
    ];
    let stated = Stated::new();
    for (i, (function, stated_function)) in functions.into_iter().enumerate() {
        for x in sweep() {
            let (y, expected) = (function(x), stated_function(&stated, x));
            let same = y.to_bits() == expected.to_bits() || (y.is_nan() && expected.is_nan());
            assert!(same, "function {i} of {x:e}: {y:e}, stated is {expected:e}");
        }
    }
}

/// The vocabulary's formulas, in f64.
fn formula(u: &Unary, x: f64) -> f64 {
    let (alpha, beta) = (f64::from(u.alpha), f64::from(u.beta));
    match u.function() {
        UnaryFunction::Abs => x.abs(),
        UnaryFunction::Neg => -x,
        UnaryFunction::Sign => {
            if x == 0.0 {
                0.0
            } else {
                x.signum()
            }
        }
        UnaryFunction::Floor => x.floor(),
        UnaryFunction::Ceil => x.ceil(),
        UnaryFunction::Round => x.round_ties_even(),
        UnaryFunction::Reciprocal => x.recip(),
        UnaryFunction::Sqrt => x.sqrt(),
        UnaryFunction::Exp => x.exp(),
        UnaryFunction::Log => x.ln(),
        UnaryFunction::Erf => libm::erf(x),
        UnaryFunction::Not => f64::from(u8::from(x == 0.0)),
        UnaryFunction::Relu => x.max(0.0),
        UnaryFunction::LeakyRelu if x >= 0.0 => x,
        UnaryFunction::LeakyRelu => alpha * x,
        UnaryFunction::ThresholdedRelu if x > alpha => x,
        UnaryFunction::ThresholdedRelu => 0.0,
        UnaryFunction::Elu if x >= 0.0 => x,
        UnaryFunction::Elu => alpha * (x.exp() - 1.0),
        UnaryFunction::Selu if x > 0.0 => beta * x,
        UnaryFunction::Selu => beta * (alpha * x.exp() - alpha),
        UnaryFunction::Celu => x.max(0.0) + (alpha * ((x / alpha).exp() - 1.0)).min(0.0),
        UnaryFunction::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        UnaryFunction::HardSigmoid => (alpha * x + beta).clamp(0.0, 1.0),
        UnaryFunction::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        UnaryFunction::Tanh => x.tanh(),
        UnaryFunction::ScaledTanh => alpha * (beta * x).tanh(),
        UnaryFunction::Softplus => x.exp().ln_1p(),
        UnaryFunction::Softsign => x / (1.0 + x.abs()),
        UnaryFunction::Affine => alpha * x + beta,
        UnaryFunction::Clip => x.max(alpha).min(beta),
        UnaryFunction::ToF16 => f16(x),
        UnaryFunction::ToBf16 => bf16(x),
        UnaryFunction::Sin => x.sin(),
        UnaryFunction::Cos => x.cos(),
        UnaryFunction::Tan => x.tan(),
        UnaryFunction::Asin => x.asin(),
        UnaryFunction::Acos => x.acos(),
        UnaryFunction::Atan => x.atan(),
        UnaryFunction::Sinh => x.sinh(),
        UnaryFunction::Cosh => x.cosh(),
        UnaryFunction::Asinh => x.asinh(),
        UnaryFunction::Acosh => x.acosh(),
        UnaryFunction::Atanh => x.atanh(),
    }
}

#[test]
fn functions_are_the_formulas_of_the_vocabulary() {
    let target = Target::new(Isa::detect()).unwrap();
    let x: Vec<f32> = (-600..=600).map(|i| i as f32 / 50.0).collect();
    let mut y = x.clone();
    for function in functions() {
        if function.function() == UnaryFunction::Celu && function.alpha == 0.0 {
            continue;
        }
        unary(target, &function, &x, &mut y);
        for (&x, &y) in x.iter().zip(&y) {
            let truth = formula(&function, f64::from(x));
            let close = (f64::from(y) - truth).abs() <= 2e-6 * (1.0 + truth.abs());
            assert!(
                close || (y.is_nan() && truth.is_nan()) || f64::from(y) == truth,
                "{function:?} {x}: {y} {truth}"
            );
        }
    }
}

#[test]
fn sign_and_relu_of_nan() {
    let target = Target::new(Isa::Scalar).unwrap();
    for function in [UnaryFunction::Sign, UnaryFunction::Relu, UnaryFunction::Clip] {
        let mut x = [f32::NAN];
        unary_in_place(target, &Unary { function: function as i32, alpha: 0.0, beta: 1.0 }, &mut x);
        assert!(x[0].is_nan(), "{function:?}");
    }
}

/// The nearest multiple of a power of two, of which f16 has `2^10` or more below each value.
fn f16(x: f64) -> f64 {
    let exponent = x.abs().max(2.0f64.powi(-14)).log2().floor() as i32;
    let step = 2.0f64.powi(exponent - 10);
    let y = (x / step).round_ties_even() * step;
    if y.abs() > 65504.0 { f64::INFINITY.copysign(x) } else { y }
}

fn bf16(x: f64) -> f64 {
    let exponent = x.abs().max(2.0f64.powi(-126)).log2().floor() as i32;
    let step = 2.0f64.powi(exponent - 7);
    let y = (x / step).round_ties_even() * step;
    if y.abs() >= 2.0f64.powi(128) { f64::INFINITY.copysign(x) } else { y }
}

#[test]
fn shorter_floats_are_the_nearest() {
    let target = Target::new(Isa::detect()).unwrap();
    let bits = (0..u32::MAX).step_by(9973).map(f32::from_bits);
    let edges =
        [65504.0, 65519.99, 65520.0, 5.9e-8, 2.98e-8, 2.9802322e-8, 6.1e-5, 6.1035156e-5, 0.0];
    let x: Vec<f32> = bits.chain(edges).filter(|x| !x.is_nan()).collect();
    let mut y = x.clone();
    for (function, nearest) in
        [(UnaryFunction::ToF16, f16 as fn(f64) -> f64), (UnaryFunction::ToBf16, bf16)]
    {
        unary(target, &Unary { function: function as i32, alpha: 0.0, beta: 0.0 }, &x, &mut y);
        for (&x, &y) in x.iter().zip(&y) {
            let truth = nearest(f64::from(x)) as f32;
            assert!(
                y == truth && y.is_sign_negative() == x.is_sign_negative(),
                "{x:e}: {y:e} {truth:e}"
            );
        }
    }
}
