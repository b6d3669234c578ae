//! What an `.amq` file is.
//!
//! `docs/format.md` in the repository is the specification; this crate reads, validates and writes
//! such files. Only a validated file gives access to its contents.
//!
//! ```
//! use amq_format::graph::{DataType, Dim, Graph, Node, Op, Port, Unary, UnaryFunction};
//! use amq_format::{Draft, Validated, write};
//!
//! let port = |value| Port {
//!     value,
//!     data_type: DataType::F32 as i32,
//!     dims: vec![Dim::named("n"), 3.into()],
//!     ..Port::default()
//! };
//! let relu = Unary { function: UnaryFunction::Relu as i32, alpha: 0.0, beta: 0.0 };
//! let graph = Graph {
//!     values: vec!["".into(), "x".into(), "y".into()],
//!     inputs: vec![port(1)],
//!     outputs: vec![port(2)],
//!     nodes: vec![Node {
//!         name: "relu".into(),
//!         inputs: vec![1],
//!         outputs: vec![2],
//!         version: 1,
//!         op: Some(Op::Unary(relu)),
//!         ..Node::default()
//!     }],
//!     ..Graph::default()
//! };
//! let file = write(Draft { graph, ..Draft::default() })?;
//! let read = Validated::new(&file)?;
//! assert_eq!(read.graph().values[2], "y");
//! # Ok::<(), amq_format::Error>(())
//! ```
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod activations;
mod carried;
mod digest;
mod dim;
mod error;
mod fact;
mod fault;
pub mod graph;
mod header;
mod infer;
mod known;
mod limits;
mod network;
mod op;
pub mod operator;
mod read;
mod scan;
mod section;
mod since;
pub mod spec;
mod tensor;
mod validate;
mod value;
mod write;

pub use error::{Error, Quoted, Rule};
pub use fact::{Fact, Facts, list};
pub use fault::{Fault, Refusal};
pub use infer::Inference;
pub use known::{Elements, MAX_KNOWN};
pub use limits::Limits;
pub use network::Network;
pub use read::Validated;
pub use section::Section;
pub use tensor::{MultiBitView, PlainView, TensorView, multi_bit_bytes};
pub use write::{Draft, encode, write, write_with};
