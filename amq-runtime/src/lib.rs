//! Runs `.amq` files: networks with weights of a few bits, on any CPU.
//!
//! A [`Model`] is loaded once and shared; each stream has a [`Session`] of its own.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use amq_runtime::{Model, Session, View};
//!
//! let model = Arc::new(Model::load(&amq_runtime::read("model.amq")?)?);
//! let mut session = Session::new(model);
//! let outputs = session.step(&[("tokens", View::i64(&[1, 1], &[42]))])?;
//! if let Some(logits) = outputs.get("logits").and_then(|view| view.as_f32()) {
//!     assert!(!logits.is_empty());
//! }
//! # Ok(())
//! # }
//! ```
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

#[cfg(feature = "std")]
extern crate std;

extern crate alloc;

mod arena;
mod batch;
mod call;
mod compute;
mod constant;
mod error;
#[cfg(feature = "std")]
mod file;
mod frame;
mod fuse;
mod infer;
#[allow(unsafe_code, reason = "instructions of a CPU, and memory that is filled in place")]
mod kernels;
mod model;
mod ops;
mod plan;
mod probe;
mod product;
mod program;
mod quantize;
mod registers;
mod schedule;
mod session;
mod shape;
mod sizes;
mod values;
mod view;
mod weights;
mod workers;

/// The file, in whose types models tell of their inputs and outputs.
pub use amq_format;
pub use batch::{Batch, StreamId};
pub use error::{Error, Misfit, MisfitKind};
#[cfg(feature = "std")]
pub use file::read;
pub use kernels::{Isa, vectorize};
pub use model::{LoadOptions, Model, StatePort};
pub use probe::{Part, Probe, Product};
pub use program::Port;
pub use quantize::{approximate, approximate_telling};
pub use session::{MemoryTaken, Outputs, Session};
pub use view::{Data, View};
#[cfg(feature = "std")]
pub use workers::Threads;
pub use workers::Workers;

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Model>();
    shared::<Session>();
};
