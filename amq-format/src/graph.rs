//! The graph: the operators that an `.amq` file can hold, as protobuf messages.
//!
//! `proto/amq.proto` is the normative schema; a test holds the two together. These types are also
//! the compiler's intermediate representation, so an operator is declared once, here.
//!
//! Values are numbered by their place in [`Graph::values`]. Number 0 is the absent value, whose
//! name is empty: an operator's input or output that is not there.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

pub use crate::dim::{Dim, DimError, DimOp};

/// Number of a value: its index in [`Graph::values`].
pub type ValueId = u32;

/// The value that is not there.
pub const ABSENT: ValueId = 0;

/// A network: constants, operators in an order in which they can run, inputs and outputs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Graph {
    /// Names of the values. The first is empty and stands for [`ABSENT`]; the others are unique.
    #[prost(string, repeated, tag = "1")]
    pub values: Vec<String>,
    /// The graph's inputs, in the order of the source model.
    #[prost(message, repeated, tag = "2")]
    pub inputs: Vec<Port>,
    /// The graph's outputs, in the order of the source model.
    #[prost(message, repeated, tag = "3")]
    pub outputs: Vec<Port>,
    /// Constants, each in a section of its own.
    #[prost(message, repeated, tag = "4")]
    pub tensors: Vec<Tensor>,
    /// Operators; each reads only inputs, constants and outputs of those before it.
    #[prost(message, repeated, tag = "5")]
    pub nodes: Vec<Node>,
    /// What a stream carries from one call to the next.
    #[prost(message, repeated, tag = "6")]
    pub states: Vec<State>,
    /// Inputs and outputs that are sequences, and which of their axes is time.
    #[prost(message, repeated, tag = "7")]
    pub streams: Vec<Stream>,
}

/// An input or output of the graph.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Port {
    /// Which value.
    #[prost(uint32, tag = "1")]
    pub value: ValueId,
    /// Type of its elements.
    #[prost(enumeration = "DataType", tag = "2")]
    pub data_type: i32,
    /// Its shape. Names in the inputs' shapes are the names that every other dimension is made of.
    #[prost(message, repeated, tag = "3")]
    pub dims: Vec<Dim>,
}

/// Type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum DataType {
    /// IEEE 754 binary32.
    F32 = 0,
    /// Signed 64-bit integer.
    I64 = 1,
    /// Signed 32-bit integer.
    I32 = 2,
    /// Unsigned 8-bit integer.
    U8 = 3,
    /// Signed 8-bit integer.
    I8 = 4,
    /// A byte that is 0 or 1.
    Bool = 5,
}

impl DataType {
    /// Bytes an element takes.
    pub fn size(self) -> usize {
        match self {
            DataType::I64 => 8,
            DataType::F32 | DataType::I32 => 4,
            DataType::U8 | DataType::I8 | DataType::Bool => 1,
        }
    }

    /// The name that errors and listings use, such as `f32`.
    pub fn name(self) -> &'static str {
        match self {
            DataType::F32 => "f32",
            DataType::I64 => "i64",
            DataType::I32 => "i32",
            DataType::U8 => "u8",
            DataType::I8 => "i8",
            DataType::Bool => "bool",
        }
    }
}

/// A constant.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Tensor {
    /// Which value it gives.
    #[prost(uint32, tag = "1")]
    pub value: ValueId,
    /// Type of its elements; `F32` where it is multi-bit.
    #[prost(enumeration = "DataType", tag = "2")]
    pub data_type: i32,
    /// Its shape.
    #[prost(uint64, repeated, tag = "3")]
    pub dims: Vec<u64>,
    /// Index in the section table of the section that holds its data; the graph's is 0.
    #[prost(uint32, tag = "4")]
    pub section: u32,
    /// How it is coded, if it is not stored as plain elements.
    #[prost(message, optional, tag = "5")]
    pub multi_bit: Option<MultiBit>,
}

/// A matrix of which each row, or each group of columns in a row, is a sum of `bits` scaled codes:
/// `w = sum_i a_i b_i + c`, `b_i` in {-1, +1}.
///
/// The section holds the planes, `u64` words in order `[plane][row][word]`, then the coefficients
/// in order `[row][group][plane]`, then, if `offset` is set, the offsets `c` in order
/// `[row][group]`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MultiBit {
    /// Codes a row: 1 to 8.
    #[prost(uint32, tag = "1")]
    pub bits: u32,
    /// Rows of the matrix; its columns are the tensor's elements divided by its rows.
    #[prost(uint64, tag = "2")]
    pub rows: u64,
    /// Columns that share coefficients, a multiple of 64; 0 stands for the whole row.
    #[prost(uint64, tag = "3")]
    pub group: u64,
    /// Type of the coefficients and offsets.
    #[prost(enumeration = "CoefficientType", tag = "4")]
    pub coefficients: i32,
    /// Whether each row or group has an offset.
    #[prost(bool, tag = "5")]
    pub offset: bool,
}

/// Type of a multi-bit tensor's coefficients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum CoefficientType {
    /// IEEE 754 binary16.
    F16 = 0,
    /// IEEE 754 binary32.
    F32 = 1,
}

/// A value that a stream carries from one call to the next.
#[derive(Clone, PartialEq, prost::Message)]
pub struct State {
    /// Its name: that of the input.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The graph input that takes it.
    #[prost(uint32, tag = "2")]
    pub input: ValueId,
    /// The graph output that gives its next value.
    #[prost(uint32, tag = "3")]
    pub output: ValueId,
    /// The constant that it starts from; [`ABSENT`] stands for zeros.
    #[prost(uint32, tag = "4")]
    pub initial: ValueId,
}

/// An input or output that is a sequence.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Stream {
    /// Which input or output.
    #[prost(uint32, tag = "1")]
    pub value: ValueId,
    /// The axis along which steps follow each other.
    #[prost(uint32, tag = "2")]
    pub time_axis: u32,
    /// The axis of independent sequences, if there is one.
    #[prost(uint32, optional, tag = "3")]
    pub batch_axis: Option<u32>,
}

/// One operator with its inputs and outputs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Node {
    /// Name of the source node, or `Op_index` where it has none.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Values it reads, in the order that its operator states.
    #[prost(uint32, repeated, tag = "2")]
    pub inputs: Vec<ValueId>,
    /// Values it gives, in the order that its operator states.
    #[prost(uint32, repeated, tag = "3")]
    pub outputs: Vec<ValueId>,
    /// Version of the operator.
    #[prost(uint32, tag = "4")]
    pub version: u32,
    /// Bodies of control flow. No operator of format 1.0 has any.
    #[prost(message, repeated, tag = "5")]
    pub bodies: Vec<Graph>,
    /// What it computes. Operators of later versions have numbers from 35 on.
    #[prost(
        oneof = "Op",
        tags = "16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34"
    )]
    pub op: Option<Op>,
}

/// An operator with its attributes. Inputs and outputs are listed in each operator's words.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Op {
    /// Product with a constant matrix.
    #[prost(message, tag = "16")]
    Linear(Linear),
    /// Product of two tensors of activations.
    #[prost(message, tag = "17")]
    MatMul(MatMul),
    /// Convolution.
    #[prost(message, tag = "18")]
    Conv(Conv),
    /// Pooling over windows.
    #[prost(message, tag = "19")]
    Pool(Pool),
    /// LSTM, GRU or RNN layer. Boxed, because it is by far the largest.
    #[prost(message, tag = "20")]
    Recurrent(Box<Recurrent>),
    /// Entries of a tensor, chosen by indices.
    #[prost(message, tag = "21")]
    Gather(Gather),
    /// A function of each element.
    #[prost(message, tag = "22")]
    Unary(Unary),
    /// A function of each pair of elements.
    #[prost(message, tag = "23")]
    Binary(Binary),
    /// A choice between each pair of elements.
    #[prost(message, tag = "24")]
    Select(Select),
    /// A reduction over axes.
    #[prost(message, tag = "25")]
    Reduce(Reduce),
    /// Softmax or its logarithm.
    #[prost(message, tag = "26")]
    Softmax(Softmax),
    /// Tensors one after the other.
    #[prost(message, tag = "27")]
    Concat(Concat),
    /// Parts of a tensor.
    #[prost(message, tag = "28")]
    Slice(Slice),
    /// The same elements in another shape.
    #[prost(message, tag = "29")]
    Reshape(Reshape),
    /// The same elements with axes exchanged.
    #[prost(message, tag = "30")]
    Transpose(Transpose),
    /// A tensor with borders added.
    #[prost(message, tag = "31")]
    Pad(Pad),
    /// A tensor broadcast to a shape.
    #[prost(message, tag = "32")]
    Expand(Expand),
    /// Elements in another type.
    #[prost(message, tag = "33")]
    Cast(Cast),
    /// Sizes of dimensions as data.
    #[prost(message, tag = "34")]
    Dims(Dims),
}

/// How activations enter a product with multi-bit weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Activations {
    /// As they are: the weights are decoded.
    F32 = 0,
    /// By tables of signed sums of four, each an 8-bit integer.
    Int8 = 1,
    /// By one code.
    Codes1 = 2,
    /// By two codes.
    Codes2 = 3,
    /// By three codes.
    Codes3 = 4,
    /// By four codes.
    Codes4 = 5,
}

impl Activations {
    /// Number of codes, where activations are coded.
    pub fn codes(self) -> Option<usize> {
        match self {
            Activations::F32 | Activations::Int8 => None,
            Activations::Codes1 => Some(1),
            Activations::Codes2 => Some(2),
            Activations::Codes3 => Some(3),
            Activations::Codes4 => Some(4),
        }
    }

    /// The name that the command line uses: `f32`, `int8` or the number of codes.
    pub fn name(self) -> &'static str {
        match self {
            Activations::F32 => "f32",
            Activations::Int8 => "int8",
            Activations::Codes1 => "1",
            Activations::Codes2 => "2",
            Activations::Codes3 => "3",
            Activations::Codes4 => "4",
        }
    }

    /// The kind that errors name: `f32`, `int8` or the number of codes, such as `2-code`.
    pub fn adjective(self) -> &'static str {
        match self {
            Activations::F32 => "f32",
            Activations::Int8 => "int8",
            Activations::Codes1 => "1-code",
            Activations::Codes2 => "2-code",
            Activations::Codes3 => "3-code",
            Activations::Codes4 => "4-code",
        }
    }
}

/// `y = x W^T + bias` over the last axis of x.
///
/// Inputs: x `[.., n]` f32, W constant `[m, n]`, bias constant `[m]` (may be absent).
/// Outputs: y `[.., m]`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Linear {
    /// How x enters the product; `F32` where W is plain.
    #[prost(enumeration = "Activations", tag = "1")]
    pub activations: i32,
}

/// Matrix product of a `[.., m, n]` and b `[.., n, p]` with broadcast of the leading axes; a vector
/// on either side is a row on the left, a column on the right, and its axis leaves the result.
///
/// Inputs: a, b, f32. Outputs: `[.., m, p]`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MatMul {}

/// How the borders of a window are padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum AutoPad {
    /// By the sizes that are given.
    Explicit = 0,
    /// So that the output has `ceil(input / stride)` positions, an odd border at the end.
    SameUpper = 1,
    /// The same, an odd border at the beginning.
    SameLower = 2,
}

/// Convolution (cross-correlation) over one or two spatial axes.
///
/// Inputs: x `[N, C, spatial..]` f32, W constant `[M, C/groups, kernel..]`, bias constant `[M]`
/// (may be absent). Outputs: y `[N, M, spatial..]`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Conv {
    /// Step of the window along each spatial axis.
    #[prost(uint64, repeated, tag = "1")]
    pub strides: Vec<u64>,
    /// Distance between the window's elements along each spatial axis.
    #[prost(uint64, repeated, tag = "2")]
    pub dilations: Vec<u64>,
    /// Zeros at the beginning of each spatial axis, then at the end of each.
    #[prost(uint64, repeated, tag = "3")]
    pub pads: Vec<u64>,
    /// Where pads come from; they are zero unless `Explicit`.
    #[prost(enumeration = "AutoPad", tag = "4")]
    pub auto_pad: i32,
    /// Groups that the channels are divided into.
    #[prost(uint64, tag = "5")]
    pub groups: u64,
    /// How x enters the product; `F32` where W is plain.
    #[prost(enumeration = "Activations", tag = "6")]
    pub activations: i32,
}

/// What pooling computes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum PoolKind {
    /// The largest element.
    Max = 0,
    /// The mean.
    Average = 1,
}

/// Pooling over windows of one or two spatial axes.
///
/// Inputs: x `[N, C, spatial..]` f32. Outputs: y `[N, C, spatial..]`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Pool {
    /// What is computed of a window.
    #[prost(enumeration = "PoolKind", tag = "1")]
    pub kind: i32,
    /// Size of the window along each spatial axis.
    #[prost(uint64, repeated, tag = "2")]
    pub kernel: Vec<u64>,
    /// As in [`Conv`].
    #[prost(uint64, repeated, tag = "3")]
    pub strides: Vec<u64>,
    /// As in [`Conv`].
    #[prost(uint64, repeated, tag = "4")]
    pub dilations: Vec<u64>,
    /// As in [`Conv`].
    #[prost(uint64, repeated, tag = "5")]
    pub pads: Vec<u64>,
    /// As in [`Conv`].
    #[prost(enumeration = "AutoPad", tag = "6")]
    pub auto_pad: i32,
    /// Whether a last window that does not fit whole still counts.
    #[prost(bool, tag = "7")]
    pub ceil_mode: bool,
    /// Whether a mean counts the border's zeros.
    #[prost(bool, tag = "8")]
    pub count_include_pad: bool,
}

/// Which recurrence a layer computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Cell {
    /// Gates in order i, o, f, c.
    Lstm = 0,
    /// Gates in order z, r, h.
    Gru = 1,
    /// One gate.
    Rnn = 2,
}

impl Cell {
    /// Gates a cell has: rows of W and R are this many times the hidden size.
    pub fn gates(self) -> usize {
        match self {
            Cell::Lstm => 4,
            Cell::Gru => 3,
            Cell::Rnn => 1,
        }
    }
}

/// In which order a layer reads the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Direction {
    /// From the first step.
    Forward = 0,
    /// From the last step of each sequence.
    Reverse = 1,
    /// Both, each with its own weights.
    Bidirectional = 2,
}

impl Direction {
    /// Directions that the layer has weights for.
    pub fn count(self) -> usize {
        if self == Direction::Bidirectional { 2 } else { 1 }
    }
}

/// An LSTM, GRU or RNN layer, as ONNX defines them (layout 0).
///
/// Inputs, with S steps, N sequences, D directions, H hidden units, G gates:
/// X `[S, N, I]`, W constant `[D, G*H, I]`, R constant `[D, G*H, H]`, B constant `[D, 2*G*H]`,
/// sequence_lens `[N]` i32, initial_h `[D, N, H]`, initial_c `[D, N, H]` (LSTM), P constant
/// `[D, 3*H]` in order i, o, f (LSTM). All but X, W and R may be absent, and trailing ones missing;
/// GRU and RNN have the first six.
///
/// Outputs: Y `[S, D, N, H]`, Y_h `[D, N, H]`, Y_c `[D, N, H]` (LSTM). Each may be absent, but not
/// all.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Recurrent {
    /// Which recurrence.
    #[prost(enumeration = "Cell", tag = "1")]
    pub cell: i32,
    /// H.
    #[prost(uint64, tag = "2")]
    pub hidden_size: u64,
    /// Which order.
    #[prost(enumeration = "Direction", tag = "3")]
    pub direction: i32,
    /// Functions of the gates: f, g, h for LSTM, f, g for GRU, f for RNN, for each direction.
    #[prost(message, repeated, tag = "4")]
    pub functions: Vec<Unary>,
    /// Bound of the gates' sums before their functions.
    #[prost(float, optional, tag = "5")]
    pub clip: Option<f32>,
    /// LSTM: the forget gate is 1 minus the input gate.
    #[prost(bool, tag = "6")]
    pub input_forget: bool,
    /// GRU: the reset gate multiplies the product with R, not its input.
    #[prost(bool, tag = "7")]
    pub linear_before_reset: bool,
    /// How x_t and h_t enter the products with those of W and R that are multi-bit.
    #[prost(enumeration = "Activations", tag = "8")]
    pub activations: i32,
}

/// Entries of x along an axis, at the indices.
///
/// Inputs: x (a multi-bit table if axis is 0), indices i32 or i64, negative ones from the end.
/// Outputs: x's shape with the axis replaced by the indices' shape.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Gather {
    /// The axis.
    #[prost(uint32, tag = "1")]
    pub axis: u32,
}

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

/// What a reduction computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum ReduceKind {
    /// Sum.
    Sum = 0,
    /// Arithmetic mean.
    Mean = 1,
    /// Largest.
    Max = 2,
    /// Smallest.
    Min = 3,
}

/// A reduction of x over axes.
///
/// Inputs: x f32. Outputs: y.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reduce {
    /// What is computed.
    #[prost(enumeration = "ReduceKind", tag = "1")]
    pub kind: i32,
    /// Axes, ascending.
    #[prost(uint32, repeated, tag = "2")]
    pub axes: Vec<u32>,
    /// Whether reduced axes stay, with size 1.
    #[prost(bool, tag = "3")]
    pub keep_dims: bool,
}

/// Softmax along an axis, or its logarithm.
///
/// Inputs: x f32. Outputs: y of the same shape.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Softmax {
    /// The axis.
    #[prost(uint32, tag = "1")]
    pub axis: u32,
    /// Whether the logarithm is wanted.
    #[prost(bool, tag = "2")]
    pub log: bool,
}

/// Tensors of one type one after the other along an axis.
///
/// Inputs: one or more. Outputs: y.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Concat {
    /// The axis.
    #[prost(uint32, tag = "1")]
    pub axis: u32,
}

/// Every step-th entry of x from start to end along each of some axes.
///
/// Bounds are as in ONNX: negative ones count from the end, all are clamped.
///
/// Inputs: x. Outputs: y.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Slice {
    /// The axes.
    #[prost(uint32, repeated, tag = "1")]
    pub axes: Vec<u32>,
    /// First entry, for each axis.
    #[prost(message, repeated, tag = "2")]
    pub starts: Vec<Dim>,
    /// End, excluded, for each axis.
    #[prost(message, repeated, tag = "3")]
    pub ends: Vec<Dim>,
    /// Step, not 0, for each axis.
    #[prost(sint64, repeated, tag = "4")]
    pub steps: Vec<i64>,
}

/// The elements of x in another shape.
///
/// Inputs: x. Outputs: y.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reshape {
    /// The shape.
    #[prost(message, repeated, tag = "1")]
    pub dims: Vec<Dim>,
}

/// x with its axes in another order.
///
/// Inputs: x. Outputs: y, whose axis i is x's axis `perm[i]`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Transpose {
    /// The order.
    #[prost(uint32, repeated, tag = "1")]
    pub perm: Vec<u32>,
}

/// What a border holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum PadMode {
    /// One value.
    Constant = 0,
    /// The tensor mirrored at its first and last entry, those not repeated.
    Reflect = 1,
    /// The first or last entry.
    Edge = 2,
    /// The tensor again, from its other end.
    Wrap = 3,
}

/// x with entries added, or with negative sizes taken away, at both ends of each axis. Borders are
/// made of what is left, which is repeated where they are longer.
///
/// Inputs: x, value (one element of x's type, may be absent: zero). Outputs: y.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Pad {
    /// What the border holds.
    #[prost(enumeration = "PadMode", tag = "1")]
    pub mode: i32,
    /// Entries at the beginning of each axis.
    #[prost(message, repeated, tag = "2")]
    pub begins: Vec<Dim>,
    /// Entries at the end of each axis.
    #[prost(message, repeated, tag = "3")]
    pub ends: Vec<Dim>,
}

/// x broadcast together with a shape.
///
/// Inputs: x. Outputs: y.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Expand {
    /// The shape.
    #[prost(message, repeated, tag = "1")]
    pub dims: Vec<Dim>,
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

/// Sizes of dimensions as a vector of i64.
///
/// Inputs: none. Outputs: y `[dims.len()]`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Dims {
    /// The sizes.
    #[prost(message, repeated, tag = "1")]
    pub dims: Vec<Dim>,
}
