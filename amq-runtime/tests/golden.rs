//! The frozen files give their frozen answers, on every instruction set to the bit.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(unreachable_pub, reason = "shared with a generator")]

mod answers;

use std::fs;

use amq_format::Validated;
use amq_format::graph::DataType;
use amq_runtime::{Isa, LoadOptions, Model};
use answers::Answers;

#[test]
fn files_give_their_answers_on_every_instruction_set() {
    let mut files = Vec::new();
    for entry in fs::read_dir(answers::folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "amq") {
            files.push(path);
        }
    }
    assert!(files.len() >= 9, "{files:?}");
    for path in files {
        let file = fs::read(&path).unwrap();
        let text = fs::read_to_string(path.with_extension("txt")).unwrap();
        let answers = Answers::parse(&text).unwrap();
        assert_eq!(answers.text(), text);
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            let outputs = answers::run(&file, &answers.inputs, isa).unwrap();
            assert_eq!(outputs.len(), answers.outputs.len());
            for (found, expected) in outputs.iter().zip(&answers.outputs) {
                assert_eq!(
                    found,
                    expected,
                    "{} on {isa}: {} changed. Where no version was released with it and the change \
                     is meant: cargo run -p amq-runtime --example golden -- --renew",
                    path.display(),
                    expected.name
                );
            }
        }
    }
}

#[test]
fn weights_that_stay_in_the_file_give_the_same_answers() {
    for entry in fs::read_dir(answers::folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "amq") {
            continue;
        }
        let text = fs::read_to_string(path.with_extension("txt")).unwrap();
        let answers = Answers::parse(&text).unwrap();
        let bytes = fs::read(&path).unwrap();
        // Elements that are not aligned are copied.
        for shift in [0, 1] {
            let mut held = vec![0; shift];
            held.extend(&bytes);
            let file = Validated::new(&held.leak()[shift..]).unwrap();
            for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
                let options = LoadOptions { isa, ..LoadOptions::default() };
                let model = Model::in_file(&file, &options).unwrap();
                let outputs = answers::answers_of(model, &answers.inputs).unwrap();
                assert_eq!(outputs, answers.outputs, "{} on {isa}", path.display());
            }
        }
    }
}

/// What would be the same whatever the arithmetic were would hold nothing.
#[test]
fn answers_tell_one_arithmetic_from_another() {
    for entry in fs::read_dir(answers::folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !(name.starts_with("products-") && name.ends_with(".txt")) {
            continue;
        }
        let answers = Answers::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        // Rows of the table are sums of few coefficients.
        for output in answers.outputs.iter().filter(|output| output.name != "x") {
            assert_eq!(output.data_type, DataType::F32, "{name}: {}", output.name);
            let floats = || output.elements.iter().map(|&bits| f32::from_bits(bits as u32));
            assert!(floats().all(f32::is_finite), "{name}: {}", output.name);
            // Full mantissas, most of them each their own.
            let full = floats().filter(|x| x.to_bits() & 0xff != 0).count();
            assert!(full * 2 > output.elements.len(), "{name}: {}", output.name);
        }
    }
}
