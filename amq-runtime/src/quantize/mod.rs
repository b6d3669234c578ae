//! Activations made into codes or tables while a model runs.
//!
//! docs/format.md states the arithmetic to the bit.

mod approximate;
mod codes;
mod int8;

pub use approximate::{approximate, approximate_telling};
pub(crate) use codes::Code;
pub(crate) use int8::Tabulate;
