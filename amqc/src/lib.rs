//! The amq compiler.

pub mod cli;
pub mod compile;
pub mod data;
pub mod error;
pub mod eval;
pub mod options;
pub mod quant;
pub mod recipe;
pub mod report;

pub use error::{Error, ErrorKind, Result};
