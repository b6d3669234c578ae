//! Nodes with constant weights, against definitions on the decoded weights.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::sync::Arc;

use amq_format::graph::*;
use amq_format::{TensorView, Validated};
use amq_runtime::{Model, Session, View};
use common::{Builder, named, sized};

/// The elements of a file's tensor, decoded.
fn decoded(bytes: &[u8], index: usize) -> Vec<f32> {
    match Validated::new(bytes).unwrap().tensor(index) {
        TensorView::Plain(view) => view.f32s().collect(),
        TensorView::MultiBit(view) => {
            let mut all = vec![0.0; view.rows * view.cols];
            let rows = all.chunks_mut(view.cols).enumerate();
            rows.for_each(|(row, out)| view.decode_row(row, out));
            all
        }
    }
}

fn run(bytes: &[u8], inputs: &[(&str, View<'_>)], output: &str) -> Vec<f32> {
    let mut session = Session::new(Arc::new(Model::load(bytes).unwrap()));
    session.run(inputs).unwrap().get(output).unwrap().as_f32().unwrap().to_vec()
}

fn signal(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i * 29 % 23) as f32 / 8.0 - 1.3).collect()
}

fn assert_near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= 1e-4 * (1.0 + b.abs()), "{a} is not {b}");
    }
}

#[test]
fn a_table_gives_its_decoded_rows() {
    for bits in 1..=8 {
        let mut b = Builder::new();
        let index = b.input("index", DataType::I32, &[named("n")]);
        let table = b.codes("table", &[9, 5, 30], 1, bits);
        let y = b.value("y");
        b.node(Op::Gather(Gather { axis: 0 }), &[table, index], &[y]);
        b.output(y, DataType::F32, &[named("n"), sized(5), sized(30)]);
        let bytes = b.finish();
        let all = decoded(&bytes, 0);
        let found = run(&bytes, &[("index", View::i32(&[4], &[8, 0, -2, 3]))], "y");
        let expected: Vec<f32> =
            [8, 0, 7, 3].iter().flat_map(|&row| &all[row * 150..][..150]).copied().collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_convolution_is_that_of_its_decoded_weights() {
    let (n, h, w) = (2, 7, 6);
    for (groups, strides, dilations, auto_pad) in [
        (1, [1, 1], [1, 1], AutoPad::Explicit),
        (2, [2, 1], [1, 2], AutoPad::Explicit),
        (2, [2, 2], [1, 1], AutoPad::SameUpper),
        (1, [3, 2], [2, 1], AutoPad::SameLower),
    ] {
        let mut b = Builder::new();
        let x = b.input("x", DataType::F32, &[named("n"), sized(4), named("h"), named("w")]);
        let weights = b.codes("weights", &[6, 3, 2, 4 / groups], 1, 2);
        let bias = b.random_floats("bias", &[6]);
        let y = b.value("y");
        let explicit = auto_pad == AutoPad::Explicit;
        let pads: [usize; 4] = if explicit { [1, 0, 2, 1] } else { [0; 4] };
        let conv = Conv {
            strides: strides.map(|s| s as u64).to_vec(),
            dilations: dilations.map(|d| d as u64).to_vec(),
            pads: pads.map(|p| p as u64).to_vec(),
            auto_pad: auto_pad as i32,
            groups,
            activations: Activations::F32 as i32,
        };
        b.node(Op::Conv(conv), &[x, weights, bias], &[y]);
        // Sizes as ONNX gives them.
        let extent = [2 * dilations[0] + 1, dilations[1] + 1];
        let (mut size, mut begin) = ([0; 2], [pads[0], pads[1]]);
        for (i, input) in [h, w].into_iter().enumerate() {
            if explicit {
                size[i] = (input + pads[i] + pads[i + 2] - extent[i]) / strides[i] + 1;
            } else {
                size[i] = input.div_ceil(strides[i]);
                let total = ((size[i] - 1) * strides[i] + extent[i]).saturating_sub(input);
                begin[i] =
                    if auto_pad == AutoPad::SameUpper { total / 2 } else { total.div_ceil(2) };
            }
        }
        let shape = [named("n"), sized(6), sized(size[0] as i64), sized(size[1] as i64)];
        b.output(y, DataType::F32, &shape);
        let bytes = b.finish();
        let (weights, bias) = (decoded(&bytes, 0), decoded(&bytes, 1));
        let x = signal(n * 4 * h * w);
        let found = run(&bytes, &[("x", View::f32(&[n, 4, h, w], &x))], "y");
        let channels = 4 / groups as usize;
        let mut expected = Vec::new();
        for item in 0..n {
            for m in 0..6 {
                for (oy, ox) in (0..size[0]).flat_map(|oy| (0..size[1]).map(move |ox| (oy, ox))) {
                    let mut sum = bias[m];
                    for (c, ky, kx) in
                        (0..channels).flat_map(|c| (0..6).map(move |k| (c, k / 2, k % 2)))
                    {
                        let iy = (oy * strides[0] + ky * dilations[0]).wrapping_sub(begin[0]);
                        let ix = (ox * strides[1] + kx * dilations[1]).wrapping_sub(begin[1]);
                        if iy < h && ix < w {
                            let channel = m / (6 / groups as usize) * channels + c;
                            sum += x[((item * 4 + channel) * h + iy) * w + ix]
                                * weights[((m * 3 + ky) * 2 + kx) * channels + c];
                        }
                    }
                    expected.push(sum);
                }
            }
        }
        assert_near(&found, &expected);
    }
}

/// Both directions of an LSTM, and their parts alone: `[D, 4 H, I]` is divided rightly.
#[test]
fn two_directions_are_each_as_alone() {
    let (hidden, width, steps) = (5usize, 70usize, 4usize);
    for (coded, activations) in [
        (false, Activations::F32),
        (true, Activations::F32),
        (true, Activations::Int8),
        (true, Activations::Codes3),
    ] {
        let layer = |direction: Direction| {
            let unary = |f: UnaryFunction| Unary { function: f as i32, alpha: 0.0, beta: 0.0 };
            let (s, t) = (unary(UnaryFunction::Sigmoid), unary(UnaryFunction::Tanh));
            Op::Recurrent(Box::new(Recurrent {
                cell: Cell::Lstm as i32,
                hidden_size: hidden as u64,
                direction: direction as i32,
                functions: [s, t, t].repeat(direction.count()),
                activations: activations as i32,
                recurrent_activations: activations as i32,
                ..Recurrent::default()
            }))
        };
        let rows = 4 * hidden as u64;
        let build = |direction: Direction, skip: u64| {
            let count = direction.count() as u64;
            let mut b = Builder::new();
            let dims = [named("s"), named("n"), sized(width as i64)];
            let x = b.input("x", DataType::F32, &dims);
            // Each part is made from its own seed, so that the parts of two are those of one.
            let parts: Vec<u64> = (skip..skip + count).collect();
            let inputs = [
                b.parts("w", &[rows, width as u64], coded, &parts, 10),
                b.parts("r", &[rows, hidden as u64], coded, &parts, 20),
                b.parts("b", &[2 * rows], false, &parts, 30),
                0,
                0,
                0,
                b.parts("p", &[3 * hidden as u64], false, &parts, 40),
            ];
            let (y, h, c) = (b.value("y"), b.value("h"), b.value("c"));
            let [w, r, bias, .., p] = inputs;
            b.node(layer(direction), &[x, w, r, bias, 0, 0, 0, p], &[y, h, c]);
            let state = [sized(count as i64), named("n"), sized(hidden as i64)];
            let sequence = [named("s"), sized(count as i64), named("n"), sized(hidden as i64)];
            b.output(y, DataType::F32, &sequence);
            b.output(c, DataType::F32, &state);
            b.finish()
        };
        let x = signal(steps * 3 * width);
        let dims = [steps, 3, width];
        let inputs = [("x", View::f32(&dims, &x))];
        let both = build(Direction::Bidirectional, 0);
        let alone = [build(Direction::Forward, 0), build(Direction::Reverse, 1)];
        let state = 3 * hidden;
        let (y, c) = (run(&both, &inputs, "y"), run(&both, &inputs, "c"));
        for (d, one) in alone.iter().enumerate() {
            assert_eq!(run(one, &inputs, "c"), c[d * state..][..state]);
            let own = y.chunks(state).skip(d).step_by(2).flatten();
            assert!(run(one, &inputs, "y").iter().eq(own));
        }
        assert_ne!(c[..state], c[state..]);
    }
}

/// As many as would not fit, if each packed its own: 200 MB in floats.
#[test]
fn layers_that_share_weights_share_what_is_packed() {
    let (layers, size) = (200, 256_u64);
    let mut b = Builder::new();
    let x = b.input("x", DataType::F32, &[named("t"), sized(1), sized(256)]);
    let w = b.codes("w", &[1, 3 * size, size], 2, 2);
    let r = b.random_floats("r", &[1, 3 * size, size]);
    let kernels = b.codes("kernels", &[size, 1, size], 1, 2);
    let mut ends = Vec::new();
    for i in 0..layers {
        let (y, end) = (b.value(&format!("y{i}")), b.value(&format!("end{i}")));
        let gru = Recurrent {
            cell: Cell::Gru as i32,
            hidden_size: size,
            functions: [UnaryFunction::Sigmoid, UnaryFunction::Tanh]
                .map(|function| Unary { function: function as i32, ..Unary::default() })
                .to_vec(),
            ..Recurrent::default()
        };
        b.node(Op::Recurrent(Box::new(gru)), &[x, w, r], &[y, end]);
        ends.push(end);
        let conv = Conv {
            strides: vec![1],
            dilations: vec![1],
            pads: vec![0; 2],
            groups: 1,
            ..Conv::default()
        };
        let turned = b.value(&format!("turned{i}"));
        b.node(Op::Transpose(Transpose { perm: vec![1, 2, 0] }), &[x], &[turned]);
        let sums = b.value(&format!("sums{i}"));
        b.node(Op::Conv(conv), &[turned, kernels], &[sums]);
    }
    for end in [ends[0], ends[layers - 1]] {
        b.output(end, DataType::F32, &[sized(1), sized(1), sized(256)]);
    }
    let bytes = b.finish();
    let model = Model::load(&bytes).unwrap();
    let mut session = Session::new(Arc::new(model));
    let input = signal(512);
    let outputs = session.run(&[("x", View::f32(&[2, 1, 256], &input))]).unwrap();
    let [first, last] = ["end0", "end199"].map(|name| outputs.get(name).unwrap().as_f32().unwrap());
    assert_eq!(first, last);
    assert!(first.iter().any(|&h| h != 0.0));
}
