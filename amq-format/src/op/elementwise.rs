//! Functions of each element, of pairs of elements, and choices between them.

use crate::value::DataType;

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
    /// Logical and, of bool.
    And = 13,
    /// Logical or, of bool.
    Or = 14,
    /// Logical exclusive or, of bool.
    Xor = 15,
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

/// `a` where the condition holds, else `b`, all broadcast together.
///
/// Inputs: condition bool, a, b of one type. Outputs: y.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Select {}

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
