//! The amq compiler.

pub mod quant;
