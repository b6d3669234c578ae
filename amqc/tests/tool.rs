//! What the program says to those who are new to it: figures explained, near misses named, nothing done that was not said.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs::{self, File};
use std::path::Path;

use amqc::data;
use amqc::tensor::{self, Data};

mod place;

use place::{Ending, Place, TABLE};

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name);
    path.to_str().unwrap().to_owned()
}

fn npy(place: &Place, name: &str, dims: &[usize], data: Data) {
    let tensor = tensor::Tensor { dims: dims.to_vec(), data };
    data::write_npy(File::create(place.path(name)).unwrap(), &tensor).unwrap();
}

/// An `.npy` file of float64, which nothing of ours writes.
fn float64(place: &Place, name: &str, values: &[f64]) {
    let mut header =
        format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({},), }}", values.len());
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    place.write(name, bytes);
}

#[test]
fn positions_are_judged_one_by_one() {
    let place = Place::new();
    // Choices for the tokens 0 and 2 are 0 and 3; those for 1 and 3 are equal scores, of which the first counts.
    place.npz("i.npz", &[("tokens", &[2, 3], Data::I64(vec![0, 2, 1, 2, 0, 3]))]);
    npy(&place, "l.npy", &[2, 3], Data::I64(vec![0, 3, 2, -100, 1, 0]));
    let args = ["eval", "m.amq", "--inputs", "i.npz", "--labels", "l.npy", "--top", "2"];
    let json = place.amqc(&[&args[..], &["--json"]].concat()).json();
    assert_eq!((&json["accuracy"], &json["predicted"]), (&0.6.into(), &5.into()), "{json}");
    // Of the token 0 the label 1 is second; of equal scores the label 2 is third.
    assert_eq!(json["top"], serde_json::json!({"k": 2, "accuracy": 0.8}));
    assert_eq!(json["unlabelled"], 1);
    let text = place.amqc(&args).done();
    assert!(text.starts_with("accuracy 60.00%, top 2 80.00%, macro F1 "), "{text}");
    assert!(text.ends_with(" (5 items, 1 without a label left out)\n"), "{text}");
    npy(&place, "l.npy", &[2, 2], Data::I64(vec![0; 4]));
    place.amqc(&args).fails(4, &["l.npy", "[2, 2]", "[2, 3, 4]"]);
}

#[test]
fn numbers_are_compared_with_numbers() {
    let place = Place::new();
    place.npz("i.npz", &[("tokens", &[2, 1], Data::I64(vec![1, 3]))]);
    let quarter = 0.25f32.ln();
    // Off by 0, 1, 0, 0 and 0, 0, -2, 0.
    let labels =
        [0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0].iter().map(|error| quarter + error).collect();
    npy(&place, "l.npy", &[2, 1, 4], Data::F32(labels));
    let args = ["eval", "m.amq", "--inputs", "i.npz", "--labels", "l.npy"];
    let json = place.amqc(&[&args[..], &["--json"]].concat()).json();
    let near = |key: &str, expected: f64| (json[key].as_f64().unwrap() - expected).abs() < 1e-6;
    assert!(near("mean_error", 3.0 / 8.0) && near("rms_error", (5.0f64 / 8.0).sqrt()), "{json}");
    assert_eq!(
        place.amqc(&args).done(),
        "mean error 0.375000, root mean square 0.790569 (8 numbers)\n"
    );
    place.amqc(&[&args[..], &["--top", "2"]].concat()).fails(2, &["--top 2", "= help:"]);
}

#[test]
fn labels_without_the_axis_of_items_are_told_their_shape() {
    let place = Place::new();
    place.npz("i.npz", &[("tokens", &[1, 3], Data::I64(vec![1, 3, 0]))]);
    npy(&place, "l.npy", &[3], Data::I64(vec![0, 1, 2]));
    let words = ["labels have the shape [3] and \"tokens\" has [1, 3]", "the shape [1, 3]"];
    place.amqc(&["eval", "m.amq", "--inputs", "i.npz", "--labels", "l.npy"]).fails(4, &words);
}

#[test]
fn a_figure_without_limits_is_no_verdict() {
    let place = Place::new();
    let mut other = TABLE;
    other[1] = [0.5, 0.25, 0.125, 0.125];
    place.bigrams("other.amq", Ending::Logits, other);
    place.npz("i.npz", &[("tokens", &[1, 1], Data::I64(vec![1]))]);
    let args = ["verify", "other.amq", "--against", "m.amq", "--inputs", "i.npz"];
    let text = place.amqc(&args).done();
    // Three of four logits are off by ln 2, half of their size: 25% of the squares' sum times 3 / 4.
    assert!(text.contains(" dB, off by 43% of its size\n"), "{text}");
    assert!(!text.contains("ok") && text.contains("usual are 39 dB"), "{text}");
    let limited = place.amqc(&[&args[..], &["--min-snr", "3"]].concat()).done();
    assert!(limited.ends_with("other.amq: ok\n"), "{limited}");
    place.amqc(&["verify", &fixture("gru/model.onnx")]).fails(2, &["ONNX", "--against"]);
}

#[test]
fn finer_numbers_are_taken_with_a_note() {
    let place = Place::new();
    place.npz("i.npz", &[("tokens", &[1, 1], Data::I64(vec![1]))]);
    let run = |value: f64| {
        float64(&place, "count.npy", &[value]);
        let input = ["--input", "count=count.npy", "--outputs", "o.npz"];
        place.amqc(&[&["run", "m.amq", "--inputs", "i.npz"], &input[..]].concat())
    };
    let noted = run(0.1);
    assert_eq!(noted.stderr().matches("note: count: float64").count(), 1, "{}", noted.stderr());
    noted.done();
    assert_eq!(run(0.5).stderr(), "");
    npy(&place, "count.npy", &[1], Data::I64(vec![(1 << 24) + 1]));
    let input = ["--input", "count=count.npy", "--outputs", "o.npz"];
    let noted = place.amqc(&[&["run", "m.amq", "--inputs", "i.npz"], &input[..]].concat());
    assert_eq!(noted.stderr().matches("note: count: integer").count(), 1, "{}", noted.stderr());
    noted.done();
}

#[test]
fn an_output_is_what_its_name_says_or_refused() {
    let place = Place::new();
    place.npz("i.npz", &[("tokens", &[1, 1], Data::I64(vec![1]))]);
    let run = |out| place.amqc(&["run", "m.amq", "--inputs", "i.npz", "--outputs", out]);
    run("o.npy").fails(2, &["o.npy", "2 outputs", "--output-dir"]);
    run("-").fails(2, &["- is not written to", "= help:"]);
    place.amqc(&["convert", &fixture("digits/model.onnx"), "-o", "-"]).fails(2, &["./-"]);
    assert_eq!(place.names(), ["i.npz", "m.amq"]);
    let noted = run("o.csv");
    assert!(noted.stderr().contains("note: o.csv is an .npz archive"), "{}", noted.stderr());
    noted.done();
    // One output is one array.
    let digits = ["run", &fixture("digits/model.onnx"), "--inputs", &fixture("digits/images.npz")];
    place.amqc(&[&digits[..], &["--outputs", "o.npy"]].concat()).done();
    let array = data::read_npy(&place.path("o.npy")).unwrap();
    assert_eq!(array.dims, [360, 10]);
}

#[test]
fn memory_is_allowed_by_the_flag_that_an_error_names() {
    let place = Place::new();
    let bench = |limit: &str| {
        place.amqc(&["bench", "m.amq", "--dim", "seq=64", "--max-memory", limit, "--by", "node"])
    };
    bench("500B").fails(3, &["500 are allowed", "--max-memory"]);
    let text = bench("1MB").done();
    for words in ["node", "lookup", "Gather", "one by one", "m.amq: a step takes"] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
}

#[test]
fn sizes_that_are_said_wrong_are_mistakes_of_the_command_line() {
    let place = Place::new();
    // More than the table has rows of: seeded inputs are valid, whatever the size.
    place.amqc(&["verify", "m.amq", "--against", "m.amq", "--dim", "seq=100"]).done();
    let model = fixture("gru/model.onnx");
    let args = ["convert", &model, "-o", "x.amq", "--state", "h=hn"];
    place.amqc(&args).fails(2, &["--state h=hn", "there is no input \"h\"", "did you mean"]);
    place.write("r.yaml", "version: 1\nlayers:\n  - { match: /rnn/GRV, bits: 3 }\n");
    let args = ["convert", &model, "-o", "x.amq", "--recipe", "r.yaml"];
    place.amqc(&args).fails(2, &["r.yaml:3", "did you mean \"/rnn/GRU", "layers: "]);
    place.write("r.yaml", "version: 1\ndefaults: { method: alternatig }\n");
    place.amqc(&args).fails(2, &["did you mean alternating?"]);
}

#[test]
fn patterns_match_names_of_weights() {
    let place = Place::new();
    let model = fixture("digits/model.onnx");
    place.write(
        "r.yaml",
        "version: 1\nlayers:\n  - { match: '*', bits: f32 }\n  - { match: 12.weight, bits: 3 }\n",
    );
    let args = ["convert", &model, "-o", "x.amq", "--recipe", "r.yaml", "--json"];
    let json = place.amqc(&args).json();
    let coded: Vec<&str> = json["layers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|layer| layer["bits"] == 3)
        .map(|layer| layer["name"].as_str().unwrap())
        .collect();
    assert_eq!(coded, ["/12/Gemm"], "{json}");
}

#[test]
fn operators_are_listed_without_the_repository() {
    let place = Place::new();
    let listed = place.amqc(&["operators"]).done();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operators.md");
    assert_eq!(listed, fs::read_to_string(page).unwrap());
}
