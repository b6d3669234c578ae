//! What an `.amq` file is.
//!
//! `docs/format.md` in the repository is the specification; this crate reads, validates and writes
//! such files. Only a validated file gives access to its contents.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod dim;
pub mod graph;
