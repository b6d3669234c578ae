//! The graph as protobuf messages; its operators are in `op`.
//!
//! `proto/amq.proto` is the normative schema; a test holds the two together. These types are also
//! the compiler's intermediate representation, so an operator is declared once.
//!
//! Values are numbered by their place in [`Graph::values`]. Number 0 is the absent value, whose
//! name is empty: an operator's input or output that is not there.

use crate::for_each_operator;
use alloc::string::String;
use alloc::vec::Vec;

pub use crate::activations::Activations;
pub use crate::dim::{Dim, DimError, DimOp};
pub use crate::op::*;
pub use crate::value::*;

/// A network: constants, operators in an order in which they can run, inputs and outputs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Graph {
    /// Names of the values. The first is empty and stands for [`ABSENT`]; the others are unique.
    #[prost(string, repeated, tag = "1")]
    pub values: Vec<String>,
    /// The graph's inputs, in the order of the source model.
    #[prost(message, repeated, tag = "2")]
    pub inputs: Vec<Port>,
    /// The graph's outputs, in the order of the source model.
    #[prost(message, repeated, tag = "3")]
    pub outputs: Vec<Port>,
    /// Constants, each in a section of its own.
    #[prost(message, repeated, tag = "4")]
    pub tensors: Vec<Tensor>,
    /// Operators; each reads only inputs, constants and outputs of those before it.
    #[prost(message, repeated, tag = "5")]
    pub nodes: Vec<Node>,
    /// What a stream carries from one call to the next.
    #[prost(message, repeated, tag = "6")]
    pub states: Vec<State>,
    /// Inputs and outputs that are sequences, and which of their axes is time.
    #[prost(message, repeated, tag = "7")]
    pub streams: Vec<Stream>,
}

/// An input or output of the graph.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Port {
    /// Which value.
    #[prost(uint32, tag = "1")]
    pub value: ValueId,
    /// Type of its elements.
    #[prost(enumeration = "DataType", tag = "2")]
    pub data_type: i32,
    /// Its shape. Names in the inputs' shapes are the names that every other dimension is made of.
    #[prost(message, repeated, tag = "3")]
    pub dims: Vec<Dim>,
    /// Float type that it has in the source model. Elements are f32 all the same: an output's are numbers of this type.
    #[prost(enumeration = "Precision", tag = "4")]
    pub precision: i32,
}

impl Port {
    /// The name of its type in the source model, such as `f16`.
    pub fn type_name(&self) -> &'static str {
        match self.precision() {
            Precision::F32 => self.data_type().name(),
            Precision::F16 => "f16",
            Precision::Bf16 => "bf16",
        }
    }
}

/// A value that a stream carries from one call to the next.
#[derive(Clone, PartialEq, prost::Message)]
pub struct State {
    /// Its name: that of the input.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The graph input that takes it.
    #[prost(uint32, tag = "2")]
    pub input: ValueId,
    /// The graph output that gives its next value.
    #[prost(uint32, tag = "3")]
    pub output: ValueId,
    /// The constant that it starts from; [`ABSENT`] stands for zeros.
    #[prost(uint32, tag = "4")]
    pub initial: ValueId,
}

/// An input or output that is a sequence.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Stream {
    /// Which input or output.
    #[prost(uint32, tag = "1")]
    pub value: ValueId,
    /// The axis along which steps follow each other.
    #[prost(uint32, tag = "2")]
    pub time_axis: u32,
    /// The axis of independent sequences, if there is one.
    #[prost(uint32, optional, tag = "3")]
    pub batch_axis: Option<u32>,
}

macro_rules! node {
    ($($tag:tt $name:ident($($held:tt)*),)*) => {
        /// One operator with its inputs and outputs.
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct Node {
            /// Name of the source node, or `Op_index` where it has none.
            #[prost(string, tag = "1")]
            pub name: String,
            /// Values it reads, in the order that its operator states.
            #[prost(uint32, repeated, tag = "2")]
            pub inputs: Vec<ValueId>,
            /// Values it gives, in the order that its operator states.
            #[prost(uint32, repeated, tag = "3")]
            pub outputs: Vec<ValueId>,
            /// Version of the operator.
            #[prost(uint32, tag = "4")]
            pub version: u32,
            /// Graphs that its operator runs: closed, what they read are inputs of theirs.
            #[prost(message, repeated, tag = "5")]
            pub bodies: Vec<Graph>,
            /// Names of the sizes that it gives when it runs.
            #[prost(string, repeated, tag = "6")]
            pub binds: Vec<String>,
            /// What it computes. Operators of later versions have numbers above those here.
            #[prost(oneof = "Op", tags($($tag),*))]
            pub op: Option<Op>,
        }
    };
}

for_each_operator!(node);
