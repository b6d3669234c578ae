//! Models with stored inputs and outputs: all of ONNX's own node cases, onnxruntime's answers on every
//! option of recurrent layers, and what exporters make. Each is computed right or refused by name.
//!
//! `fixtures/node/manifest` says what becomes of each node case; `UPDATE_MANIFEST=1 cargo test -p amqc
//! --test onnx_cases` writes it anew.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amq_format::Validated;
use amq_runtime::{Data, Model, Session, View};
use amqc::compile::compile;
use amqc::error::ErrorKind;
use amqc::export::export;
use amqc::options::ConvertOptions;
use amqc::settings::{Bits, Given};
use prost::Message;
use rayon::prelude::*;

/// A model with its inputs and outputs, which are ONNX's TensorProto.
#[derive(Clone, PartialEq, Message)]
struct Case {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "2")]
    model: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    inputs: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    outputs: Vec<Vec<u8>>,
}

/// What `fixtures/generate/node.py` packs.
#[derive(Clone, PartialEq, Message)]
struct Cases {
    #[prost(message, repeated, tag = "1")]
    cases: Vec<Case>,
}

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

/// Elements of a stored tensor; floats of every width as f32, integers as the type that holds them.
enum Elements {
    F32(Vec<f32>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    U8(Vec<u8>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    Bool(Vec<u8>),
}

fn chunks<const N: usize, T>(raw: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
    raw.as_chunks::<N>().0.iter().map(|chunk| from(*chunk)).collect()
}

fn either<T>(typed: Vec<T>, raw: impl FnOnce() -> Vec<T>) -> Vec<T> {
    if typed.is_empty() { raw() } else { typed }
}

fn read(bytes: &[u8]) -> Result<(Vec<usize>, Elements), String> {
    let tensor = Tensor::decode(bytes).unwrap();
    let raw = tensor.raw.as_slice();
    let ints = tensor.int32s.iter().copied();
    let bits16 = || {
        let typed = ints.clone().map(|bits| bits as u16).collect();
        either(typed, || chunks(raw, u16::from_le_bytes))
    };
    let elements = match tensor.data_type {
        1 => Elements::F32(either(tensor.floats.clone(), || chunks(raw, f32::from_le_bytes))),
        2 => Elements::U8(either(ints.map(|x| x as u8).collect(), || raw.to_vec())),
        3 => {
            Elements::I8(either(ints.map(|x| x as i8).collect(), || chunks(raw, i8::from_le_bytes)))
        }
        4 => Elements::U16(either(ints.map(|x| x as u16).collect(), || {
            chunks(raw, u16::from_le_bytes)
        })),
        5 => Elements::I16(either(ints.map(|x| x as i16).collect(), || {
            chunks(raw, i16::from_le_bytes)
        })),
        6 => Elements::I32(either(tensor.int32s.clone(), || chunks(raw, i32::from_le_bytes))),
        7 => Elements::I64(either(tensor.int64s.clone(), || chunks(raw, i64::from_le_bytes))),
        9 => Elements::Bool(either(ints.map(|bit| bit as u8).collect(), || raw.to_vec())),
        10 => Elements::F32(bits16().iter().map(|&b| half::f16::from_bits(b).to_f32()).collect()),
        11 => Elements::F32(chunks(raw, |bytes| f64::from_le_bytes(bytes) as f32)),
        12 => Elements::U32(chunks(raw, u32::from_le_bytes)),
        13 => Elements::U64(chunks(raw, u64::from_le_bytes)),
        16 => Elements::F32(bits16().iter().map(|&b| half::bf16::from_bits(b).to_f32()).collect()),
        number @ (21 | 22 | 25 | 26) => {
            let bits = if number < 25 { 4 } else { 2 };
            let bytes = either(ints.map(|byte| byte as u8).collect(), || raw.to_vec());
            let code = |byte: u8, place: usize| byte << (8 - bits - bits * place);
            let codes = bytes.iter().flat_map(|&byte| (0..8 / bits).map(move |p| code(byte, p)));
            let codes = codes.take(tensor.dims.iter().product::<i64>() as usize);
            match number {
                22 | 26 => Elements::I8(codes.map(|code| code as i8 >> (8 - bits)).collect()),
                _ => Elements::U8(codes.map(|code| code >> (8 - bits)).collect()),
            }
        }
        other => return Err(format!("element type {other} is stored")),
    };
    Ok((tensor.dims.iter().map(|&dim| dim as usize).collect(), elements))
}

fn data(elements: &Elements) -> Data<'_> {
    match elements {
        Elements::F32(data) => Data::F32(data),
        Elements::I64(data) => Data::I64(data),
        Elements::I32(data) => Data::I32(data),
        Elements::U8(data) => Data::U8(data),
        Elements::I8(data) => Data::I8(data),
        Elements::I16(data) => Data::I16(data),
        Elements::U16(data) => Data::U16(data),
        Elements::U32(data) => Data::U32(data),
        Elements::U64(data) => Data::U64(data),
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

/// The model with all inputs but the first few made constants: node cases feed weights, shapes and
/// axes as inputs, which models do not. Protobuf messages that stand one after the other merge.
fn with_constants(case: &Case, inputs_left: usize) -> Case {
    let mut case = case.clone();
    let inputs = input_names(&case);
    for (name, tensor) in inputs.into_iter().zip(&case.inputs).skip(inputs_left) {
        let mut tensor = tensor.clone();
        tensor.extend(Constant { name }.encode_to_vec());
        let mut graph = vec![5 << 3 | 2];
        prost::encoding::encode_varint(tensor.len() as u64, &mut graph);
        graph.extend(tensor);
        case.model.push(7 << 3 | 2);
        prost::encoding::encode_varint(graph.len() as u64, &mut case.model);
        case.model.extend(graph);
    }
    case
}

fn input_names(case: &Case) -> Vec<String> {
    let graph = Onnx::decode(case.model.as_slice()).unwrap().graph.unwrap();
    graph.inputs.into_iter().map(|input| input.name).collect()
}

/// What becomes of a case. Of one that is right: why it cannot be written as ONNX again, if it cannot.
#[derive(Clone, Debug, PartialEq)]
enum Fate {
    /// Right as it stands.
    Passes(Option<String>),
    /// Right with its parameters made constant.
    Constant(Option<String>),
    /// Why it is refused, in both forms.
    Refused(String),
}

/// Runs one case as it is, and with parameters made constant. An error is a wrong answer.
fn run(case: &Case) -> Result<Fate, String> {
    let as_it_is = run_model(case)?;
    // An only input that must be constant is a shape.
    let inputs_left = usize::from(case.inputs.len() > 1);
    let plain = case.inputs.is_empty() || case.inputs.iter().any(Vec::is_empty);
    let constant = if plain {
        as_it_is.clone()
    } else {
        run_model(&with_constants(case, inputs_left)).map_err(|why| format!("constant: {why}"))?
    };
    Ok(match (as_it_is, constant) {
        (Ok(again), _) => Fate::Passes(again),
        (_, Ok(again)) => Fate::Constant(again),
        (_, Err(reason)) => Fate::Refused(reason),
    })
}

/// What a model gave that was not wrong: right answers, and why it cannot be written as ONNX again, if it
/// cannot; or why it was refused.
type Ran = Result<Option<String>, String>;

/// Runs a model, and what it is when it is written as ONNX again.
fn run_model(case: &Case) -> Result<Ran, String> {
    let compiled = match compile_model(case)? {
        Ok(compiled) => compiled,
        Err(reason) => return Ok(Err(reason)),
    };
    if let Some(reason) = answer(case, &compiled)? {
        return Ok(Err(reason));
    }
    let model = match export(&Validated::new(&compiled).unwrap()) {
        Ok(exported) => exported.bytes,
        Err(error) => return Ok(Ok(Some(error.message().to_owned()))),
    };
    let again = Case { model, ..case.clone() };
    let compiled = compile_model(&again)?.map_err(|why| format!("exported: {why}"))?;
    match answer(case, &compiled).map_err(|why| format!("exported: {why}"))? {
        Some(reason) => Err(format!("exported: {reason}")),
        None => Ok(Ok(None)),
    }
}

/// The .amq file of a model, in float, or why it was refused.
fn compile_model(case: &Case) -> Result<Result<Vec<u8>, String>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, &case.model).unwrap();
    match compile(&path, &ConvertOptions::float(), &|_| {}) {
        Ok(compiled) => Ok(Ok(compiled.bytes)),
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            let missing = error.missing().iter().map(|m| format!("{}: {}", m.what, m.reason));
            let missing = missing.collect::<Vec<_>>().join("; ");
            let message = error.message().replace(&format!("{}: ", path.display()), "");
            Ok(Err(if missing.is_empty() { message } else { missing }))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Runs an .amq file. `Ok` holds why it refused the inputs.
fn answer(case: &Case, compiled: &[u8]) -> Result<Option<String>, String> {
    let model = Arc::new(Model::load(compiled).map_err(|error| error.to_string())?);
    let is_input = |name: &str| model.inputs().iter().any(|port| port.name == name);
    let names = input_names(case);
    let mut stored = Vec::new();
    for (name, bytes) in names.iter().zip(&case.inputs).filter(|(name, _)| is_input(name)) {
        stored.push((name.as_str(), read(bytes)?));
    }
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
    if outputs.iter().count() != case.outputs.len() {
        let (found, stored) = (outputs.iter().count(), case.outputs.len());
        return Err(format!("{found} outputs, {stored} stored"));
    }
    for ((name, view), bytes) in outputs.iter().zip(&case.outputs) {
        let (dims, elements) = read(bytes)?;
        if view.dims != dims {
            return Err(format!("{name} has shape {:?} instead of {dims:?}", view.dims));
        }
        if let Some(difference) = differs(view.data, &elements, tolerance(&case.name, bytes)) {
            return Err(format!("{name}: {difference}"));
        }
    }
    Ok(None)
}

/// How far an output may be away, as a part of its largest magnitude. What is rounded to 16 bits may be
/// a step beside where its sum was not rounded as ours; what is only cast may not.
fn tolerance(name: &str, output: &[u8]) -> f32 {
    match Tensor::decode(output).unwrap().data_type {
        _ if name.starts_with("test_cast") => 0.0,
        10 => 2e-3,
        16 => 1e-2,
        // Its answers are stored with four decimals.
        _ if name.ends_with("averagepool_2d_ceil_last_window_starts_on_pad") => 2e-4,
        _ => 1e-4,
    }
}

/// What becomes of each case: none may be wrong.
fn run_all(cases: &[Case]) -> BTreeMap<&str, Fate> {
    let fates: Vec<_> = cases.par_iter().map(|case| (case.name.as_str(), run(case))).collect();
    let wrong = fates.iter().filter_map(|(name, fate)| Some((name, fate.as_ref().err()?)));
    let wrong: Vec<_> = wrong.map(|(name, problem)| format!("{name}: {problem}")).collect();
    assert!(wrong.is_empty(), "{} of the cases are wrong:\n{}", wrong.len(), wrong.join("\n"));
    fates.into_iter().filter_map(|(name, fate)| Some((name, fate.ok()?))).collect()
}

fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(folder)
}

/// The cases of a folder, each in a folder of its own.
fn in_folders(folder: &str) -> Vec<Case> {
    let entries = fs::read_dir(fixtures(folder)).unwrap().map(|entry| entry.unwrap().path());
    let cases: Vec<_> = entries.filter(|path| path.join("model.onnx").exists()).collect();
    let files = |case: &Path, kind: &str| {
        let path = |index| case.join(format!("{kind}_{index}.pb"));
        (0..).map_while(|index| fs::read(path(index)).ok()).collect()
    };
    let case = |path: &PathBuf| Case {
        name: path.file_name().unwrap().to_string_lossy().into_owned(),
        model: fs::read(path.join("model.onnx")).unwrap(),
        inputs: files(path, "input"),
        outputs: files(path, "output"),
    };
    cases.iter().map(case).collect()
}

/// All cases of a folder have to be right.
fn all_pass(folder: &str, count: usize) {
    let cases = in_folders(folder);
    let fates = run_all(&cases);
    let refused: Vec<_> =
        fates.iter().filter(|(_, fate)| matches!(fate, Fate::Refused(_))).collect();
    assert_eq!((fates.len(), refused), (count, Vec::new()));
}

#[test]
fn node_cases() {
    let file = fs::File::open(fixtures("node/cases.zip")).unwrap();
    let mut archive = zip::ZipArchive::new(file).unwrap();
    let mut packed = Vec::new();
    archive.by_name("cases.pb").unwrap().read_to_end(&mut packed).unwrap();
    let Cases { cases } = Cases::decode(packed.as_slice()).unwrap();
    let fates = run_all(&cases);
    let mut manifest =
        "# What becomes of each node case of onnx 1.23.2: it passes as it stands, with its \
                        parameters made\n# constant, or is refused; behind a semicolon why it is not written as ONNX again. Written by \
                        amqc/tests/onnx_cases.rs.\n"
            .to_owned();
    for (name, fate) in &fates {
        match fate {
            Fate::Passes(None) => writeln!(manifest, "{name} passes"),
            Fate::Constant(None) => writeln!(manifest, "{name} constant"),
            Fate::Passes(Some(why)) => writeln!(manifest, "{name} passes; {why}"),
            Fate::Constant(Some(why)) => writeln!(manifest, "{name} constant; {why}"),
            Fate::Refused(reason) => {
                writeln!(manifest, "{name} refused: {}", reason.replace('\n', " "))
            }
        }
        .unwrap();
    }
    let path = fixtures("node/manifest");
    if std::env::var_os("UPDATE_MANIFEST").is_some() {
        fs::write(&path, &manifest).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    let (stored, found): (Vec<_>, Vec<_>) = (stored.lines().collect(), manifest.lines().collect());
    let lost = stored.iter().filter(|line| !found.contains(line)).map(|line| format!("- {line}\n"));
    let new = found.iter().filter(|line| !stored.contains(line)).map(|line| format!("+ {line}\n"));
    let changes: String = lost.chain(new).collect();
    assert!(changes.is_empty(), "not as the manifest says:\n{changes}");
}

#[test]
fn recurrent_options() {
    all_pass("recurrent", 53);
}

#[test]
fn exported_models() {
    all_pass("exports", 10);
}

#[test]
fn layers_that_exporters_wrote_as_steps() {
    all_pass("cells", 16);
}

/// Steps and loops that are a recurrent layer are it: the same bits as the operator written by hand, in
/// float and quantized, and nothing else is left to compute.
#[test]
fn steps_and_loops_are_the_layer_that_they_write_out() {
    for case in in_folders("cells") {
        let by_hand = fs::read(fixtures("cells").join(&case.name).join("by_hand.onnx")).unwrap();
        let (dims, x) = read(&case.inputs[0]).unwrap();
        for bits in [Bits::F32, Bits::Codes(2)] {
            let flags = Given { bits: Some(bits), ..Given::default() };
            let options = ConvertOptions { flags, ..ConvertOptions::default() };
            let run = |model: &[u8]| {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("model.onnx");
                fs::write(&path, model).unwrap();
                let compiled = compile(&path, &options, &|_| {}).unwrap();
                let model = Arc::new(Model::load(&compiled.bytes).unwrap());
                let name = model.inputs()[0].name.clone();
                let ops: BTreeSet<&str> = model
                    .graph()
                    .nodes
                    .iter()
                    .map(|node| node.op.as_ref().unwrap().name())
                    .collect();
                let ops =
                    ops.into_iter().filter(|op| !VIEWS.contains(op)).collect::<Vec<_>>().join(" ");
                let mut session = Session::new(Arc::clone(&model));
                let outputs =
                    session.run(&[(&name, View { dims: &dims, data: data(&x) })]).unwrap();
                let (_, y) = outputs.iter().next().unwrap();
                let bits: Vec<u32> = y.as_f32().unwrap().iter().map(|y| y.to_bits()).collect();
                (ops, y.dims.to_vec(), bits)
            };
            let (found, expected) = (run(&case.model), run(&by_hand));
            assert_eq!(found.0, "Recurrent", "{}", case.name);
            assert_eq!(found, expected, "{}", case.name);
        }
    }
}

/// Operators that compute nothing.
const VIEWS: [&str; 4] = ["Concat", "Reshape", "Slice", "Transpose"];

/// Networks that onnxruntime quantized, beside what they gave in float: read back, they are as near as
/// weights of 8 bits, in `blocks` of 4, let them be. With onnxruntime they are 25.0 dB away for 4 bits
/// and 37.8 to 45.6 dB for 8, activations in 8 bits too.
#[test]
fn quantized_models() {
    let cases = in_folders("quantized");
    assert_eq!(cases.len(), 8);
    for case in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        fs::write(&path, &case.model).unwrap();
        let compiled = compile(&path, &ConvertOptions::float(), &|_| {}).unwrap();
        let mut session = Session::new(Arc::new(Model::load(&compiled.bytes).unwrap()));
        let (dims, x) = read(&case.inputs[0]).unwrap();
        let outputs = session.run(&[("x", View { dims: &dims, data: data(&x) })]).unwrap();
        let (_, y) = outputs.iter().next().unwrap();
        let (dims, Elements::F32(expected)) = read(&case.outputs[0]).unwrap() else { panic!() };
        assert_eq!(y.dims, dims, "{}", case.name);
        let signal: f32 = expected.iter().map(|x| x * x).sum();
        let pairs = expected.iter().zip(y.as_f32().unwrap());
        let noise: f32 = pairs.map(|(x, y)| (x - y) * (x - y)).sum();
        let snr = 10.0 * (signal / noise).log10();
        let least = if case.name == "blocks" { 24.0 } else { 37.0 };
        assert!(snr > least, "{}: {snr} dB", case.name);
        assert!(compiled.report.notes.iter().any(|note| note.contains("quantized already")));
        // Their weights are ours to code.
        let weights = compiled.report.layers.iter().map(|layer| layer.rows * layer.cols);
        let expected = match case.name.as_str() {
            "dynamic_lstm" | "dynamic_lstm_channels" => 2 * 64 * (12 + 16),
            "dynamic_conv" | "static_qdq" | "static_operators" => 16 * 27 + 24 * 144 + 5 * 24,
            _ => 32 * 64 + 64 * 8,
        };
        assert_eq!(weights.sum::<u64>(), expected, "{}", case.name);
    }
}
