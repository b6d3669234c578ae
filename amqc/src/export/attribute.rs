//! Attributes of ONNX nodes.

use prost::bytes::Bytes;

use crate::onnx::proto::{AttributeProto, AttributeType};

fn attribute(name: &str, r#type: AttributeType) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: r#type as i32, ..AttributeProto::default() }
}

pub(super) fn int(name: &str, i: impl Into<i64>) -> AttributeProto {
    AttributeProto { i: i.into(), ..attribute(name, AttributeType::Int) }
}

pub(super) fn ints(name: &str, all: &[u64]) -> AttributeProto {
    let ints = all.iter().map(|&i| i as i64).collect();
    AttributeProto { ints, ..attribute(name, AttributeType::Ints) }
}

pub(super) fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { f, ..attribute(name, AttributeType::Float) }
}

pub(super) fn floats(name: &str, floats: Vec<f32>) -> AttributeProto {
    AttributeProto { floats, ..attribute(name, AttributeType::Floats) }
}

pub(super) fn string(name: &str, s: &str) -> AttributeProto {
    let s = Bytes::copy_from_slice(s.as_bytes());
    AttributeProto { s, ..attribute(name, AttributeType::String) }
}

pub(super) fn strings(name: &str, all: &[&str]) -> AttributeProto {
    let strings = all.iter().map(|s| Bytes::copy_from_slice(s.as_bytes())).collect();
    AttributeProto { strings, ..attribute(name, AttributeType::Strings) }
}
