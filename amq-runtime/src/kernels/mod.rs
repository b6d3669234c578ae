//! Code for each instruction set, chosen once when a model is loaded.
//!
//! Kernels are written once: functions of elements as plain loops, compiled for each instruction set
//! by `Target::vectorize`; products and their quantization over sixteen lanes (`lanes`), whose
//! operations each instruction set implements, by `Target::run`. A multiply-add is fused where it says
//! so and nowhere else, and no sum has an order that depends on the instruction set, so all give the
//! same bits.

#[cfg(target_arch = "aarch64")]
mod aarch64;
pub(crate) mod codes;
pub(crate) mod float;
mod fma;
pub(crate) mod gates;
pub(crate) mod lanes;
pub(crate) mod layout;
pub(crate) mod math;
pub(crate) mod memory;
pub(crate) mod number;
pub(crate) mod one_by_one;
pub(crate) mod panels;
#[cfg(any(target_arch = "aarch64", all(target_arch = "wasm32", target_feature = "simd128")))]
mod quads;
pub(crate) mod tables;
mod target;
#[cfg(target_arch = "x86_64")]
mod together;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm32;
pub(crate) mod windows;
mod work;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub(crate) use fma::fma;
pub(crate) use lanes::NAN;
pub(crate) use target::Target;
pub use target::{Isa, vectorize};
pub(crate) use work::{BLOCK, Order, Output, Work, chain};
