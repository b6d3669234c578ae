//! Parts of tensors, tensors in parts, and borders.

use crate::dim::Dim;
use alloc::vec::Vec;

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
