//! The operators that a file can hold, a file a family.

use alloc::boxed::Box;

mod elementwise;
mod layout;
mod parts;
mod product;
mod recurrent;
mod reduce;
mod window;

pub use elementwise::{Binary, BinaryFunction, Cast, Select, Unary, UnaryFunction};
pub use layout::{Dims, Expand, Reshape, Transpose};
pub use parts::{Concat, Gather, Pad, PadMode, Slice};
pub use product::{Activations, Linear, MatMul};
pub use recurrent::{Cell, Direction, Recurrent};
pub use reduce::{Reduce, ReduceKind, Softmax};
pub use window::{AutoPad, Conv, Pool, PoolKind};

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
