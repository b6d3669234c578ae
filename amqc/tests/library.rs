//! What the commands do, done by a program.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::fs;

use amq_runtime::{Isa, Session, View};
use amqc::eval::{Labels, accuracy, perplexity};
use amqc::feed::arrays::{Batches, bind, read_inputs};
use amqc::feed::stream::{PortNames, TextReader};
use amqc::feed::text::{Unit, Vocabulary};
use amqc::loaded::Loaded;
use amqc::open::Opened;
use amqc::tensor::Data;
use amqc::verify::{Inputs, Limits, verify};
use common::{bits, convert, fixture, load, numbers};

fn open(model: &str) -> Loaded {
    Opened::read(&fixture(model)).unwrap().load(Isa::detect()).unwrap()
}

#[test]
fn a_text_in_pieces_gives_the_scores_of_the_whole() {
    let loaded = open("gru/model.onnx");
    let classes = Vocabulary::read(&fixture("gru/vocab.txt"), Unit::Char).unwrap().len();
    let tokens: Vec<i64> = numbers(90, classes as u32).map(i64::from).collect();
    let mut session = Session::new(load(&convert("gru", ["f32", "f32"]), Isa::detect()));
    let whole = session.run(&[("tokens", View::i64(&[90, 1], &tokens))]).unwrap();
    let expected = bits(whole.get("logits").unwrap());
    assert_eq!(expected.len(), 90 * classes);
    let mut reader = TextReader::new(&loaded, classes, PortNames::default()).unwrap();
    for cuts in [[1, 40], [17, 18]] {
        let (first, rest) = tokens.split_at(cuts[0]);
        let (second, third) = rest.split_at(cuts[1]);
        assert!(reader.anew(&[first, second, third]).unwrap() == expected, "{cuts:?}");
    }
}

#[test]
fn tokens_that_are_no_entries_are_refused() {
    let loaded = open("gru/model.onnx");
    let vocabulary = Vocabulary::read(&fixture("gru/vocab.txt"), Unit::Char).unwrap();
    let entries = vocabulary.len();
    let judge = |tokens: &[i64]| perplexity(&loaded, entries, tokens, PortNames::default());
    assert!(judge(&[0, 1, entries as i64 - 1]).is_ok());
    for other in [-1, entries as i64] {
        let error = judge(&[0, other, 1]).unwrap_err();
        assert!(error.message().contains(&format!("token {other} ")), "{error}");
    }
}

#[test]
fn batches_hold_every_item_once() {
    let loaded = open("digits/model.onnx");
    let inputs = read_inputs(&loaded, &fixture("digits/images.npz")).unwrap();
    let inputs = bind(&loaded, inputs).unwrap();
    let (_, images) = &inputs[0];
    let Data::F32(expected) = &images.data else { panic!("{:?}", images.data) };
    let (mut pixels, mut next) = (Vec::new(), 0);
    for batch in Batches::new(&loaded, &inputs, images.dims[0]).unwrap().iter() {
        assert_eq!((batch.items.start, batch.items.len()), (next, batch.length));
        next = batch.items.end;
        let (_, part) = &batch.inputs[0];
        assert_eq!(part.dims[0], batch.length);
        let Data::F32(part) = &part.data else { panic!("{:?}", part.data) };
        pixels.extend_from_slice(part);
    }
    assert_eq!(next, images.dims[0]);
    assert!(pixels == *expected);
}

#[test]
fn a_quantized_model_is_verified_and_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("digits.amq");
    fs::write(&file, convert("digits", ["2", "int8"])).unwrap();
    let quantized = Opened::read(&file).unwrap().load(Isa::detect()).unwrap();
    let float = open("digits/model.onnx");
    let inputs = read_inputs(&float, &fixture("digits/images.npz")).unwrap();
    let inputs = bind(&float, inputs).unwrap();
    let labels = Labels::read(&fixture("digits/labels.npy")).unwrap();
    // The figure of fixtures/README.md.
    assert_eq!(
        accuracy(&float, &inputs, &labels, None, None, &|_, _| ()).unwrap().accuracy,
        349.0 / 360.0
    );
    let strict = Limits { max_error: Some(0.0), min_snr: None };
    let given = Inputs::Given(inputs);
    assert!(verify(&float, &float, &given, strict, false).unwrap().ok);
    let differs = verify(&quantized, &float, &given, strict, false).unwrap();
    assert!(!differs.ok && differs.outputs[0].max_abs > 0.0, "{differs:?}");
    let loose = Limits { max_error: None, min_snr: Some(0.0) };
    assert!(verify(&quantized, &float, &given, loose, false).unwrap().ok);
}
