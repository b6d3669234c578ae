//! Models with stored inputs and outputs: ONNX's own node cases, onnxruntime's answers on every option
//! of recurrent layers, and what exporters make. Each is computed right or refused by name.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amq_runtime::{Data, Model, Session, View};
use amqc::compile::compile;
use amqc::error::ErrorKind;
use amqc::options::ConvertOptions;
use prost::Message;

/// ONNX's TensorProto, as far as the cases use it. Not the reader's own: that one is under test.
#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(float, repeated, tag = "4")]
    floats: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    int32s: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    int64s: Vec<i64>,
    #[prost(bytes = "vec", tag = "9")]
    raw: Vec<u8>,
}

/// ONNX's ModelProto, as far as it takes to name the inputs and to add constants.
#[derive(Clone, PartialEq, Message)]
struct Onnx {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "11")]
    inputs: Vec<Input>,
}

#[derive(Clone, PartialEq, Message)]
struct Input {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Constant {
    #[prost(string, tag = "8")]
    name: String,
}

/// Elements of a stored tensor; floats of every width as f32.
enum Elements {
    F32(Vec<f32>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    U8(Vec<u8>),
    I8(Vec<i8>),
    Bool(Vec<u8>),
}

fn chunks<const N: usize, T>(raw: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
    raw.as_chunks::<N>().0.iter().map(|chunk| from(*chunk)).collect()
}

fn either<T>(typed: Vec<T>, raw: impl FnOnce() -> Vec<T>) -> Vec<T> {
    if typed.is_empty() { raw() } else { typed }
}

fn read(path: &Path) -> (Vec<usize>, Elements) {
    let tensor = Tensor::decode(fs::read(path).unwrap().as_slice()).unwrap();
    let raw = tensor.raw.as_slice();
    let bits16 = || {
        let typed = tensor.int32s.iter().map(|&bits| bits as u16).collect();
        either(typed, || chunks(raw, u16::from_le_bytes))
    };
    let elements = match tensor.data_type {
        1 => Elements::F32(either(tensor.floats.clone(), || chunks(raw, f32::from_le_bytes))),
        2 => Elements::U8(raw.to_vec()),
        3 => Elements::I8(raw.iter().map(|&byte| byte as i8).collect()),
        6 => Elements::I32(either(tensor.int32s.clone(), || chunks(raw, i32::from_le_bytes))),
        7 => Elements::I64(either(tensor.int64s.clone(), || chunks(raw, i64::from_le_bytes))),
        9 => Elements::Bool(raw.to_vec()),
        10 => Elements::F32(bits16().iter().map(|&b| half::f16::from_bits(b).to_f32()).collect()),
        11 => Elements::F32(chunks(raw, |bytes| f64::from_le_bytes(bytes) as f32)),
        16 => Elements::F32(bits16().iter().map(|&b| half::bf16::from_bits(b).to_f32()).collect()),
        other => panic!("{}: element type {other}", path.display()),
    };
    (tensor.dims.iter().map(|&dim| dim as usize).collect(), elements)
}

fn data(elements: &Elements) -> Data<'_> {
    match elements {
        Elements::F32(data) => Data::F32(data),
        Elements::I64(data) => Data::I64(data),
        Elements::I32(data) => Data::I32(data),
        Elements::U8(data) => Data::U8(data),
        Elements::I8(data) => Data::I8(data),
        Elements::Bool(data) => Data::Bool(data),
    }
}

/// Whether `found` is `expected`: floats within a part of the largest magnitude expected, all else
/// exactly. The least such magnitude in the fixtures is 0.18, but for an output of zeros, which must
/// be zeros.
fn differs(found: Data<'_>, expected: &Elements, part: f32) -> Option<String> {
    let (Data::F32(found), Elements::F32(expected)) = (found, expected) else {
        return (found != data(expected)).then(|| "integers differ".to_owned());
    };
    let largest = expected.iter().filter(|x| x.is_finite()).fold(0.0f32, |m, x| m.max(x.abs()));
    let bound = largest * part;
    let close =
        |(a, b): (&f32, &f32)| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= bound;
    let bad = found.iter().zip(expected).position(|pair| !close(pair))?;
    Some(format!("element {bad} is {} instead of {}", found[bad], expected[bad]))
}

fn files(case: &Path, kind: &str) -> Vec<PathBuf> {
    let path = |index| case.join(format!("{kind}_{index}.pb"));
    (0..).map(path).take_while(|path| path.exists()).collect()
}

/// The model with all inputs but the first few made constants: node cases feed weights, shapes and
/// axes as inputs, which models do not. Protobuf messages that stand one after the other merge.
fn with_constants(model: &[u8], case: &Path, inputs_left: usize) -> Vec<u8> {
    let mut model = model.to_vec();
    let inputs = Onnx::decode(model.as_slice()).unwrap().graph.unwrap().inputs;
    for (input, path) in inputs.iter().zip(files(case, "input")).skip(inputs_left) {
        let mut tensor = fs::read(path).unwrap();
        tensor.extend(Constant { name: input.name.clone() }.encode_to_vec());
        let mut graph = vec![5 << 3 | 2];
        prost::encoding::encode_varint(tensor.len() as u64, &mut graph);
        graph.extend(tensor);
        model.push(7 << 3 | 2);
        prost::encoding::encode_varint(graph.len() as u64, &mut model);
        model.extend(graph);
    }
    model
}

/// Runs one case as it is, or, if it is refused so, with constants. `Ok` holds why it was refused.
fn run(case: &Path) -> Result<Option<String>, String> {
    let model = fs::read(case.join("model.onnx")).unwrap();
    match run_model(&model, case)? {
        Some(_) => {
            // An only input that must be constant is a shape.
            let inputs_left = usize::from(files(case, "input").len() > 1);
            run_model(&with_constants(&model, case, inputs_left), case)
        }
        None => Ok(None),
    }
}

fn run_model(onnx: &[u8], case: &Path) -> Result<Option<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, onnx).unwrap();
    let compiled = match compile(&path, &ConvertOptions::float(), &|_| {}) {
        Ok(compiled) => compiled,
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            return Ok(Some(error.message().replace(&format!("{}: ", path.display()), "")));
        }
        Err(error) => return Err(error.to_string()),
    };
    let model = Arc::new(Model::load(&compiled.bytes).map_err(|error| error.to_string())?);
    let inputs = Onnx::decode(onnx).unwrap().graph.unwrap().inputs;
    let is_input = |name: &str| model.inputs().iter().any(|port| port.name == name);
    let stored: Vec<_> = inputs
        .iter()
        .zip(files(case, "input"))
        .filter(|(input, _)| is_input(&input.name))
        .map(|(input, path)| (input.name.as_str(), read(&path)))
        .collect();
    let views: Vec<_> = stored
        .iter()
        .map(|(name, (dims, elements))| (*name, View { dims, data: data(elements) }))
        .collect();
    let mut session = Session::new(model.clone());
    let outputs = match session.run(&views) {
        Ok(outputs) => outputs,
        // A name of a dimension stands for a size of at least 1.
        Err(error) if stored.iter().any(|(_, (dims, _))| dims.contains(&0)) => {
            return Ok(Some(error.to_string()));
        }
        Err(error) => return Err(error.to_string()),
    };
    let expected = files(case, "output");
    if outputs.iter().count() != expected.len() {
        return Err(format!("{} outputs, {} stored", outputs.iter().count(), expected.len()));
    }
    let name = case.to_string_lossy().to_lowercase();
    let part = if name.contains("float16") {
        1e-2
    } else if name.ends_with("averagepool_2d_ceil_last_window_starts_on_pad") {
        // Its answers are stored with four decimals.
        2e-4
    } else {
        1e-4
    };
    for ((name, view), path) in outputs.iter().zip(expected) {
        let (dims, elements) = read(&path);
        if view.dims != dims {
            return Err(format!("{name} has shape {:?} instead of {dims:?}", view.dims));
        }
        if let Some(difference) = differs(view.data, &elements, part) {
            return Err(format!("{name}: {difference}"));
        }
    }
    Ok(None)
}

/// Runs every case of a folder: none may be wrong. Gives how many were right and what was refused.
fn run_all(folder: &str) -> (usize, BTreeMap<String, String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(folder);
    let mut cases: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|case| case.join("model.onnx").exists());
    cases.sort();
    let (mut right, mut refused, mut wrong) = (0, BTreeMap::new(), Vec::new());
    for case in cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        match run(&case) {
            Ok(None) => right += 1,
            Ok(Some(reason)) => {
                refused.insert(name, reason);
            }
            Err(problem) => wrong.push(format!("{name}: {problem}")),
        }
    }
    assert!(wrong.is_empty(), "{} of the cases are wrong:\n{}", wrong.len(), wrong.join("\n"));
    (right, refused)
}

#[test]
fn node_cases() {
    let (right, refused) = run_all("node");
    insta::assert_json_snapshot!((right, refused));
}

#[test]
fn recurrent_options() {
    let (right, refused) = run_all("recurrent");
    assert_eq!((right, refused), (53, BTreeMap::new()));
}

#[test]
fn exported_models() {
    let (right, refused) = run_all("exports");
    assert_eq!((right, refused), (10, BTreeMap::new()));
}
