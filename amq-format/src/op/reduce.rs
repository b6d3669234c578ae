//! Reductions over axes, and softmax.

use alloc::vec::Vec;

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
