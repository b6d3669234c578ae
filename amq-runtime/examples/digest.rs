//! Feeds tokens to a language model one by one on the instruction set of this name, and prints a digest of all scores, which
//! is the same on each: FNV-1a, 64 bits, of their bytes, the lowest of each first.
//!
//!     cargo run --release --example digest -- model.amq scalar 17 4 256
#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::error::Error;
use std::sync::Arc;

use amq_runtime::amq_format::Validated;
use amq_runtime::{Isa, LoadOptions, Model, Session, View};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: digest MODEL.amq ISA TOKEN...")?;
    let isa = arguments.next().as_deref().and_then(Isa::from_name);
    let isa = isa.ok_or("no such instruction set")?;
    let bytes = amq_runtime::read(path)?;
    let options = LoadOptions { isa, ..LoadOptions::default() };
    let model = Model::with_options(&Validated::new(&bytes)?, &options)?;
    let mut session = Session::new(Arc::new(model));
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for token in arguments {
        let outputs = session.step(&[("tokens", View::i64(&[1, 1], &[token.parse()?]))])?;
        let scores = outputs.get("logits").and_then(|view| view.as_f32());
        for byte in scores.ok_or("no scores of floats")?.iter().flat_map(|x| x.to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    println!("digest {hash:016x}");
    Ok(())
}
