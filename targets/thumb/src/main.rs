//! Runs the shipped stream on a microcontroller without an operating system: the model's weights stay in flash. Prints by
//! semihosting what RAM and time it took, and the digest of the scores.
#![no_std]
#![no_main]

extern crate alloc;

mod board;
mod heap;

use alloc::format;
use alloc::sync::Arc;

use amq_runtime::amq_format::Validated;
use amq_runtime::{LoadOptions, Model, Session, View};

/// A file whose plain constants are read where they lie begins at a multiple of 8 bytes.
#[repr(align(64))]
struct Aligned<T: ?Sized>(T);

static FILE: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../fixtures/lstm/model.amq"));
static STREAM: &str = include_str!("../../../fixtures/lstm/stream.txt");

fn run() -> Result<(), amq_runtime::Error> {
    let file = Validated::new(&FILE.0)?;
    let model = Arc::new(Model::in_file(&file, &LoadOptions::default())?);
    let [_, loading] = heap::used();
    drop(file);
    let [loaded, _] = heap::used();
    let mut session = Session::new(model);
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut step = 0;
    let tokens = STREAM.lines().next().unwrap_or("").split_whitespace();
    for token in tokens.filter_map(|token| token.parse::<i64>().ok()) {
        let then = board::ticks();
        let outputs = session.step(&[("tokens", View::i64(&[1, 1], &[token]))])?;
        step = board::ticks().wrapping_sub(then) & 0x00ff_ffff;
        let scores = outputs.get("logits").and_then(|view| view.as_f32()).unwrap_or(&[]);
        for byte in scores.iter().flat_map(|score| score.to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    let [running, most] = heap::used();
    let heap = format!(
        "heap: {loaded} bytes with the model, {running} with a session; it reached {loading} while \
         loading, {most} in all\n"
    );
    board::print(&heap);
    let (fixed, stack) = (board::fixed() - heap::SIZE, board::stack());
    board::print(&format!("RAM: {most} heap, {stack} stack, {fixed} fixed\nticks {step}\n"));
    board::print(&format!("digest {hash:016x}\n"));
    Ok(())
}

/// Called once memory is as Rust wants it.
fn main() -> ! {
    heap::init();
    let done = run();
    if let Err(error) = &done {
        board::print(&format!("{error}\n"));
    }
    board::exit(done.is_ok())
}
