//! ONNX models.

use std::fs;
use std::path::Path;

use amq_format::Validated;
use amqc::compile::compile;
use amqc::error::{Error, ErrorKind};
use amqc::interface::Interface;
use amqc::onnx::{Limits, Source, import};
use amqc::options::ConvertOptions;
use amqc::settings::{Given, parse_activations};

use super::arrays::file;
use super::fate;
use super::running::run;
use crate::random::hash;

/// Bytes of constants that a model may have here.
const CONSTANTS: u64 = 1 << 20;

fn told(error: &Error) -> u64 {
    assert!(!error.message().is_empty());
    fate(error.message())
}

/// Decodes and imports a model.
pub fn parse_onnx(bytes: &[u8]) -> u64 {
    let limits = Limits {
        message_bytes: 16 << 20,
        constant_bytes: CONSTANTS,
        folded_bytes: CONSTANTS,
        ..Limits::default()
    };
    let source = Source::decode(bytes.to_vec(), Path::new("/nowhere"), &limits);
    match source.and_then(|source| import(&source, &Interface::default())) {
        Ok(module) => {
            let nodes: Vec<u8> =
                module.graph.nodes.iter().map(|node| node.inputs.len() as u8).collect();
            hash(&nodes)
        }
        Err(error) => {
            let kind = error.kind();
            assert!(!matches!(kind, ErrorKind::Usage), "{error}");
            told(&error)
        }
    }
}

/// Converts a model, with settings that its bytes decide. What is converted is read, loaded and run on every instruction set.
pub fn convert_then_run(bytes: &[u8]) -> u64 {
    let chosen = hash(bytes);
    let bits = ["f32", "1", "2", "3", "4", "8"][(chosen % 6) as usize];
    let activations = ["f32", "int8", "int16", "2", "1"][(chosen >> 8) as usize % 5];
    let coded = bits != "f32" && (bits != "8" || !matches!(activations, "1" | "2"));
    let flags = Given {
        bits: bits.parse().ok(),
        activations: parse_activations(activations).ok().filter(|_| coded),
        ..Given::default()
    };
    let options =
        ConvertOptions { flags, max_constants: Some(CONSTANTS), ..ConvertOptions::default() };
    let path = file("m.onnx");
    fs::write(&path, bytes).expect("a file");
    match compile(&path, &options, &|_| ()) {
        Ok(compiled) => {
            let read = Validated::new(&compiled.bytes).expect("what is converted is valid");
            amq_runtime::Model::load(&compiled.bytes).expect("what is converted loads");
            run(&read, (chosen >> 16) as i64 % 4 + 1)
        }
        Err(error) => told(&error),
    }
}
