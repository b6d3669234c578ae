//! What hostile bytes are tried on: [`targets`], by `cargo fuzz` or by the loop of the program `amq-fuzz`.
//!
//! A target takes bytes and gives a number that stands for what became of them: the same for the same fate. It panics where
//! a promise is broken.
#![forbid(unsafe_code)]

pub mod amq;
pub mod mutate;
pub mod random;
pub mod seeds;
pub mod targets;
pub mod wire;
