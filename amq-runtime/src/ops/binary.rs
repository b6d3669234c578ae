//! Functions of two elements, broadcast together.

use alloc::boxed::Box;

use amq_format::graph::{Binary, BinaryFunction};

use super::walk::{Walk, broadcast_strides};
use crate::call::{Call, Kernel, mismatch};
use crate::compute::{Compute, Shapes, keeps_nothing};
use crate::error::{Fault, fault};
use crate::kernels::{Target, math};
use crate::view::{Data, DataMut};

impl Compute for Binary {
    keeps_nothing!();

    fn kernel(
        &self,
        _: &Self::Kept,
        shapes: &Shapes<'_>,
    ) -> Result<Option<Box<dyn Kernel>>, Fault> {
        let (a, b, y) = (shapes.input(0)?, shapes.input(1)?, shapes.output()?);
        let strides = [&a.dims, &b.dims].map(|dims| broadcast_strides(dims, &y.dims));
        let walk = Walk::new(&y.dims, [&strides[0], &strides[1]], [0, 0]);
        Ok(Some(Box::new(Pairs { function: self.function(), walk })))
    }
}

struct Pairs {
    function: BinaryFunction,
    walk: Walk<2>,
}

impl Kernel for Pairs {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        use Data as D;
        match (call.inputs.data(0)?, call.inputs.data(1)?, call.outputs.data()?) {
            (D::F32(a), D::F32(b), DataMut::F32(y)) => self.floats(call.target, a, b, y),
            (D::I64(a), D::I64(b), DataMut::I64(y)) => self.integers(a, b, y),
            (D::I32(a), D::I32(b), DataMut::I32(y)) => self.integers(a, b, y),
            (D::U8(a), D::U8(b), DataMut::U8(y)) => self.integers(a, b, y),
            (D::I8(a), D::I8(b), DataMut::I8(y)) => self.integers(a, b, y),
            (D::F32(a), D::F32(b), DataMut::Bool(y)) => self.comparison(a, b, y),
            (D::I64(a), D::I64(b), DataMut::Bool(y)) => self.comparison(a, b, y),
            (D::I32(a), D::I32(b), DataMut::Bool(y)) => self.comparison(a, b, y),
            (D::U8(a), D::U8(b), DataMut::Bool(y)) => self.comparison(a, b, y),
            (D::I8(a), D::I8(b), DataMut::Bool(y)) => self.comparison(a, b, y),
            (D::Bool(a), D::Bool(b), DataMut::Bool(y)) => self.logic(a, b, y),
            _ => Err(mismatch()),
        }
    }
}

impl Pairs {
    fn floats(&self, target: Target, a: &[f32], b: &[f32], y: &mut [f32]) -> Result<(), Fault> {
        macro_rules! each {
            ($f:expr) => {
                target.vectorize(
                    #[inline(always)]
                    || each_float(&self.walk, a, b, y, $f),
                )
            };
        }
        match self.function {
            BinaryFunction::Add => each!(|a, b| a + b),
            BinaryFunction::Sub => each!(|a, b| a - b),
            BinaryFunction::Mul => each!(|a, b| a * b),
            BinaryFunction::Div => each!(|a, b| a / b),
            BinaryFunction::Min => each!(smaller),
            BinaryFunction::Max => each!(larger),
            BinaryFunction::Prelu => each!(|a: f32, b| if a < 0.0 { a * b } else { a }),
            // As `math::pow` squares, but all at once.
            BinaryFunction::Pow if *b == [2.0] => each!(|a, _| a * a),
            BinaryFunction::Pow => each!(math::pow),
            _ => return Err(mismatch()),
        }
        Ok(())
    }

    fn integers<T: Integer>(&self, a: &[T], b: &[T], y: &mut [T]) -> Result<(), Fault> {
        let function = match self.function {
            BinaryFunction::Add => |a: T, b| Ok(a.add(b)),
            BinaryFunction::Sub => |a: T, b| Ok(a.sub(b)),
            BinaryFunction::Mul => |a: T, b| Ok(a.mul(b)),
            BinaryFunction::Div => |a: T, b| a.div(b).ok_or_else(|| fault!("division by zero")),
            BinaryFunction::Pow => |a: T, b| a.pow(b).ok_or_else(|| fault!("division by zero")),
            BinaryFunction::Min => |a: T, b| Ok(a.min(b)),
            BinaryFunction::Max => |a: T, b| Ok(a.max(b)),
            _ => return Err(mismatch()),
        };
        each_pair(&self.walk, a, b, y, function)
    }

    fn comparison<T: Copy + PartialOrd>(
        &self,
        a: &[T],
        b: &[T],
        y: &mut [u8],
    ) -> Result<(), Fault> {
        let function = match self.function {
            BinaryFunction::Equal => |a: T, b: T| Ok(u8::from(a == b)),
            BinaryFunction::Less => |a: T, b: T| Ok(u8::from(a < b)),
            BinaryFunction::LessOrEqual => |a: T, b: T| Ok(u8::from(a <= b)),
            BinaryFunction::Greater => |a: T, b: T| Ok(u8::from(a > b)),
            BinaryFunction::GreaterOrEqual => |a: T, b: T| Ok(u8::from(a >= b)),
            _ => return Err(mismatch()),
        };
        each_pair(&self.walk, a, b, y, function)
    }

    fn logic(&self, a: &[u8], b: &[u8], y: &mut [u8]) -> Result<(), Fault> {
        let function = match self.function {
            BinaryFunction::And => |a, b| Ok(a & b),
            BinaryFunction::Or => |a, b| Ok(a | b),
            BinaryFunction::Xor => |a, b| Ok(a ^ b),
            BinaryFunction::Equal => |a, b| Ok(u8::from(a == b)),
            _ => return Err(mismatch()),
        };
        each_pair(&self.walk, a, b, y, function)
    }
}

/// The smaller of two; NaN if either is.
#[inline(always)]
pub(super) fn smaller(a: f32, b: f32) -> f32 {
    if a < b || a.is_nan() { a } else { b }
}

/// The larger of two; NaN if either is.
#[inline(always)]
pub(super) fn larger(a: f32, b: f32) -> f32 {
    if a > b || a.is_nan() { a } else { b }
}

/// Applies `f` along rows; the cases that occur in networks vectorize.
#[inline(always)]
fn each_float(
    walk: &Walk<2>,
    a: &[f32],
    b: &[f32],
    y: &mut [f32],
    f: impl Fn(f32, f32) -> f32 + Copy,
) {
    if y.is_empty() {
        return;
    }
    let inner = walk.inner;
    for (y, [i, j]) in y.chunks_exact_mut(inner).zip(walk.rows()) {
        match walk.strides {
            [1, 1] => {
                let pairs = a[i..i + inner].iter().zip(&b[j..j + inner]);
                y.iter_mut().zip(pairs).for_each(|(y, (&a, &b))| *y = f(a, b));
            }
            [1, 0] => {
                let b = b[j];
                y.iter_mut().zip(&a[i..i + inner]).for_each(|(y, &a)| *y = f(a, b));
            }
            [0, 1] => {
                let a = a[i];
                y.iter_mut().zip(&b[j..j + inner]).for_each(|(y, &b)| *y = f(a, b));
            }
            [s, t] => {
                let (s, t) = (s.unsigned_abs(), t.unsigned_abs());
                y.iter_mut().enumerate().for_each(|(k, y)| *y = f(a[i + k * s], b[j + k * t]));
            }
        }
    }
}

/// Applies a function that may fail.
fn each_pair<T: Copy, U>(
    walk: &Walk<2>,
    a: &[T],
    b: &[T],
    y: &mut [U],
    f: impl Fn(T, T) -> Result<U, Fault>,
) -> Result<(), Fault> {
    if y.is_empty() {
        return Ok(());
    }
    let [s, t] = walk.strides.map(isize::unsigned_abs);
    for (y, [i, j]) in y.chunks_exact_mut(walk.inner).zip(walk.rows()) {
        for (k, y) in y.iter_mut().enumerate() {
            *y = f(a[i + k * s], b[j + k * t])?;
        }
    }
    Ok(())
}

/// Integers that wrap around; `None` stands for a division by zero.
trait Integer: Copy + Ord {
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Option<Self>;
    fn pow(self, exponent: Self) -> Option<Self>;
}

macro_rules! integer {
    ($($t:ty),*) => {$(
        impl Integer for $t {
            fn add(self, other: $t) -> $t {
                self.wrapping_add(other)
            }

            fn sub(self, other: $t) -> $t {
                self.wrapping_sub(other)
            }

            fn mul(self, other: $t) -> $t {
                self.wrapping_mul(other)
            }

            fn div(self, other: $t) -> Option<$t> {
                (other != 0).then(|| self.wrapping_div(other))
            }

            fn pow(self, exponent: $t) -> Option<$t> {
                #[allow(unused_comparisons, reason = "one macro for types with and without a sign")]
                if exponent < 0 {
                    // 1 / self^-exponent, rounded towards zero.
                    let odd = exponent % 2 != 0;
                    return <$t>::div(1, self).map(|one| if odd { one } else { one.wrapping_mul(one) });
                }
                let (mut power, mut base, mut left) = (1, self, exponent);
                while left > 0 {
                    if left % 2 != 0 {
                        power = <$t>::mul(power, base);
                    }
                    base = <$t>::mul(base, base);
                    left /= 2;
                }
                Some(power)
            }
        }
    )*};
}
integer!(i64, i32, i8, u8);
