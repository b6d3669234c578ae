//! The model and the stream that programs in other languages, and on other machines, are checked with.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use amq_format::Validated;
use amq_runtime::{Isa, LoadOptions, Model, Session, View};

/// FNV-1a, 64 bits, of the scores' bytes, the lowest of each first.
fn digest(hash: u64, scores: &[f32]) -> u64 {
    let bytes = scores.iter().flat_map(|score| score.to_le_bytes());
    bytes.fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[test]
fn the_digest_is_the_stated_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/lstm");
    let bytes = fs::read(folder.join("model.amq")).unwrap();
    let text = fs::read_to_string(folder.join("stream.txt")).unwrap();
    let mut lines = text.lines();
    let tokens = lines.next().unwrap().split_whitespace().map(|token| token.parse().unwrap());
    let tokens: Vec<i64> = tokens.collect();
    let stated = lines.next().unwrap();
    let file = Validated::new(&bytes).unwrap();
    let isas = Isa::ALL.into_iter().filter(|isa| isa.is_available());
    let mut count = 0;
    for isa in isas {
        let options = LoadOptions { isa, ..LoadOptions::default() };
        let model = Arc::new(Model::with_options(&file, &options).unwrap());
        let mut session = Session::new(Arc::clone(&model));
        let mut hash = 0xcbf2_9ce4_8422_2325;
        for token in &tokens {
            let outputs = session.step(&[("tokens", View::i64(&[1, 1], &[*token]))]).unwrap();
            hash = digest(hash, outputs.get("logits").unwrap().as_f32().unwrap());
        }
        assert_eq!(format!("digest {hash:016x}"), stated, "{isa}");
        // The whole stream at once gives the same scores, one after another.
        let outputs = session.run(&[("tokens", View::i64(&[tokens.len(), 1], &tokens))]).unwrap();
        let scores = outputs.get("logits").unwrap().as_f32().unwrap();
        assert_eq!(digest(0xcbf2_9ce4_8422_2325, scores), hash, "{isa}");
        count += 1;
    }
    assert!(count > 0);
}
