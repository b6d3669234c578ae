//! `amqc export`: what is written is the file's network with the weights that its codes stand for.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use amq_format::Validated;
use amq_runtime::{Isa, Session, View};
use amqc::compile::compile;
use amqc::export::export;
use amqc::options::ConvertOptions;
use common::{bits, convert, fixture, load, numbers};

/// Bits of the first output of a file.
fn answer(file: &[u8], input: &str, view: View<'_>) -> Vec<u32> {
    let mut session = Session::new(load(file, Isa::detect()));
    let outputs = session.run(&[(input, view)]).unwrap();
    let (_, first) = outputs.iter().next().unwrap();
    bits(first)
}

/// Where activations are float, the exported model gives the bits that the file gives.
#[test]
fn exported_weights_are_what_codes_stand_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exported.onnx");
    let tokens: Vec<i64> = numbers(24, 40).map(i64::from).collect();
    let pixels: Vec<f32> = numbers(2 * 64, 16).map(|x| x as f32 / 16.0).collect();
    for (model, input, view) in [
        ("lstm", "tokens", View::i64(&[12, 2], &tokens)),
        ("gru", "tokens", View::i64(&[12, 2], &tokens)),
        ("digits", "images", View::f32(&[2, 1, 8, 8], &pixels)),
    ] {
        for settings in [["2", "f32"], ["3", "f32"], ["f32", "f32"]] {
            let file = convert(model, settings);
            let exported = export(&Validated::new(&file).unwrap()).unwrap();
            assert!(exported.notes.is_empty(), "{:?}", exported.notes);
            fs::write(&path, &exported.bytes).unwrap();
            let again = compile(&path, &ConvertOptions::float(), &|_| {}).unwrap().bytes;
            let (found, expected) = (answer(&again, input, view), answer(&file, input, view));
            assert!(expected.iter().any(|&x| x != expected[0]));
            assert_eq!(found, expected, "{model} {settings:?}");
        }
        let coded = convert(model, ["2", "int8"]);
        let exported = export(&Validated::new(&coded).unwrap()).unwrap();
        assert!(exported.notes[0].contains("activations are float"), "{:?}", exported.notes);
    }
}

fn amqc(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_amqc")).args(args).current_dir(folder).output().unwrap()
}

#[test]
fn only_amq_files_are_exported() {
    let folder = tempfile::tempdir().unwrap();
    let model = fs::read(fixture("lstm/model.amq")).unwrap();
    fs::write(folder.path().join("m.amq"), &model).unwrap();
    fs::write(folder.path().join("cut.amq"), &model[..model.len() / 2]).unwrap();
    fs::copy(fixture("gru/model.onnx"), folder.path().join("g.onnx")).unwrap();
    let told = amqc(folder.path(), &["export", "m.amq"]);
    assert_eq!(told.status.code(), Some(0));
    let text = String::from_utf8(told.stdout).unwrap();
    assert!(text.starts_with("m.amq -> m.onnx: "), "{text}");
    assert!(folder.path().join("m.onnx").exists());
    for (args, code, what) in [
        (["export", "g.onnx", "-o", "o.onnx"], 2, "no .amq file"),
        (["export", "cut.amq", "-o", "o.onnx"], 4, "cut.amq"),
        (["export", "none.amq", "-o", "o.onnx"], 5, "none.amq"),
        (["export", "m.amq", "-o", "m.amq"], 2, "m.amq"),
    ] {
        let refused = amqc(folder.path(), &args);
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(code), "{error}");
        assert!(error.contains(what), "{error}");
        assert!(!folder.path().join("o.onnx").exists());
    }
    assert_eq!(fs::read(folder.path().join("m.amq")).unwrap(), model);
}
