//! Streams that advance together give what each gives alone.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::num::NonZeroUsize;
use std::sync::Arc;

use amq_format::graph::{Activations, Cell, DataType, UnaryFunction};
use amq_runtime::{Batch, Error, Model, Session, StreamId, Threads, View};
use common::{Builder, VOCABULARY, language_model, sized};

fn load(bytes: &[u8]) -> Arc<Model> {
    Arc::new(Model::load(bytes).unwrap())
}

fn bits(view: View<'_>) -> Vec<u32> {
    view.as_f32().unwrap().iter().map(|x| x.to_bits()).collect()
}

/// Numbers that look drawn by chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % end
    }
}

/// Two tokens of each stream, as `[seq][stream]`, into the batch and into sessions of their own.
fn step(batch: &mut Batch, due: &[StreamId], sessions: &mut [&mut Session], chance: &mut Chance) {
    let tokens: Vec<i64> = (0..2 * due.len()).map(|_| chance.below(VOCABULARY) as i64).collect();
    let dims = [2, due.len()];
    let outputs = batch.step(due, &[("tokens", View::i64(&dims, &tokens))]).unwrap();
    let logits = outputs.get("logits").unwrap();
    let (found, width) = (bits(logits), logits.dims[2]);
    for (at, session) in sessions.iter_mut().enumerate() {
        let own = [tokens[at], tokens[due.len() + at]];
        let outputs = session.step(&[("tokens", View::i64(&[2, 1], &own))]).unwrap();
        let expected = bits(outputs.get("logits").unwrap());
        let of_batch = [at, due.len() + at].map(|row| &found[row * width..][..width]).concat();
        assert_eq!(of_batch, expected);
    }
}

/// Streams come and go; another set of them is due each time, or the same once more.
#[test]
fn each_stream_gives_the_bits_that_it_gives_alone() {
    for cell in [Cell::Lstm, Cell::Gru] {
        for activations in [Activations::F32, Activations::Int8, Activations::Codes2] {
            let model = load(&language_model(cell, activations));
            let mut chance = Chance(3);
            let mut batch = Batch::with_workers(
                Arc::clone(&model),
                Arc::new(Threads::new(NonZeroUsize::new(2).unwrap())),
            )
            .unwrap();
            let mut streams: Vec<(StreamId, Session)> = Vec::new();
            for turn in 0..30 {
                if streams.len() < 2 || chance.below(3) == 0 {
                    streams.push((batch.add(), Session::new(Arc::clone(&model))));
                } else if turn % 5 == 4 {
                    let (gone, _) = streams.swap_remove(chance.below(streams.len()));
                    assert!(batch.remove(gone));
                    assert!(!batch.has(gone) && !batch.remove(gone));
                }
                assert_eq!(batch.len(), streams.len());
                let first = chance.below(streams.len());
                let due: Vec<_> = streams.iter_mut().skip(first).step_by(1 + turn % 2).collect();
                let (ids, mut sessions): (Vec<_>, Vec<_>) =
                    due.into_iter().map(|(id, session)| (*id, session)).unzip();
                for _ in 0..1 + turn % 3 {
                    step(&mut batch, &ids, &mut sessions, &mut chance);
                }
            }
        }
    }
}

fn refusal(result: Result<amq_runtime::Outputs<'_>, Error>) -> String {
    match result.map(|_| ()) {
        Err(Error::Input(what) | Error::State(what)) => what.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_step_changes_nothing() {
    let model = load(&language_model(Cell::Lstm, Activations::Int8));
    let mut batch = Batch::new(Arc::clone(&model)).unwrap();
    let (kept, gone) = (batch.add(), batch.add());
    let mut session = Session::new(model);
    let mut chance = Chance(1);
    step(&mut batch, &[kept], &mut [&mut session], &mut chance);
    batch.remove(gone);
    // Its place is taken again, and says nothing to the stream that had it.
    let new = batch.add();
    assert_ne!(new, gone);
    let one: &[(&str, View<'_>)] = &[("tokens", View::i64(&[1, 1], &[0]))];
    assert_eq!(refusal(batch.step(&[], one)), "no stream is due");
    assert_eq!(refusal(batch.step(&[kept, kept], one)), "a stream is due twice");
    assert_eq!(refusal(batch.step(&[gone], one)), "a stream that is due is not there");
    // One token for two streams.
    assert!(batch.step(&[kept, new], one).is_err());
    let beyond = [VOCABULARY as i64];
    assert!(batch.step(&[kept], &[("tokens", View::i64(&[1, 1], &beyond))]).is_err());
    for _ in 0..2 {
        step(&mut batch, &[kept], &mut [&mut session], &mut chance);
    }
    // The same streams as in the step before.
    assert!(batch.step(&[kept], &[("tokens", View::i64(&[1, 1], &beyond))]).is_err());
    step(&mut batch, &[kept], &mut [&mut session], &mut chance);
}

#[test]
fn a_model_without_an_axis_of_streams_is_refused() {
    let mut b = Builder::new();
    let x = b.input("x", DataType::F32, &[sized(3)]);
    let y = b.unary(UnaryFunction::Relu, x, "y");
    b.output(y, DataType::F32, &[sized(3)]);
    let error = Batch::new(load(&b.finish())).unwrap_err().to_string();
    assert!(error.contains("which axis is that of streams"), "{error}");
}
