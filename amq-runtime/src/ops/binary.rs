//! Functions of two elements, broadcast together.

use alloc::boxed::Box;

use amq_format::graph::{Binary, BinaryFunction, DataType};

use super::elementwise::pairs;
use super::narrow::{BLOCK, blocks, cut, widen};
use crate::call::mismatch;
use crate::compute::{Computation, Compute, Elementwise, Shapes, keeps_nothing};
use crate::error::{Fault, ensure};
use crate::kernels::{Target, math};
use crate::view::{Data, DataMut};

impl Compute for Binary {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let data_type = shapes.input(0)?.data_type;
        Ok(Computation::Elementwise(Box::new(Pairs { function: self.function(), data_type })))
    }
}

struct Pairs {
    function: BinaryFunction,
    /// Of its inputs.
    data_type: DataType,
}

impl Elementwise for Pairs {
    fn can_fail(&self) -> bool {
        use BinaryFunction as F;
        let divides = matches!(self.function, F::Div | F::Pow | F::Remainder | F::Modulo);
        divides && self.data_type != DataType::F32
    }

    fn apply(
        &self,
        target: Target,
        [a, b, _]: &[Data<'_>; 3],
        y: DataMut<'_>,
    ) -> Result<(), Fault> {
        use Data as D;
        match (*a, *b, y) {
            (D::F32(a), D::F32(b), DataMut::F32(y)) => self.floats(target, a, b, y),
            (D::I64(a), D::I64(b), DataMut::I64(y)) => self.integers(a, b, y),
            (D::U64(a), D::U64(b), DataMut::U64(y)) => self.integers(a, b, y),
            (D::F32(a), D::F32(b), DataMut::Bool(y)) => self.comparison(target, a, b, y),
            (D::I64(a), D::I64(b), DataMut::Bool(y)) => self.comparison(target, a, b, y),
            (D::U64(a), D::U64(b), DataMut::Bool(y)) => self.comparison(target, a, b, y),
            (D::Bool(a), D::Bool(b), DataMut::Bool(y)) => self.logic(target, a, b, y),
            (a, b, y) if a.data_type() == b.data_type() => self.narrow(target, a, b, y),
            _ => Err(mismatch()),
        }
    }
}

/// Vectorized pairs.
macro_rules! each {
    ($target:expr, $a:expr, $b:expr, $y:expr, $f:expr) => {
        $target.vectorize(
            #[inline(always)]
            || pairs($a, $b, $y, $f),
        )
    };
}

impl Pairs {
    fn floats(&self, target: Target, a: &[f32], b: &[f32], y: &mut [f32]) -> Result<(), Fault> {
        match self.function {
            BinaryFunction::Add => each!(target, a, b, y, |a, b| a + b),
            BinaryFunction::Sub => each!(target, a, b, y, |a, b| a - b),
            BinaryFunction::Mul => each!(target, a, b, y, |a, b| a * b),
            BinaryFunction::Div => each!(target, a, b, y, |a, b| a / b),
            BinaryFunction::Min => each!(target, a, b, y, smaller),
            BinaryFunction::Max => each!(target, a, b, y, larger),
            BinaryFunction::Prelu => {
                each!(target, a, b, y, |a: f32, b| if a < 0.0 { a * b } else { a });
            }
            // As `math::pow` squares, but all at once.
            BinaryFunction::Pow if *b == [2.0] => each!(target, a, b, y, |a: f32, _| a * a),
            BinaryFunction::Pow => each!(target, a, b, y, math::pow),
            BinaryFunction::Remainder => pairs(a, b, y, libm::fmodf),
            BinaryFunction::Modulo => pairs(a, b, y, |a, b| {
                let left = libm::fmodf(a, b);
                if left != 0.0 && (left < 0.0) != (b < 0.0) { left + b } else { left }
            }),
            _ => return Err(mismatch()),
        }
        Ok(())
    }

    fn integers<T: Integer>(&self, a: &[T], b: &[T], y: &mut [T]) -> Result<(), Fault> {
        match self.function {
            BinaryFunction::Add => pairs(a, b, y, T::add),
            BinaryFunction::Sub => pairs(a, b, y, T::sub),
            BinaryFunction::Mul => pairs(a, b, y, T::mul),
            BinaryFunction::Min => pairs(a, b, y, T::min),
            BinaryFunction::Max => pairs(a, b, y, T::max),
            BinaryFunction::Div => return quotients(a, b, y, T::div),
            BinaryFunction::Pow => return quotients(a, b, y, T::pow),
            BinaryFunction::Remainder => return quotients(a, b, y, T::remainder),
            BinaryFunction::Modulo => return quotients(a, b, y, T::modulo),
            BinaryFunction::And => pairs(a, b, y, T::and),
            BinaryFunction::Or => pairs(a, b, y, T::or),
            BinaryFunction::Xor => pairs(a, b, y, T::xor),
            BinaryFunction::ShiftLeft => pairs(a, b, y, T::left),
            BinaryFunction::ShiftRight => pairs(a, b, y, T::right),
            _ => return Err(mismatch()),
        }
        Ok(())
    }

    /// The lower bits of what a function gives in 64 bits are what it gives in fewer.
    fn narrow(
        &self,
        target: Target,
        a: Data<'_>,
        b: Data<'_>,
        mut y: DataMut<'_>,
    ) -> Result<(), Fault> {
        let [mut left, mut right, mut result] = [[0; BLOCK]; 3];
        let len = y.as_data().len();
        blocks(len, |at, len| {
            let (a, b) = (widen(a, at, len, &mut left)?, widen(b, at, len, &mut right)?);
            if let DataMut::Bool(y) = &mut y {
                return self.comparison(target, a, b, &mut y[at..at + len]);
            }
            self.integers(a, b, &mut result[..len])?;
            cut(&result[..len], at, &mut y)
        })
    }

    fn comparison<T: Copy + PartialOrd>(
        &self,
        target: Target,
        a: &[T],
        b: &[T],
        y: &mut [u8],
    ) -> Result<(), Fault> {
        match self.function {
            BinaryFunction::Equal => each!(target, a, b, y, |a: T, b| u8::from(a == b)),
            BinaryFunction::Less => each!(target, a, b, y, |a: T, b| u8::from(a < b)),
            BinaryFunction::LessOrEqual => each!(target, a, b, y, |a: T, b| u8::from(a <= b)),
            BinaryFunction::Greater => each!(target, a, b, y, |a: T, b| u8::from(a > b)),
            BinaryFunction::GreaterOrEqual => each!(target, a, b, y, |a: T, b| u8::from(a >= b)),
            _ => return Err(mismatch()),
        }
        Ok(())
    }

    fn logic(&self, target: Target, a: &[u8], b: &[u8], y: &mut [u8]) -> Result<(), Fault> {
        match self.function {
            BinaryFunction::And => each!(target, a, b, y, |a, b| a & b),
            BinaryFunction::Or => each!(target, a, b, y, |a, b| a | b),
            BinaryFunction::Xor => each!(target, a, b, y, |a, b| a ^ b),
            BinaryFunction::Equal => each!(target, a, b, y, |a, b| u8::from(a == b)),
            _ => return Err(mismatch()),
        }
        Ok(())
    }
}

/// Applies a function that divides.
fn quotients<T: Copy + Default>(
    a: &[T],
    b: &[T],
    y: &mut [T],
    f: impl Fn(T, T) -> Option<T>,
) -> Result<(), Fault> {
    let mut whole = true;
    pairs(a, b, y, |a, b| {
        f(a, b).unwrap_or_else(|| {
            whole = false;
            T::default()
        })
    });
    ensure!(whole, "division by zero");
    Ok(())
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

/// Integers that wrap around; `None` stands for a division by zero.
pub(super) trait Integer: Copy + Ord + Default {
    const ONE: Self;
    const LEAST: Self;
    const MOST: Self;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Option<Self>;
    fn pow(self, exponent: Self) -> Option<Self>;
    fn remainder(self, other: Self) -> Option<Self>;
    fn modulo(self, other: Self) -> Option<Self>;
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn left(self, places: Self) -> Self;
    fn right(self, places: Self) -> Self;
}

macro_rules! integer {
    ($($t:ty),*) => {$(
        impl Integer for $t {
            const ONE: $t = 1;
            const LEAST: $t = <$t>::MIN;
            const MOST: $t = <$t>::MAX;

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

            fn remainder(self, other: $t) -> Option<$t> {
                (other != 0).then(|| self.wrapping_rem(other))
            }

            #[allow(unused_comparisons, reason = "one macro for types with and without a sign")]
            fn modulo(self, other: $t) -> Option<$t> {
                let left = self.remainder(other)?;
                Some(if left != 0 && (left < 0) != (other < 0) { left + other } else { left })
            }

            fn and(self, other: $t) -> $t {
                self & other
            }

            fn or(self, other: $t) -> $t {
                self | other
            }

            fn xor(self, other: $t) -> $t {
                self ^ other
            }

            fn left(self, places: $t) -> $t {
                u32::try_from(places).ok().and_then(|places| self.checked_shl(places)).unwrap_or(0)
            }

            fn right(self, places: $t) -> $t {
                // Beyond the width all places hold zeros, or the sign.
                let places = u32::try_from(places).unwrap_or(<$t>::BITS).min(<$t>::BITS);
                (self >> (places / 2)) >> (places - places / 2)
            }
        }
    )*};
}
integer!(i64, i32, i8, u8, i16, u16, u32, u64);

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::ops::testing::run;
    use crate::view::Buffer;
    use amq_format::graph::Op;

    #[test]
    fn narrow_integers_give_what_their_own_arithmetic_gives() {
        use BinaryFunction as F;
        macro_rules! check {
            ($t:ident, $kind:ident, $values:expr) => {
                let values: Vec<$t> = $values.collect();
                let functions: [(F, fn($t, $t) -> Option<$t>); 14] = [
                    (F::Add, |a, b| Some(Integer::add(a, b))),
                    (F::Sub, |a, b| Some(Integer::sub(a, b))),
                    (F::Mul, |a, b| Some(Integer::mul(a, b))),
                    (F::Min, |a, b| Some(Ord::min(a, b))),
                    (F::Max, |a, b| Some(Ord::max(a, b))),
                    (F::Div, Integer::div),
                    (F::Pow, Integer::pow),
                    (F::Remainder, Integer::remainder),
                    (F::Modulo, Integer::modulo),
                    (F::And, |a, b| Some(Integer::and(a, b))),
                    (F::Or, |a, b| Some(Integer::or(a, b))),
                    (F::Xor, |a, b| Some(Integer::xor(a, b))),
                    (F::ShiftLeft, |a, b| Some(Integer::left(a, b))),
                    (F::ShiftRight, |a, b| Some(Integer::right(a, b))),
                ];
                for (function, expected) in functions {
                    let pairs = values.iter().flat_map(|&a| values.iter().map(move |&b| (a, b)));
                    let (mut a, mut b, mut y) = (Vec::new(), Vec::new(), Vec::new());
                    for ((x, z), result) in pairs.filter_map(|p| Some((p, expected(p.0, p.1)?))) {
                        a.push(x);
                        b.push(z);
                        y.push(result);
                    }
                    let tensor =
                        |elements: Vec<$t>| (vec![elements.len()], Buffer::$kind(elements));
                    let op = Op::Binary(Binary { function: function as i32 });
                    let (_, found) = run(op, &[tensor(a), tensor(b)]).unwrap();
                    assert!(found == Buffer::$kind(y), "{function:?} of {}", stringify!($t));
                }
            };
        }
        check!(i8, I8, i8::MIN..=i8::MAX);
        check!(u8, U8, 0..=u8::MAX);
        check!(
            i16,
            I16,
            [0, 1, 2, 7, 15, 16, 17, 255, 256, i16::MAX, i16::MIN, -1, -2, -16].into_iter()
        );
        check!(u16, U16, [0, 1, 2, 7, 15, 16, 17, 255, 256, 1 << 15, u16::MAX].into_iter());
        check!(i32, I32, [0, 1, 3, 31, 32, 33, 63, 64, 65, i32::MAX, i32::MIN, -1, -3].into_iter());
        check!(u32, U32, [0, 1, 3, 31, 32, 33, 63, 64, 65, 1 << 31, u32::MAX].into_iter());
    }
}
