//! Times of one-node models, the quantization of activations and the session's own work included:
//! least and median microseconds, and how many times faster than float in the same run.
//!
//! `cargo bench -p amq-runtime --bench kernels [-- PART..]` where each part is in the line's name,
//! such as `avx512`, `conv` or `roof`
//!
//! A roof is what bounds a product of one vector: the time that reading its weights takes, and that of its
//! operations, at the rate of the same kernel on weights that the first cache holds.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program to look at")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use amq_format::Validated;
use amq_format::graph::{Activations, AutoPad, Conv, DataType, Linear, Op};
use amq_runtime::{Isa, LoadOptions, Model, Session, View};
use common::{Builder, named, sized};

/// Bits of weights, 0 for float, and what multiplies them.
const KINDS: [(u32, Activations); 8] = [
    (0, Activations::F32),
    (1, Activations::Codes1),
    (2, Activations::Codes2),
    (2, Activations::Codes3),
    (3, Activations::Codes3),
    (1, Activations::Int8),
    (2, Activations::Int8),
    (3, Activations::Int8),
];

/// Bytes of models that no cache holds.
const COLD: usize = 600 << 20;

/// Rounds in which all kinds take turns.
const ROUNDS: usize = 15;

/// One measurement.
struct Case {
    name: String,
    dims: Vec<usize>,
    x: Vec<f32>,
    /// Copies of the model, used in turn.
    sessions: Vec<Session>,
    /// Microseconds, one for each round.
    times: Vec<f64>,
}

fn main() {
    let parts: Vec<String> =
        std::env::args().skip(1).filter(|part| !part.starts_with('-')).collect();
    let wanted = |name: &str| parts.iter().all(|part| name.contains(part.as_str()));
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        for (rows, cols) in [(1200, 300), (4096, 1024), (10000, 300)] {
            for (what, vectors, cold) in [("hot", 1, false), ("cold", 1, true), ("x 8", 8, false)] {
                let name = format!("{isa} {rows} x {cols} {what}");
                let model = |bits, kind| linear(rows, cols, bits, kind);
                if wanted(&name) {
                    compare(&name, isa, &[vectors, cols as usize], cold, model);
                }
            }
        }
        let name = format!("{isa} roof of 4096 x 1024");
        if wanted(&name) {
            roofs(&name, isa);
        }
        for (channels, size) in [(16, 16), (64, 32)] {
            let name = format!("{isa} conv {channels} to {channels}, 3x3 on {size}x{size}");
            let dims = [1, channels as usize, size, size];
            if wanted(&name) {
                compare(&name, isa, &dims, false, |bits, kind| conv(channels, bits, kind));
            }
        }
    }
}

/// Rows and columns of products whose weights the first cache holds, up to 3 bits; the difference of two
/// tells the rate of the kernel alone.
const SMALL: [[u64; 2]; 2] = [[16, 1024], [64, 1024]];

fn roofs(name: &str, isa: Isa) {
    println!("{name}: operations and reading, and a product without quantization, in us; share");
    for (bits, kind) in KINDS {
        let time = |[rows, cols]: [u64; 2]| product_alone(isa, rows, cols, bits, kind);
        let rows = (SMALL[1][0] - SMALL[0][0]) as f64;
        let a_row = (time(SMALL[1]) - time(SMALL[0])) / rows / SMALL[0][1] as f64;
        let operations = a_row * 4096.0 * 1024.0;
        let planes = if bits == 0 { 32 } else { u64::from(bits) };
        let reading = read(4096 * 1024 / 8 * planes as usize);
        let taken = time([4096, 1024]);
        let bits = if bits == 0 { "f32".into() } else { bits.to_string() };
        let share = 100.0 * operations.max(reading) / taken;
        println!(
            "  {:10} {operations:8.2} {reading:8.2} {taken:8.2} {share:6.0}%",
            format!("{bits}/{}", kind.name())
        );
    }
}

/// The least time of a product of one vector without the quantization of the vector, in microseconds.
fn product_alone(isa: Isa, rows: u64, cols: u64, bits: u32, kind: Activations) -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let now = || START.get_or_init(Instant::now).elapsed();
    let bytes = linear(rows, cols, bits, kind);
    let options = LoadOptions { isa, ..LoadOptions::default() };
    let model = Model::with_options(&Validated::new(&bytes).unwrap(), &options).unwrap();
    let mut session = Session::new(Arc::new(model));
    let x: Vec<f32> = (0..cols).map(|i| (i * 7919 % 1009) as f32 / 504.0 - 1.0).collect();
    let dims = [1, cols as usize];
    let mut least = f64::INFINITY;
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(200) {
        session.meter_quantization(now);
        let begin = Instant::now();
        black_box(session.run(&[("x", View::f32(&dims, black_box(&x)))]).unwrap());
        let taken = begin.elapsed().saturating_sub(session.quantization_time());
        least = least.min(taken.as_secs_f64() * 1e6);
    }
    least
}

/// The least time in which so many bytes are read again, in microseconds.
fn read(bytes: usize) -> f64 {
    let words = vec![1u64; bytes / 8];
    let mut least = f64::INFINITY;
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(100) {
        let begin = Instant::now();
        let mut sums = [0u64; 32];
        for words in black_box(&words).as_chunks::<32>().0 {
            sums.iter_mut().zip(words).for_each(|(sum, word)| *sum ^= word);
        }
        black_box(sums);
        least = least.min(begin.elapsed().as_secs_f64() * 1e6);
    }
    least
}

/// A product with a matrix of random weights.
fn linear(rows: u64, cols: u64, bits: u32, activations: Activations) -> Vec<u8> {
    let mut b = Builder::new();
    let x = b.input("x", DataType::F32, &[named("n"), sized(cols as i64)]);
    let w = weights(&mut b, &[rows, cols], bits);
    let y = b.value("y");
    b.node(Op::Linear(Linear { activations: activations as i32 }), &[x, w], &[y]);
    b.output(y, DataType::F32, &[named("n"), sized(rows as i64)]);
    b.finish()
}

/// A convolution with a border, of random weights.
fn conv(channels: u64, bits: u32, activations: Activations) -> Vec<u8> {
    let mut b = Builder::new();
    let dims = [named("n"), sized(channels as i64), named("height"), named("width")];
    let x = b.input("x", DataType::F32, &dims);
    let w = weights(&mut b, &[channels, 3, 3, channels], bits);
    let y = b.value("y");
    let conv = Conv {
        strides: vec![1; 2],
        dilations: vec![1; 2],
        pads: vec![1; 4],
        auto_pad: AutoPad::Explicit as i32,
        groups: 1,
        activations: activations as i32,
    };
    b.node(Op::Conv(conv), &[x, w], &[y]);
    b.output(y, DataType::F32, &dims);
    b.finish()
}

fn weights(b: &mut Builder, dims: &[u64], bits: u32) -> u32 {
    if bits == 0 { b.random_floats("w", dims) } else { b.codes("w", dims, 1, bits) }
}

fn compare(
    name: &str,
    isa: Isa,
    dims: &[usize],
    cold: bool,
    model: impl Fn(u32, Activations) -> Vec<u8>,
) {
    let count: usize = dims.iter().product();
    let new = |&(bits, kind): &(u32, Activations)| {
        let bytes = model(bits, kind);
        let file = Validated::new(&bytes).unwrap();
        let copies = if cold { (COLD / bytes.len()).clamp(2, 400) } else { 1 };
        let load = || {
            let options = LoadOptions { isa, ..LoadOptions::default() };
            Session::new(Arc::new(Model::with_options(&file, &options).unwrap()))
        };
        Case {
            name: format!(
                "{}/{}",
                if bits == 0 { "f32".into() } else { bits.to_string() },
                kind.name()
            ),
            dims: dims.to_vec(),
            x: (0..count).map(|i| (i * 7919 % 1009) as f32 / 504.0 - 1.0).collect(),
            sessions: (0..copies).map(|_| load()).collect(),
            times: Vec::new(),
        }
    };
    println!("{name}");
    let mut cases: Vec<Case> = if cold {
        // One at a time: together they would be larger than memory.
        KINDS
            .iter()
            .map(|kind| {
                let mut case = new(kind);
                case.measure();
                case.sessions.clear();
                case
            })
            .collect()
    } else {
        let mut cases: Vec<Case> = KINDS.iter().map(new).collect();
        for _ in 0..ROUNDS {
            cases.iter_mut().for_each(Case::round);
        }
        cases
    };
    cases.iter_mut().for_each(|case| case.times.sort_by(f64::total_cmp));
    let float = cases[0].times[0];
    for case in &cases {
        let (least, median) = (case.times[0], case.times[case.times.len() / 2]);
        println!("  {:10} {:6.2}x {least:10.2} {median:10.2}", case.name, float / least);
    }
}

impl Case {
    fn measure(&mut self) {
        (0..ROUNDS).for_each(|_| self.round());
    }

    /// Runs the models for a while.
    fn round(&mut self) {
        let Case { dims, x, sessions, times, .. } = self;
        let start = Instant::now();
        let mut turn = sessions.iter_mut();
        while turn.len() > 0 || start.elapsed() < Duration::from_millis(4) {
            if turn.len() == 0 {
                turn = sessions.iter_mut();
            }
            let Some(session) = turn.next() else { return };
            let start = Instant::now();
            black_box(session.run(&[("x", View::f32(dims, black_box(x)))]).unwrap());
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
}
