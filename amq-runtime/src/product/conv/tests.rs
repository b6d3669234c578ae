//! Every instruction set against a convolution written out, bit for bit.

use std::vec::Vec;

use amq_format::graph::Activations;
use proptest::prelude::*;

use super::*;
use crate::kernels::{Isa, Target};

/// A shape of convolution.
#[derive(Clone, Copy, Debug)]
struct Case {
    groups: usize,
    /// Channels and output channels of a group.
    channels: usize,
    rows: usize,
    input: [usize; 2],
    kernel: [usize; 2],
    strides: [usize; 2],
    dilations: [usize; 2],
    /// Beginnings, then ends.
    pads: [usize; 4],
}

impl Case {
    /// None where the windows do not fit.
    fn geometry(&self) -> Option<Geometry> {
        let Case { groups, channels, input, kernel, strides, dilations, pads, .. } = *self;
        let mut output = [0; 2];
        for axis in 0..2 {
            let extent = (kernel[axis] - 1) * dilations[axis] + 1;
            let padded = input[axis] + pads[axis] + pads[axis + 2];
            output[axis] = padded.checked_sub(extent)? / strides[axis] + 1;
        }
        let pads = [pads[0], pads[1]];
        let channels = groups * channels;
        Some(Geometry { channels, input, kernel, strides, dilations, pads, output })
    }

    /// Weights are `[output channel][kernel row][kernel column][channel of the group]`. Each result
    /// is one chain of multiply-adds in that order, the border +0.
    fn expect(&self, g: &Geometry, w: &[f32], x: &[f32]) -> Vec<f32> {
        let [height, width] = g.kernel;
        let mut y = Vec::new();
        for row in 0..self.groups * self.rows {
            for top in 0..g.output[0] {
                for left in 0..g.output[1] {
                    let mut sum = 0.0;
                    for i in 0..height {
                        for j in 0..width {
                            for c in 0..self.channels {
                                let channel = row / self.rows * self.channels + c;
                                let v = (top * g.strides[0] + i * g.dilations[0])
                                    .checked_sub(g.pads[0])
                                    .filter(|&v| v < g.input[0]);
                                let h = (left * g.strides[1] + j * g.dilations[1])
                                    .checked_sub(g.pads[1])
                                    .filter(|&h| h < g.input[1]);
                                let x = match (v, h) {
                                    (Some(v), Some(h)) => {
                                        x[(channel * g.input[0] + v) * g.input[1] + h]
                                    }
                                    _ => 0.0,
                                };
                                let w = w[((row * height + i) * width + j) * self.channels + c];
                                sum = libm::fmaf(w, x, sum);
                            }
                        }
                    }
                    y.push(canonical(sum));
                }
            }
        }
        y
    }
}

fn canonical(x: f32) -> f32 {
    if x.is_nan() { f32::from_bits(0x7fc0_0000) } else { x }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Numbers whose products need all of their bits, from a seed.
fn floats(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next() * next().abs().max(1e-3).recip()).collect()
}

/// Checks a convolution on all instruction sets, in a memory that held something else before.
fn check(case: Case, special: Option<f32>) {
    let Some(geometry) = case.geometry() else { return };
    let (rows, cols) = (case.groups * case.rows, case.channels * case.kernel[0] * case.kernel[1]);
    let w = floats(rows * cols, 1);
    let mut x = floats(geometry.channels * case.input[0] * case.input[1], 2);
    if let (Some(special), Some(x)) = (special, x.last_mut()) {
        *x = special;
    }
    let product = case.expect(&geometry, &w, &x);
    let bias = floats(rows, 3);
    let planes = product.chunks(geometry.positions().max(1)).zip(&bias);
    let with_bias: Vec<f32> =
        planes.flat_map(|(y, b)| y.iter().map(move |y| canonical(y + b))).collect();
    let sources =
        [MatrixSource::float(rows, cols, &w), MatrixSource::float_in_file(rows, cols, &w)];
    let targets = Isa::ALL.into_iter().filter_map(Target::new);
    for (target, source) in targets.flat_map(|target| sources.iter().map(move |s| (target, s))) {
        let taps = case.kernel[0] * case.kernel[1];
        let matrix =
            ConvMatrix::pack(source, case.groups, taps, Activations::F32, Packer::alone(target))
                .unwrap();
        let mut scratch = Scratch { floats: std::vec![f32::NAN; 3000], ..Scratch::default() };
        matrix.reserve(&geometry, &mut scratch);
        let mut y = std::vec![7.0; product.len()];
        matrix.convolve(&geometry, &x, None, &mut y, &mut scratch);
        assert_eq!(bits(&y), bits(&product), "{} {case:?}", target.isa());
        matrix.convolve(&geometry, &x, Some(&bias), &mut y, &mut scratch);
        assert_eq!(bits(&y), bits(&with_bias), "{} {case:?} with a bias", target.isa());
    }
}

const DEPTHWISE: Case = Case {
    groups: 3,
    channels: 1,
    rows: 1,
    input: [7, 7],
    kernel: [3, 3],
    strides: [1, 1],
    dilations: [1, 1],
    pads: [1; 4],
};

/// One whose windows fill panels.
const DENSE: Case = Case { groups: 1, channels: 20, rows: 24, input: [7, 7], ..DEPTHWISE };

#[test]
fn panels_agree_with_the_definition() {
    let base = DENSE;
    for case in [
        // A tail of one window, of four, of more; places in all numbers, and none.
        base,
        Case { input: [10, 10], ..base },
        Case { input: [3, 7], ..base },
        Case { input: [4, 4], ..base },
        Case { input: [4, 8], ..base },
        Case { input: [8, 8], ..base },
        Case { input: [5, 13], ..base },
        Case { input: [14, 14], ..base },
        Case { input: [2, 2], ..base },
        Case { input: [1, 1], kernel: [1, 1], pads: [0; 4], ..base },
        // Pixels as they are, and with a border.
        Case { kernel: [1, 1], pads: [0; 4], input: [5, 21], ..base },
        Case { kernel: [1, 1], pads: [0; 4], input: [9, 9], strides: [2, 2], ..base },
        Case { kernel: [1, 1], input: [9, 9], ..base },
        // Columns of several panels, or of just one.
        Case { channels: 128, kernel: [1, 1], pads: [0; 4], ..base },
        Case { channels: 129, kernel: [1, 1], pads: [0; 4], ..base },
        Case { channels: 100, rows: 80, ..base },
        // Rows of all numbers of blocks, and blocks that are not full.
        Case { rows: 9, ..base },
        Case { rows: 33, ..base },
        Case { rows: 61, input: [6, 8], ..base },
        Case { rows: 90, ..base },
        Case { groups: 2, rows: 17, ..base },
        // Strides and dilations, one axis, windows in a column.
        Case { input: [15, 13], strides: [2, 2], ..base },
        Case { input: [15, 20], strides: [3, 2], dilations: [2, 3], ..base },
        Case { input: [1, 90], kernel: [1, 5], pads: [0, 2, 0, 2], ..base },
        Case { input: [90, 1], kernel: [5, 1], pads: [2, 0, 2, 0], ..base },
    ] {
        check(case, None);
        check(case, Some(f32::NAN));
    }
}

#[test]
fn edges_agree_with_the_definition() {
    let base = DEPTHWISE;
    for case in [
        base,
        // Widths around those of the lanes.
        Case { input: [2, 15], ..base },
        Case { input: [3, 16], ..base },
        Case { input: [1, 17], ..base },
        Case { input: [5, 64], ..base },
        Case { input: [4, 81], ..base },
        // Squares, and what is none.
        Case { kernel: [5, 5], pads: [2; 4], ..base },
        Case { kernel: [5, 5], pads: [2; 4], input: [5, 40], ..base },
        Case { kernel: [4, 4], input: [9, 33], ..base },
        Case { kernel: [3, 5], input: [9, 33], ..base },
        Case { input: [9, 33], dilations: [2, 1], ..base },
        Case { input: [9, 33], strides: [1, 2], ..base },
        // Pointwise, and windows of all there is.
        Case { kernel: [1, 1], pads: [0; 4], ..base },
        Case { kernel: [7, 7], pads: [0; 4], ..base },
        // A kernel larger than the input, and windows of border alone.
        Case { input: [2, 3], kernel: [5, 4], pads: [3, 2, 1, 4], ..base },
        Case { input: [1, 1], kernel: [2, 2], pads: [4, 4, 4, 4], ..base },
        Case { input: [0, 3], kernel: [2, 2], ..base },
        Case { input: [3, 0], kernel: [2, 2], ..base },
        // Borders of different sizes.
        Case { pads: [0, 2, 3, 1], ..base },
        // Strides beyond the kernel, strides and dilations with and without a common divisor.
        Case { input: [9, 50], strides: [4, 5], ..base },
        Case { input: [20, 50], strides: [2, 3], dilations: [3, 2], ..base },
        Case { input: [20, 50], strides: [4, 6], dilations: [2, 9], pads: [5, 1, 2, 9], ..base },
        // One axis.
        Case { input: [1, 300], kernel: [1, 9], dilations: [1, 8], pads: [0, 64, 0, 0], ..base },
        Case { input: [300, 1], kernel: [9, 1], dilations: [8, 1], pads: [64, 0, 0, 0], ..base },
        // Few channels, few rows, a first layer.
        Case { channels: 5, rows: 3, ..base },
        Case { channels: 2, rows: 8, strides: [2, 2], ..base },
        Case { channels: 1, rows: 6, ..base },
        Case { groups: 1, channels: 3, rows: 21, input: [20, 23], strides: [2, 2], ..base },
        Case { groups: 2, channels: 40, rows: 2, ..base },
    ] {
        check(case, None);
    }
}

#[test]
fn special_values_agree_with_the_definition() {
    for special in [f32::NAN, -f32::NAN, f32::INFINITY, -0.0, 1e-45, f32::MAX] {
        check(DEPTHWISE, Some(special));
        check(Case { channels: 2, rows: 2, strides: [2, 2], ..DEPTHWISE }, Some(special));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn all_shapes_agree_with_the_definition(
        (groups, channels, rows) in (1usize..4, 1usize..5, 1usize..7),
        input in [1usize..9, 1usize..40],
        kernel in [1usize..5, 1usize..6],
        strides in [1usize..5, 1usize..5],
        dilations in [1usize..4, 1usize..4],
        pads in [0usize..5, 0usize..5, 0usize..5, 0usize..5],
    ) {
        let case = Case { groups, channels, rows, input, kernel, strides, dilations, pads };
        check(case, None);
        check(Case { groups: 1, channels: channels + 15, rows: rows + 7, ..case }, None);
    }
}
