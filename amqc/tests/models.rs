//! The shipped models from ONNX to answers, against onnxruntime's answers and figures.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use amq_runtime::{Isa, Session, View};
use amqc::data::read_npz;
use amqc::tensor::{Data, Tensor};
use common::{bits, convert, fixture, load, numbers};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const MODELS: [&str; 3] = ["lstm", "gru", "digits"];

#[test]
fn floats_agree_with_onnxruntime() {
    for name in MODELS {
        let model = load(&convert(name, ["f32", "f32"]), Isa::detect());
        let stored = read_npz(&fixture(&format!("{name}/io.npz")), |_| Ok(())).unwrap();
        let tensor = |port: &amq_runtime::Port| {
            let (_, array) = stored.iter().find(|(name, _)| *name == port.name).unwrap();
            array.clone().into_tensor(&port.name, port.data_type).unwrap()
        };
        let inputs: Vec<_> =
            model.inputs().iter().map(|port| (&*port.name, tensor(port))).collect();
        let views: Vec<_> = inputs.iter().map(|(name, tensor)| (*name, tensor.view())).collect();
        let mut session = Session::new(model.clone());
        let outputs = session.run(&views).unwrap();
        assert_eq!(stored.len(), model.inputs().len() + model.outputs().len());
        for (port, (_, found)) in model.outputs().iter().zip(outputs.iter()) {
            let Tensor { dims, data: Data::F32(expected) } = tensor(port) else { panic!("{name}") };
            assert_eq!(found.dims, dims);
            let largest = expected.iter().fold(0f32, |m, x| m.max(x.abs()));
            for (a, b) in found.as_f32().unwrap().iter().zip(&expected) {
                assert!((a - b).abs() <= 1e-4 * largest, "{name} {}: {a}, not {b}", port.name);
            }
        }
    }
}

/// What `amqc eval --json` says of a model at these bits and activations.
fn eval(name: &str, coding: [&str; 2], measure: &str, args: &[&str]) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("m.amq"), convert(name, coding)).unwrap();
    let json = amqc(&folder, &[&["eval", "m.amq", "--json"], args].concat());
    serde_json::from_str::<serde_json::Value>(&json).unwrap()[measure].as_f64().unwrap()
}

fn amqc(folder: &TempDir, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amqc"));
    let output = command.args(args).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn near(found: f64, expected: f64, share: f64) {
    assert!((found / expected - 1.0).abs() <= share, "{found}, expected {expected}");
}

fn path(path: &str) -> String {
    fixture(path).to_str().unwrap().to_owned()
}

/// Figures of fixtures/README.md.
#[test]
fn perplexity_of_words_is_that_of_onnxruntime() {
    let (text, vocab) = (path("text/heldout.txt"), path("lstm/vocab.txt"));
    let perplexity =
        |coding| eval("lstm", coding, "perplexity", &["--text", &text, "--vocab", &vocab]);
    near(perplexity(["f32", "f32"]), 44.1241, 2e-4);
    near(perplexity(["2", "f32"]), 50.833, 0.03);
    near(perplexity(["2", "int8"]), 50.833, 0.05);
}

/// The whole text takes too long: the figures are onnxruntime's for its first 4000 characters.
#[test]
fn perplexity_of_characters_is_that_of_onnxruntime() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(fixture("text/heldout.txt")).unwrap();
    let start = folder.path().join("start.txt");
    fs::write(&start, text.chars().take(4000).collect::<String>()).unwrap();
    let vocab = path("gru/vocab.txt");
    let args = ["--text", start.to_str().unwrap(), "--vocab", &vocab, "--unit", "char"];
    near(eval("gru", ["f32", "f32"], "perplexity", &args), 3.08818, 2e-4);
    near(eval("gru", ["2", "int8"], "perplexity", &args), 4.81603, 0.05);
}

#[test]
fn accuracy_of_digits_is_that_of_onnxruntime() {
    let (images, labels) = (path("digits/images.npz"), path("digits/labels.npy"));
    let right = |coding| {
        360.0 * eval("digits", coding, "accuracy", &["--inputs", &images, "--labels", &labels])
    };
    near(right(["f32", "f32"]), 349.0, 1e-9);
    assert!((right(["2", "int8"]) - 349.0).abs() <= 0.02 * 360.0);
    // This model was not trained for activations of few codes. The figures are what it gave when their
    // arithmetic was settled, whose bits the runtime's tests hold.
    assert!((right(["2", "2"]) - 332.0).abs() <= 9.0);
    assert!((right(["2", "3"]) - 342.0).abs() <= 6.0);
}

/// SHA-256 of the files, and of the bits of the first output on a fixed input.
#[test]
fn files_and_answers_are_the_same_everywhere() {
    let mut digests = Vec::new();
    for name in MODELS {
        for coding in [["2", "int8"], ["2", "2"], ["3", "3"], ["f32", "f32"]] {
            let file = convert(name, coding);
            let model = load(&file, Isa::detect());
            let ids: Vec<i64> = numbers(48, 48).map(i64::from).collect();
            let pixels: Vec<f32> = numbers(3 * 64, 17).map(|x| x as f32 / 16.0).collect();
            let input = match name {
                "digits" => View::f32(&[3, 1, 8, 8], &pixels),
                _ => View::i64(&[16, 3], &ids),
            };
            let mut session = Session::new(model.clone());
            let outputs = session.run(&[(&model.inputs()[0].name, input)]).unwrap();
            let found = bits(outputs.iter().next().unwrap().1);
            assert!(found.iter().any(|&x| x != found[0]));
            let bytes: Vec<u8> = found.iter().flat_map(|x| x.to_le_bytes()).collect();
            let [a, b] = coding;
            digests.push(format!("{name} -b {a} -a {b}: {} {}", hex(&file), hex(&bytes)));
        }
    }
    insta::assert_snapshot!(digests.join("\n"));
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn convert_and_inspect_tell_what_was_done() {
    for name in ["lstm", "digits"] {
        let folder = tempfile::tempdir().unwrap();
        let model = fixture(&format!("{name}/model.onnx"));
        fs::copy(model, folder.path().join(Path::new(name).with_extension("onnx"))).unwrap();
        let (onnx, amq) = (format!("{name}.onnx"), format!("{name}.amq"));
        let report = amqc(&folder, &["convert", &onnx, "-b", "2"]);
        let (report, seconds) = report.rsplit_once(", ").unwrap();
        assert!(seconds.ends_with(" s\n"), "{seconds}");
        insta::assert_snapshot!(format!("{name}_report"), report);
        insta::assert_snapshot!(format!("{name}_inspect"), amqc(&folder, &["inspect", &amq]));
        let json = amqc(&folder, &["inspect", &amq, "--json"]);
        insta::assert_snapshot!(format!("{name}_inspect_json"), json);
        for stage in ["simplify", "weights", "plan", "fit", "emit"] {
            let dump = amqc(&folder, &["inspect", &onnx, "--stage", stage, "-b", "3", "-a", "2"]);
            insta::assert_snapshot!(format!("{name}_stage_{stage}"), dump);
        }
    }
}
