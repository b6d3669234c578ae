//! Runs `.amq` files.
#![cfg_attr(not(feature = "std"), no_std)]

#[cfg(feature = "std")]
extern crate std;

extern crate alloc;

pub mod kernels;
mod matrix;
mod ops;
mod quantize;
