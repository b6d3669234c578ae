//! Convolution and pooling: what works on windows that move along spatial axes.

use super::Activations;
use alloc::vec::Vec;

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
