//! Functions of each element, of pairs of elements, and choices between them.

use crate::dim::Dim;
use crate::ensure;
use crate::error::Rule;
use crate::fact::{Fact, Facts, broadcast};
use crate::fault::{Fault, Refusal, refuse_unless};
use crate::known::{Elements, Sizes, compare, divide};
use crate::operator::{
    Arity, Operator, Since, holds_dims, known, linear_work, no_slots, unchanged,
};
use crate::value::DataType;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// A function of one element. alpha and beta are its parameters, named in each. `max(a, b)` is a
/// where `b < a`, else b; `min(a, b)` is a where `b > a`, else b.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum UnaryFunction {
    /// `|x|`
    Abs = 0,
    /// `-x`
    Neg = 1,
    /// Sign: -1, +0 or 1.
    Sign = 2,
    /// Largest integer not above x.
    Floor = 3,
    /// Smallest integer not below x.
    Ceil = 4,
    /// Nearest integer, ties to even.
    Round = 5,
    /// `1 / x`
    Reciprocal = 6,
    /// Square root.
    Sqrt = 7,
    /// `e^x`
    Exp = 8,
    /// Natural logarithm.
    Log = 9,
    /// Error function.
    Erf = 10,
    /// Logical not, of bool.
    Not = 11,
    /// `max(0, x)`
    Relu = 12,
    /// `x` if `x >= 0`, else `alpha x`
    LeakyRelu = 13,
    /// `x` if `x > alpha`, else 0
    ThresholdedRelu = 14,
    /// `x` if `x >= 0`, else `alpha (e^x - 1)`
    Elu = 15,
    /// `beta x` if `x > 0`, else `beta (alpha (e^x - 1))`
    Selu = 16,
    /// `max(0, x) + min(0, alpha (e^(x/alpha) - 1))`
    Celu = 17,
    /// `1 / (1 + e^-x)`
    Sigmoid = 18,
    /// `max(0, min(1, alpha x + beta))`
    HardSigmoid = 19,
    /// `x max(0, min(1, x/6 + 0.5))`
    HardSwish = 20,
    /// Hyperbolic tangent.
    Tanh = 21,
    /// `alpha tanh(beta x)`
    ScaledTanh = 22,
    /// `ln(1 + e^x)`
    Softplus = 23,
    /// `x / (1 + |x|)`
    Softsign = 24,
    /// `alpha x + beta`
    Affine = 25,
    /// `min(beta, max(alpha, x))`
    Clip = 26,
    /// The nearest value of IEEE's half precision, ties to even; infinite from 65520 on.
    ToF16 = 27,
    /// The nearest value of bfloat16, ties to even; infinite from 2^128 - 2^119 on.
    ToBf16 = 28,
    /// Sine.
    Sin = 29,
    /// Cosine.
    Cos = 30,
    /// Tangent.
    Tan = 31,
    /// Inverse of the sine.
    Asin = 32,
    /// Inverse of the cosine.
    Acos = 33,
    /// Inverse of the tangent.
    Atan = 34,
    /// Hyperbolic sine.
    Sinh = 35,
    /// Hyperbolic cosine.
    Cosh = 36,
    /// Inverse of the hyperbolic sine.
    Asinh = 37,
    /// Inverse of the hyperbolic cosine.
    Acosh = 38,
    /// Inverse of the hyperbolic tangent.
    Atanh = 39,
}

/// A function of each element of x, which is f32, for `Not` bool. A parameter that is left out is
/// 0, whatever ONNX's default is; none is NaN or -0.
///
/// Inputs: x. Outputs: y of the same shape and type.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Unary {
    /// Which function.
    #[prost(enumeration = "UnaryFunction", tag = "1")]
    pub function: i32,
    /// Its first parameter.
    #[prost(float, tag = "2")]
    pub alpha: f32,
    /// Its second parameter.
    #[prost(float, tag = "3")]
    pub beta: f32,
}

impl Operator for Unary {
    fn arity(&self) -> Arity {
        Arity::new(1, 1, 1)
    }

    fn since(&self) -> Since {
        Since::number(self.function, &[(39, Since::FIRST)])
    }

    fn newest(&self) -> u32 {
        1
    }

    fn attributes(&self) -> Result<(), Refusal> {
        known::<UnaryFunction>(self.function, "function")?;
        // Protobuf would lose the sign of a zero.
        let parameter = |x: f32| !x.is_nan() && (x != 0.0 || x.is_sign_positive());
        refuse_unless(parameter(self.alpha) && parameter(self.beta), Rule::G11, || {
            String::from("alpha or beta is no number, or -0")
        })
    }

    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let x = inputs.get(0)?;
        let expected = match self.function() {
            UnaryFunction::Not => DataType::Bool,
            _ => DataType::F32,
        };
        let (found, wanted) = (x.data_type.name(), expected.name());
        ensure!(
            x.data_type == expected,
            "{:?} takes {wanted}, its input is {found}",
            self.function()
        );
        // Of those with known elements, which are no floats, it is Not.
        let not = |dim: &Dim| Some(Dim::from(i64::from(dim.as_size()? == 0)));
        let y = Fact::new(x.data_type, x.dims.clone());
        Ok(vec![y.with_value(|| inputs.value(0)?.map(not))])
    }

    linear_work!();

    fn text(&self) -> String {
        use UnaryFunction as F;
        let function = self.function();
        match function {
            F::LeakyRelu | F::ThresholdedRelu | F::Elu | F::Celu => {
                format!("{function:?}({})", self.alpha)
            }
            F::Selu | F::HardSigmoid | F::ScaledTanh | F::Affine | F::Clip => {
                format!("{function:?}({}, {})", self.alpha, self.beta)
            }
            _ => format!("{function:?}"),
        }
    }
}

/// A function of two elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum BinaryFunction {
    /// `a + b`; integers wrap.
    Add = 0,
    /// `a - b`; integers wrap.
    Sub = 1,
    /// `a * b`; integers wrap.
    Mul = 2,
    /// `a / b`; integers are rounded towards zero and wrap, and division by zero is an error.
    Div = 3,
    /// `a^b`; integers wrap, a negative power is rounded towards zero, of 0 it is an error.
    Pow = 4,
    /// The smaller, b if they are equal; NaN if either is.
    Min = 5,
    /// The larger, b if they are equal; NaN if either is.
    Max = 6,
    /// `a` if `a >= 0`, else `a b`; f32.
    Prelu = 7,
    /// Bool: `a == b`, of any type.
    Equal = 8,
    /// Bool: `a < b`
    Less = 9,
    /// Bool: `a <= b`
    LessOrEqual = 10,
    /// Bool: `a > b`
    Greater = 11,
    /// Bool: `a >= b`
    GreaterOrEqual = 12,
    /// And, of bool or of each bit of integers.
    And = 13,
    /// Or, of bool or of each bit of integers.
    Or = 14,
    /// Exclusive or, of bool or of each bit of integers.
    Xor = 15,
    /// What is left of a divided by b, with the sign of a; of integers, b = 0 is an error.
    Remainder = 16,
    /// What is left of a divided by b, with the sign of b; of integers, b = 0 is an error.
    Modulo = 17,
    /// Integers: a with its bits moved up b places, zeros behind them.
    ShiftLeft = 18,
    /// Integers: a with its bits moved down b places, zeros or its sign before them.
    ShiftRight = 19,
}

/// A function of each pair of elements of a and b, broadcast together: floats or integers, where
/// its function states no other type.
///
/// Inputs: a, b, of one type. Outputs: y.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Binary {
    /// Which function.
    #[prost(enumeration = "BinaryFunction", tag = "1")]
    pub function: i32,
}

/// A function of two elements, where its result is certain.
fn of_known(function: BinaryFunction, a: &Dim, b: &Dim, sizes: &Sizes) -> Option<Dim> {
    use BinaryFunction as F;
    let truth = |holds: bool| Some(Dim::from(i64::from(holds)));
    match function {
        F::Add => a.add(b).ok(),
        F::Sub => a.sub(b).ok(),
        F::Mul => a.mul(b).ok(),
        F::Div => divide(a, b, sizes),
        F::Min => a.smaller(b).ok(),
        F::Max => a.larger(b).ok(),
        F::Equal => truth(compare(a, b, sizes)?.is_eq()),
        F::Less => truth(compare(a, b, sizes)?.is_lt()),
        F::LessOrEqual => truth(compare(a, b, sizes)?.is_le()),
        F::Greater => truth(compare(a, b, sizes)?.is_gt()),
        F::GreaterOrEqual => truth(compare(a, b, sizes)?.is_ge()),
        F::And => Some(Dim::from(a.as_size()? & b.as_size()?)),
        F::Or => Some(Dim::from(a.as_size()? | b.as_size()?)),
        F::Xor => Some(Dim::from(a.as_size()? ^ b.as_size()?)),
        F::Remainder => Some(Dim::from(a.as_size()?.checked_rem(b.as_size()?)?)),
        F::Modulo => {
            let (a, b) = (a.as_size()?, b.as_size()?);
            let left = a.checked_rem(b)?;
            Some(Dim::from(if left != 0 && (left < 0) != (b < 0) { left + b } else { left }))
        }
        F::Pow | F::Prelu | F::ShiftLeft | F::ShiftRight => None,
    }
}

impl Operator for Binary {
    fn arity(&self) -> Arity {
        Arity::new(2, 2, 1)
    }

    fn since(&self) -> Since {
        Since::number(self.function, &[(19, Since::FIRST)])
    }

    fn newest(&self) -> u32 {
        1
    }

    fn attributes(&self) -> Result<(), Refusal> {
        known::<BinaryFunction>(self.function, "function").map(drop)
    }

    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        use BinaryFunction as F;
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        let (left, right) = (a.data_type.name(), b.data_type.name());
        ensure!(left == right, "its inputs are {left} and {right}, they must be of one type");
        let (takes, data_type) = match self.function() {
            F::Add | F::Sub | F::Mul | F::Div | F::Pow | F::Min | F::Max => {
                (a.data_type != DataType::Bool, a.data_type)
            }
            F::Remainder | F::Modulo => (a.data_type != DataType::Bool, a.data_type),
            F::Prelu => (a.data_type == DataType::F32, a.data_type),
            F::Equal => (true, DataType::Bool),
            F::Less | F::LessOrEqual | F::Greater | F::GreaterOrEqual => {
                (a.data_type != DataType::Bool, DataType::Bool)
            }
            F::And | F::Or | F::Xor => (a.data_type != DataType::F32, a.data_type),
            F::ShiftLeft | F::ShiftRight => {
                (!matches!(a.data_type, DataType::F32 | DataType::Bool), a.data_type)
            }
        };
        ensure!(takes, "{:?} does not take {left}", self.function());
        let y = Fact::new(data_type, broadcast(&a.dims, &b.dims)?);
        Ok(vec![y.with_value(|| {
            let (a, b) = (inputs.value(0)?, inputs.value(1)?);
            a.zip(b, |a, b| of_known(self.function(), a, b, inputs.sizes))
        })])
    }

    linear_work!();

    fn text(&self) -> String {
        format!("{:?}", self.function())
    }
}

/// `a` where the condition holds, else `b`, all broadcast together.
///
/// Inputs: condition bool, a, b of one type. Outputs: y.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Select {}

impl Operator for Select {
    fn arity(&self) -> Arity {
        Arity::new(3, 3, 1)
    }

    unchanged!();

    fn attributes(&self) -> Result<(), Refusal> {
        Ok(())
    }

    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let (condition, a, b) = (inputs.get(0)?, inputs.get(1)?, inputs.get(2)?);
        let found = condition.data_type.name();
        ensure!(condition.data_type == DataType::Bool, "its condition is {found}, it must be bool");
        let (left, right) = (a.data_type.name(), b.data_type.name());
        ensure!(left == right, "it chooses between {left} and {right}, they must be of one type");
        let dims = broadcast(&condition.dims, &broadcast(&a.dims, &b.dims)?)?;
        let y = Fact::new(a.data_type, dims);
        Ok(vec![y.with_value(|| inputs.value(0)?.select(inputs.value(1)?, inputs.value(2)?))])
    }

    linear_work!();

    fn text(&self) -> String {
        String::from("Select")
    }
}

/// Elements in another type. From float to integer: rounded towards zero, at most to the ends of
/// the range, NaN to 0. From integer to float: to nearest, ties to even. From integer to a narrower
/// one: the low bits. All but zero is true, and true is 1.
///
/// Inputs: x. Outputs: y of the same shape.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Cast {
    /// The type.
    #[prost(enumeration = "DataType", tag = "1")]
    pub to: i32,
}

impl Operator for Cast {
    fn arity(&self) -> Arity {
        Arity::new(1, 1, 1)
    }

    fn since(&self) -> Since {
        Since::number(self.to, &[(9, Since::FIRST)])
    }

    fn newest(&self) -> u32 {
        1
    }

    fn attributes(&self) -> Result<(), Refusal> {
        known::<DataType>(self.to, "to").map(drop)
    }

    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let y = Fact::new(self.to(), inputs.get(0)?.dims.clone());
        Ok(vec![y.with_value(|| self.known(inputs.value(0)?, inputs.sizes))])
    }

    linear_work!();

    fn text(&self) -> String {
        format!("Cast({})", self.to().name())
    }
}

impl Cast {
    /// Known elements in the new type; a size with a name fits 32 bits.
    fn known(&self, elements: &Elements, sizes: &Sizes) -> Option<Elements> {
        elements.map(|dim| match (self.to(), dim.as_size()) {
            (DataType::F32, _) => None,
            (DataType::Bool, _) => {
                Some(Dim::from(i64::from(compare(dim, &Dim::from(0), sizes)?.is_ne())))
            }
            (to, Some(size)) => to.holds(size).then(|| dim.clone()),
            (DataType::I64 | DataType::I32, None) => Some(dim.clone()),
            (_, None) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_hold_for_every_size_or_are_not_made() {
        let (n, sizes) = (Dim::named("n"), Sizes::new());
        let holds = |function, a: &Dim, b: i64| {
            of_known(function, a, &Dim::from(b), &sizes).and_then(|dim| dim.as_size())
        };
        assert_eq!(holds(BinaryFunction::Equal, &n, -1), Some(0));
        assert_eq!(holds(BinaryFunction::Greater, &n, 0), Some(1));
        assert_eq!(holds(BinaryFunction::Equal, &n, 1), None);
        assert_eq!(holds(BinaryFunction::Less, &n, 2), None);
        let less = n.add(&Dim::from(-2)).unwrap();
        assert_eq!(holds(BinaryFunction::Equal, &less, -1), None);
        // A tensor's dimension is not negative, whatever its expression looks like.
        let sizes = Sizes::from([less.clone()]);
        let equal = of_known(BinaryFunction::Equal, &less, &Dim::from(-1), &sizes);
        assert_eq!(equal, Some(Dim::from(0)));
    }
}
