//! Times of products, the quantization of activations included: median microseconds, and how many
//! times faster than float on the same instruction set.
//!
//! `cargo bench -p amq-runtime --bench kernels [-- ISA..]`
#![allow(clippy::print_stdout, dead_code, missing_docs, unreachable_pub, unused_imports)]

extern crate alloc;

#[path = "../src/kernels/mod.rs"]
mod kernels;
#[path = "../src/matrix/mod.rs"]
mod matrix;
#[path = "../src/quantize.rs"]
mod quantize;

use std::hint::black_box;
use std::time::{Duration, Instant};

use amq_format::graph::Activations;
use kernels::{Isa, Target};
use matrix::{Matrix, MatrixSource, Scratch};

const SHAPES: [(usize, usize); 3] = [(1200, 300), (4096, 1024), (10000, 300)];

const KINDS: [(usize, Activations); 8] = [
    (0, Activations::F32),
    (1, Activations::Codes1),
    (2, Activations::Codes2),
    (2, Activations::Codes3),
    (3, Activations::Codes3),
    (1, Activations::Int8),
    (2, Activations::Int8),
    (3, Activations::Int8),
];

/// Bytes of copies of a matrix that no cache holds.
const COLD: usize = 256 << 20;

fn main() {
    let names: Vec<String> =
        std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    for isa in Isa::ALL {
        if !names.is_empty() && !names.iter().any(|name| name == isa.name()) {
            continue;
        }
        let Some(target) = Target::new(isa) else { continue };
        println!("{isa}: us hot (times float), cold; a vector of 8 at once");
        for (rows, cols) in SHAPES {
            let mut float = 0.0;
            for (bits, activations) in KINDS {
                let time = product(target, rows, cols, bits, activations, 1, 1);
                if bits == 0 {
                    float = time;
                }
                let eight = product(target, rows, cols, bits, activations, 8, 1) / 8.0;
                let bytes = rows * cols * if bits == 0 { 32 } else { bits } / 8;
                let copies = (COLD / bytes).clamp(2, 400);
                let cold = product(target, rows, cols, bits, activations, 1, copies);
                println!(
                    "  {rows:>5} x {cols:<4} {bits}/{:<4} {time:>8.2} ({:>4.1}x) {cold:>8.2} {eight:>8.2}",
                    activations.name(),
                    float / time,
                );
            }
        }
        for cols in [300, 1024] {
            for activations in [
                Activations::Codes1,
                Activations::Codes2,
                Activations::Codes3,
                Activations::Codes4,
                Activations::Int8,
            ] {
                let time = product(target, 1, cols, 1, activations, 1, 1);
                println!("  quantize {cols:<4} {:<4} {time:>8.3}", activations.name());
            }
        }
    }
}

/// Median time in microseconds; `copies` of the matrix are used in turn.
fn product(
    target: Target,
    rows: usize,
    cols: usize,
    bits: usize,
    activations: Activations,
    vectors: usize,
    copies: usize,
) -> f64 {
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        state ^ state >> 29
    };
    let mut float = |n: usize| -> Vec<f32> {
        (0..n).map(|_| (random() >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
    };
    let x = float(vectors * cols);
    let source = if bits == 0 {
        MatrixSource::Float { rows, cols, data: float(rows * cols) }
    } else {
        MatrixSource::Codes {
            rows,
            cols,
            group: cols,
            bits,
            coefficients: float(rows * bits),
            planes: (0..bits * rows * cols.div_ceil(64)).map(|_| random()).collect(),
            offsets: None,
        }
    };
    let matrices: Vec<Matrix> =
        (0..copies).filter_map(|_| Matrix::pack(&source, activations, target).ok()).collect();
    let mut scratch = Scratch::default();
    let mut out = vec![0.0; vectors * rows];
    let mut times = Vec::new();
    let mut turn = matrices.iter().cycle();
    // Many short products are timed together, above the clock's own cost.
    let mut repeat = 1;
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(60) || times.len() < 5 {
        let start = Instant::now();
        for _ in 0..repeat {
            if let Some(matrix) = turn.next() {
                matrix.multiply(black_box(&x), vectors, &mut out, &mut scratch);
            }
            black_box(&mut out);
        }
        let time = start.elapsed();
        if time < Duration::from_micros(20) && repeat < 1000 {
            repeat *= 2;
        } else {
            times.push(time.as_secs_f64() * 1e6 / repeat as f64);
        }
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
