//! What decoding a graph will cost, found without decoding it.
//!
//! A few bytes of protobuf can stand for a large structure in memory (an empty node takes two), so
//! the message is first walked in place and what each field will take is added up.

use crate::error::{Error, Rule, within};
use crate::graph::{Dim, Graph, Node, Op, Port, State, Stream, Tensor};
use crate::limits::Limits;
use crate::operator::Held;
use crate::spec::MAX_NESTING;
use alloc::format;
use alloc::string::String;
use prost::encoding::{WireType, decode_key, decode_varint};

/// Messages that hold others; those that do not are counted where they stand.
#[derive(Clone, Copy)]
enum Message {
    Graph,
    Port,
    Node,
    /// An operator, with those of its fields that are messages.
    Operator(&'static [(u32, Held)]),
    Dim,
    DimExpr,
    Text,
    /// Numbers, or a message of strings and numbers alone.
    Leaf,
}

struct Costs<'a> {
    limits: &'a Limits,
    memory: u64,
    nodes: u64,
    values: u64,
}

/// Refuses a graph section that is no protobuf, or whose decoding would pass a limit.
pub(crate) fn scan(bytes: &[u8], limits: &Limits) -> Result<(), Error> {
    Costs { limits, memory: 0, nodes: 0, values: 0 }.message(Message::Graph, bytes, 0)
}

fn malformed(what: &str) -> Error {
    Error::invalid(Rule::G1, format!("the graph section {what}"))
}

/// Takes a varint off the bytes.
fn varint(bytes: &mut &[u8]) -> Result<u64, Error> {
    decode_varint(bytes).map_err(|_| malformed("ends early or has an overlong number"))
}

/// Takes a length and as many bytes off the bytes.
fn delimited<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Error> {
    let length = usize::try_from(varint(bytes)?).ok();
    let (content, rest) = length
        .and_then(|length| bytes.split_at_checked(length))
        .ok_or_else(|| malformed("ends inside a field"))?;
    *bytes = rest;
    Ok(content)
}

impl Costs<'_> {
    fn message(&mut self, message: Message, mut bytes: &[u8], depth: usize) -> Result<(), Error> {
        if depth > MAX_NESTING {
            return Err(malformed("nests messages too deeply"));
        }
        while !bytes.is_empty() {
            let (tag, wire) =
                decode_key(&mut bytes).map_err(|_| malformed("has a malformed field"))?;
            let content = match wire {
                WireType::Varint => {
                    varint(&mut bytes)?;
                    // A repeated number that is not packed.
                    self.spend(8)?;
                    continue;
                }
                WireType::ThirtyTwoBit | WireType::SixtyFourBit => {
                    let size = if wire == WireType::ThirtyTwoBit { 4 } else { 8 };
                    bytes = bytes.get(size..).ok_or_else(|| malformed("ends inside a field"))?;
                    self.spend(8)?;
                    continue;
                }
                WireType::LengthDelimited => delimited(&mut bytes)?,
                WireType::StartGroup | WireType::EndGroup => {
                    return Err(malformed("has a protobuf group"));
                }
            };
            let (inner, size) = self.field(message, tag)?;
            self.spend(size as u64)?;
            match inner {
                Message::Text => self.spend(content.len() as u64)?,
                // Each byte may be a packed number, which takes at most eight.
                Message::Leaf => self.spend(8 * content.len() as u64)?,
                inner => self.message(inner, content, depth + 1)?,
            }
        }
        Ok(())
    }

    /// What a field of bytes holds, and the memory that it takes apart from those.
    fn field(&mut self, message: Message, tag: u32) -> Result<(Message, usize), Error> {
        Ok(match (message, tag) {
            (Message::Graph, 1) => {
                self.values += 1;
                within("values", self.values, self.limits.values)?;
                (Message::Text, size_of::<String>())
            }
            (Message::Graph, 2 | 3) => (Message::Port, size_of::<Port>()),
            (Message::Graph, 4) => (Message::Leaf, size_of::<Tensor>()),
            (Message::Graph, 5) => {
                self.nodes += 1;
                within("nodes", self.nodes, self.limits.nodes)?;
                (Message::Node, size_of::<Node>())
            }
            (Message::Graph, 6) => (Message::Leaf, size_of::<State>()),
            (Message::Graph, 7) => (Message::Leaf, size_of::<Stream>()),
            (Message::Node, 1) | (Message::Dim, 2) => (Message::Text, 0),
            (Message::Node, 5) => (Message::Graph, size_of::<Graph>()),
            (Message::Node, 6) => (Message::Text, size_of::<String>()),
            (Message::Node, tag) => match Op::messages(tag) {
                Some((fields, beside)) => (Message::Operator(fields), beside),
                None => (Message::Leaf, 0),
            },
            (Message::Operator(fields), tag) => {
                match fields.iter().find(|(field, _)| *field == tag) {
                    Some((_, Held::Dims)) => (Message::Dim, size_of::<Dim>()),
                    Some((_, Held::Numbers(size))) => (Message::Leaf, *size),
                    None => (Message::Leaf, 0),
                }
            }
            (Message::Port, 3) | (Message::DimExpr, 2) => (Message::Dim, size_of::<Dim>()),
            (Message::Dim, 3) => (Message::DimExpr, 0),
            _ => (Message::Leaf, 0),
        })
    }

    fn spend(&mut self, bytes: u64) -> Result<(), Error> {
        self.memory = self.memory.saturating_add(bytes);
        within("graph_memory", self.memory, self.limits.graph_memory)
    }
}
