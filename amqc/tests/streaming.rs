//! The shipped language models give one stream of bits, however it is fed and whatever runs it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::io::Write;
use std::sync::Arc;

use amq_runtime::{Isa, Model, Session, View};
use common::{bits, convert, load, numbers};

const LENGTH: usize = 130;
const BATCH: usize = 4;
/// Steps of the batch.
const TOGETHER: usize = 40;

/// Bits of the logits of a step with tokens `[seq, batch]`.
fn step(session: &mut Session, batch: usize, tokens: &[i64]) -> Vec<u32> {
    let dims = [tokens.len() / batch, batch];
    bits(session.step(&[("tokens", View::i64(&dims, tokens))]).unwrap().get("logits").unwrap())
}

/// The logits of `tokens` in chunks of `size`.
fn in_chunks(model: &Arc<Model>, tokens: &[i64], size: usize) -> Vec<u32> {
    let mut session = Session::new(model.clone());
    tokens.chunks(size).flat_map(|chunk| step(&mut session, 1, chunk)).collect()
}

fn one_stream(name: &str, coding: [&str; 2]) {
    let file = convert(name, coding);
    let reference = load(&file, Isa::Scalar);
    let classes = reference.outputs()[0].dims[2].as_size().unwrap() as usize;
    // Time after time, a token of each stream.
    let together: Vec<i64> = numbers(LENGTH * BATCH, classes as u32).map(i64::from).collect();
    let alone: Vec<i64> = together.iter().step_by(BATCH).copied().collect();

    let mut session = Session::new(reference.clone());
    let input = [("tokens", View::i64(&[LENGTH, 1], &alone))];
    let whole = bits(session.run(&input).unwrap().get("logits").unwrap());
    assert_ne!(whole[..classes], whole[whole.len() - classes..]);

    for isa in Isa::ALL {
        if !isa.is_available() {
            // Not eprintln!, which a test that passes keeps to itself.
            let mut stderr = std::io::stderr();
            writeln!(stderr, "{name} {coding:?} skipped: no {isa} here").unwrap();
            continue;
        }
        let model = load(&file, isa);
        for size in [1, 7, 64] {
            assert!(in_chunks(&model, &alone, size) == whole, "{name} {coding:?} {isa:?} {size}");
        }
        let batch = step(&mut Session::new(model.clone()), BATCH, &together[..TOGETHER * BATCH]);
        let first = batch.chunks(classes).step_by(BATCH).flatten();
        assert!(first.eq(&whole[..TOGETHER * classes]), "{name} {coding:?} {isa:?}: in a batch");

        // Saved by the reference, continued by this instruction set.
        let (before, after) = alone.split_at(LENGTH / 3);
        let mut saver = Session::new(reference.clone());
        let mut pieces = step(&mut saver, 1, before);
        let mut restored = Session::new(model);
        restored.restore(&saver.save()).unwrap();
        pieces.extend(step(&mut restored, 1, after));
        assert!(pieces == whole, "{name} {coding:?} {isa:?}: restored");
    }
}

#[test]
fn lstm_is_one_stream() {
    for coding in [["f32", "f32"], ["2", "int8"], ["2", "2"], ["3", "3"]] {
        one_stream("lstm", coding);
    }
}

#[test]
fn gru_is_one_stream() {
    for coding in [["f32", "f32"], ["2", "int8"], ["2", "2"], ["3", "3"]] {
        one_stream("gru", coding);
    }
}
