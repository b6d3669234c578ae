//! ONNX files that were damaged or made to hurt: an error of the right kind, or a model; in bounded
//! time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use amq_runtime::Model;
use amqc::compile::{Compiled, compile};
use amqc::error::{Error, ErrorKind};
use amqc::options::ConvertOptions;
use amqc::settings::{Given, parse_activations};
use proptest::prelude::*;

fn convert(folder: &Path, onnx: &[u8]) -> Result<Compiled, Error> {
    let path = folder.join("m.onnx");
    fs::write(&path, onnx).unwrap();
    compile(&path, &ConvertOptions::default(), &|_| ())
}

#[test]
fn damaged_files_are_refused_or_other_models() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    let folder = tempfile::tempdir().unwrap();
    for name in ["recurrent/lstm_lens/model.onnx", "recurrent/gru_states_bidirectional/model.onnx"]
    {
        let bytes = fs::read(fixtures.join(name)).unwrap();
        assert!(convert(folder.path(), &bytes).is_ok(), "{name}");
        let prefixes = (0..bytes.len()).step_by(97).map(|length| bytes[..length].to_vec());
        let flips = (0..bytes.len()).step_by(13).map(|at| {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            flipped
        });
        for damaged in prefixes.chain(flips) {
            match convert(folder.path(), &damaged) {
                Err(error) => {
                    let kind = error.kind();
                    let expected = matches!(kind, ErrorKind::BadFile | ErrorKind::Unsupported);
                    assert!(expected && !error.message().is_empty(), "{error}");
                }
                Ok(compiled) => drop(Model::load(&compiled.bytes).unwrap()),
            }
        }
    }
}

/// A field of protobuf that holds bytes.
fn field(tag: u64, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![(tag << 3 | 2) as u8];
    let mut length = content.len();
    while length > 127 {
        bytes.push(length as u8 | 128);
        length >>= 7;
    }
    bytes.push(length as u8);
    [&bytes, content].concat()
}

fn node(op: &str, inputs: &[&str], output: &str) -> Vec<u8> {
    let inputs = inputs.iter().flat_map(|name| field(1, name.as_bytes()));
    let rest = [field(2, output.as_bytes()), field(3, b"same"), field(4, op.as_bytes())].concat();
    field(1, &inputs.chain(rest).collect::<Vec<_>>())
}

fn floats(name: &str, dims: &[u8], data: &[f32]) -> Vec<u8> {
    let raw: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
    let dims = field(1, dims);
    field(5, &[dims, vec![0x10, 1], field(8, name.as_bytes()), field(9, &raw)].concat())
}

fn model(nodes: Vec<u8>, constants: Vec<u8>, output: &str) -> Vec<u8> {
    let dim = |dim: &[u8]| field(1, dim);
    let shape = field(2, &[dim(&field(2, b"n")), dim(&[0x08, 4])].concat());
    let tensor = field(1, &[vec![0x08, 1], shape].concat());
    let input = field(11, &[field(1, b"x"), field(2, &tensor)].concat());
    let output = field(12, &field(1, output.as_bytes()));
    let graph = field(7, &[nodes, constants, input, output].concat());
    [vec![0x08, 8], graph, field(8, &[0x10, 13])].concat()
}

/// A chain of nodes of one name.
fn chain(ops: &[&str], length: usize) -> Vec<u8> {
    let constants = [floats("w", &[4, 4], &[0.5; 16]), floats("c", &[4], &[1.0; 4])].concat();
    let (mut nodes, mut last) = (Vec::new(), "x".to_owned());
    for i in 0..length {
        let op = ops[i % ops.len()];
        let next = format!("v{i}");
        let inputs: &[&str] = match op {
            "MatMul" => &[&last, "w"],
            "Add" | "Mul" => &[&last, "c"],
            _ => &[&last],
        };
        nodes.extend(node(op, inputs, &next));
        last = next;
    }
    model(nodes, constants, &last)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// What is converted can be loaded, however many nodes share their constants and whatever was asked for.
    #[test]
    fn what_is_converted_loads(
        ops in prop::collection::vec(prop::sample::select(OPERATORS), 1..12),
        length in 1usize..300,
        bits in prop::sample::select(&["f32", "1", "2", "3", "4", "8"][..]),
        activations in prop::sample::select(&["f32", "int8", "int16", "2"][..]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let flags = Given {
            bits: Some(bits.parse().unwrap()),
            activations: (bits != "f32").then(|| parse_activations(activations).unwrap()),
            ..Given::default()
        };
        let options = ConvertOptions { flags, ..ConvertOptions::default() };
        let path = folder.path().join("m.onnx");
        fs::write(&path, chain(&ops, length)).unwrap();
        match compile(&path, &options, &|_| ()) {
            Ok(compiled) => drop(Model::load(&compiled.bytes).unwrap()),
            Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Usage, "{}", error),
        }
    }
}

const OPERATORS: &[&str] = &["Add", "Mul", "MatMul", "Relu", "Tanh", "Softmax", "Neg", "Identity"];

/// Eight times the nodes take eight times the instructions, and up to twice that in time, for they no longer
/// fit caches; each looking at all took sixty-four. The shortest of some times counts: another process
/// only adds to them.
#[test]
fn long_chains_take_no_time_in_their_square() {
    let folder = tempfile::tempdir().unwrap();
    for ops in [
        &["Add"][..],
        &["MatMul"],
        &["MatMul", "Mul", "Add"],
        &["MatMul", "Add", "Tanh"],
        &["Relu", "Identity"],
    ] {
        let chains = [chain(ops, 5_000), chain(ops, 40_000)];
        let mut times = [Duration::MAX; 2];
        let linear = (0..10).any(|_| {
            for (onnx, shortest) in chains.iter().zip(&mut times) {
                let before = Instant::now();
                convert(folder.path(), onnx).unwrap();
                *shortest = before.elapsed().min(*shortest);
            }
            times[1] < 24 * times[0]
        });
        assert!(linear, "{ops:?}: {times:?}");
    }
}
