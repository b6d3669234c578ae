//! Where the error of a quantized model comes from, and what the program says of it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output};

use amqc::data::{read_npz, write_npz};
use serde_json::Value;
use tempfile::TempDir;

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name);
    path.to_str().unwrap().to_owned()
}

fn amqc(folder: &TempDir, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_amqc")).args(args).current_dir(folder).output().unwrap()
}

#[track_caller]
fn good(folder: &TempDir, args: &[&str]) -> String {
    let output = amqc(folder, args);
    assert!(output.status.success(), "{args:?} {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn json(folder: &TempDir, args: &[&str]) -> Value {
    serde_json::from_str(&good(folder, &[args, &["--json"]].concat())).unwrap()
}

/// Each row of `list` as its key.
fn column<'a>(list: &'a Value, key: &str) -> Vec<&'a Value> {
    list.as_array().unwrap().iter().map(|row| &row[key]).collect()
}

#[test]
fn values_are_compared_node_by_node() {
    let folder = tempfile::tempdir().unwrap();
    let model = fixture("lstm/model.onnx");
    // The recurrent matrix alone.
    fs::write(
        folder.path().join("r.yaml"),
        "version: 1\nlayers:\n  - {match: '*', bits: f32}\n  - {match: '*.R', bits: 2}\n",
    )
    .unwrap();
    good(&folder, &["convert", &model, "--recipe", "r.yaml", "-o", "m.amq"]);
    let verify = ["verify", "m.amq", "--against", &model, "--by", "node", "--dim", "seq=5"];
    let found = json(&folder, &verify);
    let nodes = found["nodes"].as_array().unwrap();
    let recurrent = nodes.iter().find(|node| node["gates"].is_array()).unwrap();
    assert_eq!(recurrent["op"], "LSTM");
    // The first step's state is zero, so nothing is lost in it.
    let steps = recurrent["steps_snr_db"].as_array().unwrap();
    assert_eq!((steps.len(), steps[0].is_null()), (5, true), "{steps:?}");
    assert!(steps[1..].iter().all(Value::is_number), "{steps:?}");
    let gates = recurrent["gates"].as_array().unwrap();
    assert_eq!(column(&recurrent["gates"], "gate"), ["i", "o", "f", "c", "i", "o", "f", "c"]);
    for gate in gates {
        assert_eq!(gate["snr_db"].is_null(), gate["matrix"] == "W", "{gate}");
    }
    // What comes before is exact, and so last.
    let embedding = nodes.iter().position(|node| node["op"] == "Gather").unwrap();
    assert!(nodes[embedding..].iter().all(|node| node["snr_db"].is_null()), "{found}");
    let snr = column(&found["nodes"], "snr_db");
    let known: Vec<f64> = snr.iter().filter_map(|snr| snr.as_f64()).collect();
    assert!(known.is_sorted() && snr[known.len()..].iter().all(|snr| snr.is_null()));
    // An output is a node's value too.
    let logits = nodes.iter().find(|node| node["value"] == "logits").unwrap();
    let output = &found["outputs"][0];
    assert_eq!((&output["name"], &output["snr_db"]), (&logits["value"], &logits["snr_db"]));
    let text = good(&folder, &verify);
    assert!(text.contains("worst step") && text.contains("product"), "{text}");
}

#[test]
fn a_file_of_the_same_model_has_the_same_values() {
    let folder = tempfile::tempdir().unwrap();
    let model = fixture("digits/model.onnx");
    good(&folder, &["convert", &model, "-b", "f32", "-o", "m.amq"]);
    let found = json(&folder, &["verify", "m.amq", "--against", &model, "--by", "node"]);
    assert_eq!(found["unmatched"], serde_json::json!([]));
    assert!(column(&found["nodes"], "max_abs").iter().all(|error| **error == 0.0), "{found}");
}

/// The first 40 of the shipped images.
fn images(folder: &TempDir) {
    let arrays = read_npz(Path::new(&fixture("digits/images.npz")), |_| Ok(())).unwrap();
    let (name, images) = arrays.into_iter().next().unwrap();
    let images = images.into_tensor("images", amq_format::graph::DataType::F32).unwrap();
    let file = File::create(folder.path().join("a.npz")).unwrap();
    write_npz(file, &[(name, images.slice(0, 0..40))]).unwrap();
}

#[test]
fn matrices_are_ranked_by_what_each_alone_does() {
    let folder = tempfile::tempdir().unwrap();
    images(&folder);
    let model = fixture("digits/model.onnx");
    let data = ["--calib", "a.npz", "-b", "2"];
    let found = json(&folder, &[&["sensitivity", &model], &data[..]].concat());
    let matrices = found["matrices"].as_array().unwrap();
    let losses: Vec<f64> =
        matrices.iter().map(|matrix| matrix["outputs"][0]["kl"].as_f64().unwrap()).collect();
    assert!(losses.len() > 2 && losses.is_sorted_by(|a, b| a >= b), "{losses:?}");
    assert!(found["all"][0]["kl"].as_f64().unwrap() > losses[losses.len() - 1]);
    // The same, with a recipe and verify.
    for matrix in [&matrices[0], &matrices[losses.len() - 1]] {
        let name = matrix["name"].as_str().unwrap();
        let bits = &matrix["bits"];
        let recipe = format!(
            "version: 1\nlayers:\n  - {{match: '*', bits: f32}}\n  - {{match: '{name}', bits: {bits}}}\n"
        );
        fs::write(folder.path().join("r.yaml"), recipe).unwrap();
        let convert = ["convert", &model, "--recipe", "r.yaml", "--calib", "a.npz", "-o", "m.amq"];
        good(&folder, &convert);
        let verify = ["verify", "m.amq", "--against", &model, "--inputs", "a.npz"];
        let verified = json(&folder, &verify);
        let snr = |outputs: &Value| outputs[0]["snr_db"].as_f64().unwrap();
        let (found, expected) = (snr(&matrix["outputs"]), snr(&verified["outputs"]));
        assert!((found - expected).abs() < 1e-6, "{name} {found} {expected}");
    }
    let text = good(&folder, &[&["sensitivity", &model], &data[..]].concat());
    assert!(text.contains("all of them") && text.contains("40 samples"), "{text}");
}

#[test]
fn sensitivity_needs_data() {
    let folder = tempfile::tempdir().unwrap();
    let output = amqc(&folder, &["sensitivity", &fixture("digits/model.onnx")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--calib"));
}

/// What convert says on standard error.
fn warned(folder: &TempDir, args: &[&str]) -> String {
    let output = amqc(folder, &[&["convert", "-o", "m.amq"], args].concat());
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{message}");
    message
}

#[test]
fn poor_answers_are_told() {
    let folder = tempfile::tempdir().unwrap();
    images(&folder);
    let (gru, digits) = (fixture("gru/model.onnx"), fixture("digits/model.onnx"));
    insta::assert_snapshot!("poor_on_seeded_inputs", warned(&folder, &[&gru, "-b", "1"]));
    let poor = [&digits, "-b", "1", "-a", "1", "--calib", "a.npz", "--method", "uniform"];
    insta::assert_snapshot!("poor_on_data", warned(&folder, &poor));
}

#[test]
fn good_answers_need_no_words() {
    let folder = tempfile::tempdir().unwrap();
    images(&folder);
    let digits = fixture("digits/model.onnx");
    for args in [
        &[&digits, "-b", "4"][..],
        &[&digits, "-b", "3", "--calib", "a.npz"],
        &[&digits, "-b", "f32"],
        &[&fixture("gru/model.onnx"), "-b", "4"],
        &[&digits, "-b", "1", "-q"],
    ] {
        assert_eq!(warned(&folder, args), "", "{args:?}");
    }
}
