//! Fitting weights to calibration data: better answers, the same bytes, and sentences for bad data.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use amqc::data::{read_npz, write_npy, write_npz};
use amqc::tensor::{Data, Tensor};
use tempfile::TempDir;

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name);
    path.to_str().unwrap().to_owned()
}

fn amqc(folder: &TempDir, args: &[&str], threads: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amqc"));
    command.args(args).current_dir(folder).env("RAYON_NUM_THREADS", threads);
    command.output().unwrap()
}

#[track_caller]
fn good(folder: &TempDir, args: &[&str]) -> String {
    let output = amqc(folder, args, "2");
    assert!(output.status.success(), "{args:?} {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn number(json: &str, key: &str) -> f64 {
    serde_json::from_str::<serde_json::Value>(json).unwrap()[key].as_f64().unwrap()
}

/// The shipped images, cut in two: those to calibrate with, and those to measure on with their labels.
fn digits(folder: &TempDir) -> [PathBuf; 3] {
    let arrays = read_npz(Path::new(&fixture("digits/images.npz")), |_| Ok(())).unwrap();
    let (_, images) = arrays.into_iter().next().unwrap();
    let images = images.into_tensor("images", amq_format::graph::DataType::F32).unwrap();
    let labels = amqc::data::read_npy(Path::new(&fixture("digits/labels.npy"))).unwrap();
    let labels = labels.integers().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (name, part) in [("a.npz", 0..120), ("b.npz", 120..360)] {
        let file = File::create(path(name)).unwrap();
        write_npz(file, &[("images".to_owned(), images.slice(0, part))]).unwrap();
    }
    let labels = Tensor { dims: vec![240], data: Data::I64(labels[120..].to_vec()) };
    write_npy(File::create(path("b.npy")).unwrap(), &labels).unwrap();
    [path("a.npz"), path("b.npz"), path("b.npy")]
}

#[test]
fn texts_bring_answers_nearer_to_the_floats() {
    let folder = tempfile::tempdir().unwrap();
    let (model, vocabulary) = (fixture("lstm/model.onnx"), fixture("lstm/vocab.txt"));
    // Fitted to the first lines, measured on the others.
    let text = fs::read_to_string(fixture("text/heldout.txt")).unwrap();
    let at = text.match_indices('\n').nth(200).unwrap().0 + 1;
    fs::write(folder.path().join("a.txt"), &text[..at]).unwrap();
    fs::write(folder.path().join("b.txt"), &text[at..]).unwrap();
    let perplexity = |args: &[&str]| {
        good(&folder, &[&["convert", &model, "-b", "2", "-o", "m.amq"], args].concat());
        let eval = ["eval", "m.amq", "--text", "b.txt", "--vocab", &vocabulary, "--json"];
        number(&good(&folder, &eval), "perplexity")
    };
    let plain = perplexity(&[]);
    let calibrated = perplexity(&["--calib", "a.txt", "--vocab", &vocabulary]);
    assert!(calibrated < 0.96 * plain, "{calibrated} {plain}");
}

#[test]
fn images_bring_answers_nearer_to_the_floats() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b, _] = digits(&folder).map(|path| path.to_str().unwrap().to_owned());
    let model = fixture("digits/model.onnx");
    let distance = |args: &[&str]| {
        good(
            &folder,
            &[&["convert", &model, "-b", "2", "-a", "f32", "-o", "m.amq"], args].concat(),
        );
        let verify = ["verify", "m.amq", "--against", &model, "--inputs", &b, "--json"];
        let json = good(&folder, &verify);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        value["outputs"][0]["snr_db"].as_f64().unwrap()
    };
    let (plain, calibrated) = (distance(&[]), distance(&["--calib", &a]));
    assert!(calibrated > plain + 2.0, "{calibrated} dB, {plain} dB");
}

#[test]
fn threads_change_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let [a, ..] = digits(&folder).map(|path| path.to_str().unwrap().to_owned());
    let files: Vec<Vec<u8>> = ["1", "2", "5"]
        .into_iter()
        .map(|threads| {
            let model = fixture("digits/model.onnx");
            let args = ["convert", &model, "-b", "3", "--calib", &a, "-o", "m.amq"];
            assert!(amqc(&folder, &args, threads).status.success());
            fs::read(folder.path().join("m.amq")).unwrap()
        })
        .collect();
    assert!(files[0] == files[1] && files[0] == files[2]);
}

#[test]
fn samples_stand_along_another_axis_in_files_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    for (index, steps) in [5_usize, 9].into_iter().enumerate() {
        let tokens = (0..3 * steps).map(|i| (i * 7 % 2000) as i64).collect();
        let tensor = Tensor { dims: vec![steps, 3], data: Data::I64(tokens) };
        let file = File::create(data.join(format!("{index}.npy"))).unwrap();
        write_npy(file, &tensor).unwrap();
    }
    let model = fixture("lstm/model.onnx");
    let args = ["convert", &model, "--calib", "data", "--calib-axis", "1", "-o", "m.amq"];
    let text = good(&folder, &args);
    assert!(text.contains("calibrated"), "{text}");
}

/// What is left of the moments of data that never vary is rounding.
#[test]
fn data_that_never_vary_are_no_trouble() {
    let folder = tempfile::tempdir().unwrap();
    let [a, ..] = digits(&folder);
    let (name, images) = read_npz(&a, |_| Ok(())).unwrap().remove(0);
    let dims = images.dims;
    let zeros = Tensor { data: Data::F32(vec![0.0; dims.iter().product()]), dims };
    write_npz(File::create(folder.path().join("zero.npz")).unwrap(), &[(name, zeros)]).unwrap();
    let model = fixture("digits/model.onnx");
    let text = good(&folder, &["convert", &model, "-b", "2", "--calib", "zero.npz", "-o", "m.amq"]);
    assert!(text.contains("calibrated"), "{text}");
}

#[test]
fn bad_data_get_a_sentence_and_leave_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let [a, ..] = digits(&folder).map(|path| path.to_str().unwrap().to_owned());
    let npz = |name: &str, key: &str, dims: Vec<usize>, data: Data| {
        let file = File::create(folder.path().join(name)).unwrap();
        write_npz(file, &[(key.to_owned(), Tensor { dims, data })]).unwrap();
    };
    npz("name.npz", "pictures", vec![2, 1, 8, 8], Data::F32(vec![0.5; 128]));
    npz("type.npz", "images", vec![2, 1, 8, 8], Data::Bool(vec![1; 128]));
    npz("shape.npz", "images", vec![2, 64], Data::F32(vec![0.5; 128]));
    npz("one.npz", "images", vec![1, 1, 8, 8], Data::F32(vec![0.5; 64]));
    npz("none.npz", "images", vec![0, 1, 8, 8], Data::F32(vec![]));
    npz("nan.npz", "images", vec![2, 1, 8, 8], Data::F32(vec![f32::NAN; 128]));
    npz("huge.npz", "images", vec![2, 1, 8, 8], Data::F32(vec![3e38; 128]));
    fs::write(folder.path().join("damaged.npz"), "PK").unwrap();
    fs::write(folder.path().join("text.txt"), "some words\n").unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    let model = fixture("digits/model.onnx");
    for (args, code, word) in [
        (vec!["--calib", "name.npz"], 4, "pictures"),
        (vec!["--calib", "type.npz"], 4, "bool"),
        (vec!["--calib", "shape.npz"], 4, "[2, 64]"),
        (vec!["--calib", "one.npz"], 4, "2 samples"),
        (vec!["--calib", "none.npz"], 4, "2 samples"),
        (vec!["--calib", "nan.npz"], 4, "NaN"),
        (vec!["--calib", "huge.npz"], 4, "not finite"),
        (vec!["--calib", "damaged.npz"], 4, "damaged.npz"),
        (vec!["--calib", "empty"], 4, "empty"),
        (vec!["--calib", "missing.npz"], 5, "missing.npz"),
        (vec!["--calib", "text.txt"], 2, "--vocab"),
        (vec!["--calib", &a, "--calib-axis", "7"], 2, "axis 7"),
        (vec!["--calib", &a, "--calib-samples", "1"], 2, "2 samples"),
        (vec!["--calib", &a, "--vocab", "text.txt"], 2, "vocabulary"),
        (vec!["--vocab", "text.txt"], 2, "--calib"),
        (vec!["--method", "calibrated"], 2, "calibrate"),
    ] {
        let args = [&["convert", &model, "-o", "m.amq"], &args[..]].concat();
        let output = amqc(&folder, &args, "2");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?} {message}");
        assert!(message.contains(word), "{args:?} {message}");
        assert!(!folder.path().join("m.amq").exists(), "{args:?}");
    }
}

#[test]
fn bad_texts_get_a_sentence_and_leave_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| fs::write(folder.path().join(name), text).unwrap();
    let vocabulary = fixture("lstm/vocab.txt");
    write("empty.txt", b"");
    write("one.txt", b"the");
    write("good.txt", b"the of the of the of\n");
    write("bytes.txt", b"the \xff of\n");
    write("short.txt", b"the\nof\n<eos>\n<unk>\n");
    write("twice.txt", b"the\nof\nthe\n");
    let known = fs::read_to_string(&vocabulary).unwrap().replace("<unk>", "<other>");
    write("strict.txt", known.as_bytes());
    write("odd.txt", b"the zebrafinch of\n");
    // What was there before stays.
    write("m.amq", b"before");
    let model = fixture("lstm/model.onnx");
    for (args, code, word) in [
        (["--calib", "empty.txt", "--vocab", &vocabulary], 4, "2 tokens"),
        (["--calib", "one.txt", "--vocab", &vocabulary], 4, "2 tokens"),
        (["--calib", "bytes.txt", "--vocab", &vocabulary], 4, "not UTF-8"),
        (["--calib", "good.txt", "--vocab", "short.txt"], 4, "4 entries"),
        (["--calib", "good.txt", "--vocab", "twice.txt"], 4, "there twice"),
        (["--calib", "odd.txt", "--vocab", "strict.txt"], 4, "\"zebrafinch\""),
        (["--calib", "good.txt", "--vocab", "none.txt"], 5, "none.txt"),
        (["--calib", "none.txt", "--vocab", &vocabulary], 5, "none.txt"),
        (["--calib", "good.txt", "--calib-samples", "9"], 2, "--vocab"),
    ] {
        for command in ["convert", "sensitivity"] {
            let output: &[&str] = if command == "convert" { &["-o", "m.amq"] } else { &[] };
            let args = [&[command, &model], output, &args[..]].concat();
            let output = amqc(&folder, &args, "2");
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(code), "{args:?} {message}");
            assert!(message.starts_with("error: ") && message.contains(word), "{args:?} {message}");
        }
        assert_eq!(fs::read(folder.path().join("m.amq")).unwrap(), b"before", "{args:?}");
    }
}

#[test]
fn bad_arrays_of_two_inputs_get_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = |count: usize, id: i64| {
        let data = Data::I64(vec![id; 2 * count]);
        ("tokens".to_owned(), Tensor { dims: vec![2, count], data })
    };
    let state = |name: &str, count: usize| {
        let data = Data::F32(vec![0.5; 128 * count]);
        (name.to_owned(), Tensor { dims: vec![1, count, 128], data })
    };
    let npz = |name: &str, arrays: &[(String, Tensor)]| {
        write_npz(File::create(folder.path().join(name)).unwrap(), arrays).unwrap();
    };
    npz("counts.npz", &[tokens(3, 1), state("h0", 4), state("c0", 3)]);
    npz("range.npz", &[tokens(3, 5000)]);
    npz("states.npz", &[state("h0", 3)]);
    npz("good.npz", &[tokens(3, 1), state("h0", 3), state("c0", 3)]);
    let model = fixture("lstm/model.onnx");
    for (file, code, word) in [
        ("counts.npz", 4, "along axis 1 c0 holds 3 samples and h0 4"),
        ("range.npz", 4, "5000"),
        ("states.npz", 2, "\"tokens\" is not given"),
        ("good.npz", 0, ""),
    ] {
        let args = ["convert", &model, "--calib", file, "--calib-axis", "1", "-o", "m.amq"];
        let output = amqc(&folder, &args, "2");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{file} {message}");
        assert!(message.contains(word), "{file} {message}");
        assert_eq!(folder.path().join("m.amq").exists(), code == 0, "{file}");
    }
}
