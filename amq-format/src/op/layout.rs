//! The same elements in another shape or order, and shapes as data.

use crate::dim::Dim;
use alloc::vec::Vec;

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

/// x broadcast together with a shape.
///
/// Inputs: x. Outputs: y.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Expand {
    /// The shape.
    #[prost(message, repeated, tag = "1")]
    pub dims: Vec<Dim>,
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
