//! What an `.amq` file is.
//!
//! `docs/format.md` in the repository is the specification; this crate reads, validates and writes
//! such files. Only a validated file gives access to its contents.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod digest;
mod dim;
mod error;
pub mod graph;
mod header;
mod limits;
mod read;
mod scan;
mod section;
pub mod spec;
mod tensor;
mod validate;
mod write;

pub use error::{Error, Rule};
pub use limits::Limits;
pub use read::Validated;
pub use section::Section;
pub use tensor::{MultiBitView, PlainView, TensorView, multi_bit_bytes};
pub use write::{Draft, write, write_with};
