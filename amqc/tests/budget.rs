//! Bits by budget: what is asked for is kept, the choice is better than one number of bits for all, and
//! its recipe gives the same file.
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
fn json(folder: &TempDir, args: &[&str]) -> Value {
    let output = amqc(folder, &[args, &["--json"]].concat());
    assert!(output.status.success(), "{args:?} {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A folder with `a.txt` to calibrate with and `b.txt` to measure on.
fn texts() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(fixture("text/heldout.txt")).unwrap();
    let at = text.match_indices('\n').nth(200).unwrap().0 + 1;
    fs::write(folder.path().join("a.txt"), &text[..at]).unwrap();
    fs::write(folder.path().join("b.txt"), &text[at..]).unwrap();
    folder
}

/// A folder with images in `a.npz`.
fn images() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let arrays = read_npz(Path::new(&fixture("digits/images.npz")), |_| Ok(())).unwrap();
    let (name, images) = arrays.into_iter().next().unwrap();
    let images = images.into_tensor("images", amq_format::graph::DataType::F32).unwrap();
    let file = File::create(folder.path().join("a.npz")).unwrap();
    write_npz(file, &[(name, images.slice(0, 0..60))]).unwrap();
    folder
}

/// Converts within a budget, and again by the recipe: the files are the same.
#[track_caller]
fn twice(folder: &TempDir, model: &str, budget: &[&str], data: &[&str]) -> Value {
    let convert = ["convert", model];
    let save = ["-o", "a.amq", "--save-recipe", "r.yaml"];
    let chosen = json(folder, &[&convert[..], budget, data, &save].concat());
    let again = ["--recipe", "r.yaml", "-o", "again.amq"];
    json(folder, &[&convert[..], data, &again].concat());
    let [a, b] = ["a.amq", "again.amq"].map(|name| fs::read(folder.path().join(name)).unwrap());
    assert!(a == b, "{budget:?}: the recipe gives another file");
    chosen
}

#[test]
fn bits_that_are_chosen_beat_a_straight_line() {
    let folder = texts();
    let (model, vocabulary) = (fixture("lstm/model.onnx"), fixture("lstm/vocab.txt"));
    let data = ["--calib", "a.txt", "--vocab", &vocabulary, "--calib-samples", "1500"];
    // Bits a weight and perplexity of the file.
    let measured = |file: &str, report: &Value| {
        let sum = |key: &str, scale: f64| -> f64 {
            let layers = report["layers"].as_array().unwrap();
            layers.iter().map(|layer| scale * layer[key].as_f64().unwrap()).sum()
        };
        let eval = json(&folder, &["eval", file, "--text", "b.txt", "--vocab", &vocabulary]);
        let bits = sum("bytes_after", 8.0) / sum("bytes_before", 0.25);
        (bits, eval["perplexity"].as_f64().unwrap())
    };
    let uniform = |bits: &str| {
        let convert = ["convert", &model, "-b", bits, "-o", "m.amq"];
        measured("m.amq", &json(&folder, &[&convert[..], &data].concat()))
    };
    let (two, three) = (uniform("2"), uniform("3"));
    let report = twice(&folder, &model, &["--target-bits", "2.6"], &data);
    let (bits, perplexity) = measured("a.amq", &report);
    assert!(bits <= 2.6, "{bits}");
    assert!((report["chosen"]["bits_per_weight"].as_f64().unwrap() - bits).abs() < 1e-9);
    let line = two.1 + (three.1 - two.1) * (bits - two.0) / (three.0 - two.0);
    assert!(perplexity < line, "{perplexity}, the line {line} at {bits} bits");
}

#[test]
fn sizes_are_kept() {
    let folder = images();
    let model = fixture("digits/model.onnx");
    for size in ["36kB", "60000"] {
        let report = twice(&folder, &model, &["--max-size", size], &["--calib", "a.npz"]);
        let bytes = report["bytes_out"].as_u64().unwrap();
        let most = size.replace("kB", "000").parse().unwrap();
        assert!(bytes <= most && bytes * 10 > most * 8, "{size} {bytes}");
    }
    let output = amqc(&folder, &["convert", &model, "--max-size", "9kB", "-o", "none.amq"]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("the least that the model takes is"), "{message}");
    assert!(!folder.path().join("none.amq").exists());
}

#[test]
fn losses_are_kept() {
    let folder = images();
    let model = fixture("digits/model.onnx");
    let sizes = ["5%", "0.5%"].map(|share| {
        let report = twice(&folder, &model, &["--max-loss", share], &["--calib", "a.npz"]);
        let most = share.replace('%', "").parse::<f64>().unwrap() / 100.0;
        // What was measured for the choice is what the file does.
        let found = report["answers"]["outputs"][0]["kl"].as_f64().unwrap();
        assert!(found <= most.ln_1p(), "{share} {found}");
        assert!((report["chosen"]["measured"].as_f64().unwrap() - found).abs() < 1e-9);
        report["bytes_out"].as_u64().unwrap()
    });
    assert!(sizes[0] < sizes[1], "{sizes:?}");
}

#[test]
fn without_data_the_errors_of_weights_decide() {
    let folder = tempfile::tempdir().unwrap();
    let model = fixture("gru/model.onnx");
    let report = twice(&folder, &model, &["--target-bits", "3.2", "-a", "2"], &[]);
    assert_eq!(report["chosen"]["measure"], "relative_mse");
    assert!(report["chosen"]["bits_per_weight"].as_f64().unwrap() <= 3.2);
    // Codes of activations have kernels for 4 bits and fewer.
    for layer in report["layers"].as_array().unwrap() {
        assert!(layer["bits"].as_u64().unwrap() <= 4, "{layer}");
    }
}

#[test]
fn what_a_recipe_says_stays() {
    let folder = images();
    let recipe =
        "version: 1\nlayers:\n  - {match: '/14/*', bits: f32}\n  - {match: '/12/*', bits: 4}\n";
    fs::write(folder.path().join("mine.yaml"), recipe).unwrap();
    let model = fixture("digits/model.onnx");
    let args = ["--target-bits", "3", "--recipe", "mine.yaml"];
    let convert = ["convert", &model, "-o", "m.amq", "--save-recipe", "r.yaml"];
    let data = ["--calib", "a.npz"];
    let report = json(&folder, &[&convert[..], &args, &data].concat());
    for layer in report["layers"].as_array().unwrap() {
        match layer["name"].as_str().unwrap() {
            "/14/Gemm" => assert_eq!(layer["kept_float"], "asked for"),
            "/12/Gemm" => assert_eq!(layer["bits"], 4),
            _ => assert!(layer["bits"].as_u64().is_some(), "{layer}"),
        }
    }
    json(&folder, &[&["convert", &model, "-o", "b.amq", "--recipe", "r.yaml"][..], &data].concat());
    let [a, b] = ["m.amq", "b.amq"].map(|name| fs::read(folder.path().join(name)).unwrap());
    assert!(a == b);
}

#[test]
fn a_recipe_is_saved_without_a_budget() {
    let folder = tempfile::tempdir().unwrap();
    let model = fixture("lstm/model.onnx");
    twice(&folder, &model, &["-b", "2", "-a", "2", "--cycles", "3"], &[]);
    let recipe = fs::read_to_string(folder.path().join("r.yaml")).unwrap();
    insta::assert_snapshot!(recipe);
}

/// Most of what codes of activations lose is lost where a softmax follows.
#[test]
fn codes_of_activations_with_int8_before_the_softmax() {
    let folder = texts();
    let (model, vocabulary) = (fixture("lstm/model.onnx"), fixture("lstm/vocab.txt"));
    let recipe = "version: 1\ndefaults: { activations: 2 }\nlayers:\n  \
                  - { match: '/linear/*', activations: int8 }\n";
    fs::write(folder.path().join("r.yaml"), recipe).unwrap();
    let perplexity = |args: &[&str]| {
        let data = ["--calib", "a.txt", "--vocab", &vocabulary, "--calib-samples", "1500"];
        let convert = ["convert", &model, "-o", "m.amq"];
        json(&folder, &[&convert[..], args, &data].concat());
        let eval = json(&folder, &["eval", "m.amq", "--text", "b.txt", "--vocab", &vocabulary]);
        eval["perplexity"].as_f64().unwrap()
    };
    let [codes, mixed, int8] =
        [&["-a", "2"][..], &["--recipe", "r.yaml"], &["-a", "int8"]].map(perplexity);
    assert!(mixed - int8 < 0.6 * (codes - int8), "{codes} {mixed} {int8}");
}

#[test]
fn budgets_that_say_nothing_are_usage_errors() {
    let folder = images();
    let model = fixture("digits/model.onnx");
    for (args, word) in [
        (&["--target-bits", "2", "-b", "2"][..], "drop -b"),
        (&["--target-bits", "2", "--max-size", "1MB"], "--max-size"),
        (&["--max-loss", "1%"], "--calib"),
        (&["--max-loss", "much", "--calib", "a.npz"], "1%"),
        (&["--max-size", "2 elephants"], "elephants"),
        (&["--target-bits", "1", "--calib", "a.npz"], "the least that the model takes is"),
        (&["--target-bits", "2", "--recipe", "f32.yaml"], "leaves a choice"),
        (&["--save-recipe", "a.npz", "--calib", "a.npz"], "also read"),
    ] {
        let f32s = "version: 1\nlayers:\n  - {match: '*', bits: f32}\n";
        fs::write(folder.path().join("f32.yaml"), f32s).unwrap();
        let output = amqc(&folder, &[&["convert", &model, "-o", "m.amq"], args].concat());
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?} {message}");
        assert!(message.contains(word), "{args:?} {message}");
        assert!(!folder.path().join("m.amq").exists(), "{args:?}");
    }
}
