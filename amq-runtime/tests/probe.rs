//! A probe sees the vectors that meet each matrix, and changes nothing.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use amq_format::graph::{Activations, AutoPad, Cell, Conv, DataType, Op};
use amq_runtime::{Model, Part, Probe, Product, Session, View};
use common::{Builder, named, sized};

/// What was shown.
#[derive(Default)]
struct Seen {
    /// Vectors and results of each matrix.
    products: BTreeMap<(usize, Part), (Vec<f32>, Vec<f32>)>,
    /// Shape and elements of the first output of each node.
    outputs: BTreeMap<usize, (Vec<usize>, Vec<f32>)>,
}

impl Probe for Seen {
    fn product(&mut self, product: &Product<'_>) {
        assert_eq!(product.vectors.len() % product.columns, 0);
        assert_eq!(product.vectors.len() / product.columns, product.results.len() / product.rows);
        let (vectors, results) = self.products.entry((product.node, product.matrix)).or_default();
        vectors.extend(product.vectors);
        results.extend(product.results);
    }

    fn output(&mut self, node: usize, output: usize, value: View<'_>) {
        if output == 0 {
            let elements = value.as_f32().map(<[f32]>::to_vec).unwrap_or_default();
            self.outputs.insert(node, (value.dims.to_vec(), elements));
        }
    }
}

/// Mean of x xT over vectors, `[column][column]`.
fn second_moments(vectors: &[f32], columns: usize) -> Vec<f64> {
    let mut moments = vec![0.0; columns * columns];
    for x in vectors.chunks_exact(columns) {
        for (i, row) in moments.chunks_exact_mut(columns).enumerate() {
            row.iter_mut().zip(x).for_each(|(sum, y)| *sum += f64::from(x[i]) * f64::from(*y));
        }
    }
    let count = (vectors.len() / columns) as f64;
    moments.iter().map(|sum| sum / count).collect()
}

fn find(model: &Model, is: impl Fn(&Op) -> bool) -> usize {
    model.graph().nodes.iter().position(|node| node.op.as_ref().is_some_and(&is)).unwrap()
}

#[test]
fn moments_of_states_are_those_of_the_outputs() {
    let tokens: Vec<i64> = (0..40).map(|i| i * 11 % 50).collect();
    let inputs = [("tokens", View::i64(&[20, 2], &tokens))];
    for activations in [Activations::F32, Activations::Int8, Activations::Codes2] {
        let file = common::language_model(Cell::Lstm, activations);
        let model = Arc::new(Model::load(&file).unwrap());
        let mut session = Session::new(Arc::clone(&model));
        let plain: Vec<f32> =
            session.run(&inputs).unwrap().get("logits").unwrap().as_f32().unwrap().to_vec();
        let mut seen = Seen::default();
        let outputs = session.run_with(&inputs, &mut seen).unwrap();
        assert_eq!(outputs.get("logits").unwrap().as_f32().unwrap(), plain);

        // h enters each step as the step before gave it; the first is the initial one, zero.
        let node = find(&model, |op| matches!(op, Op::Recurrent(_)));
        let (dims, y) = &seen.outputs[&node];
        let hidden = dims[3];
        assert_eq!(dims, &[20, 1, 2, common::HIDDEN]);
        let (h, products) = &seen.products[&(node, Part::Recurrent { direction: 0 })];
        let mut expected = vec![0.0; 2 * hidden];
        expected.extend(&y[..y.len() - 2 * hidden]);
        assert_eq!(h, &expected);
        assert_eq!(products.len(), 20 * 2 * 4 * hidden);
        let moments = second_moments(h, hidden);
        assert_eq!(moments, second_moments(&expected, hidden));
        assert!(moments.iter().any(|moment| *moment != 0.0));

        // The embedded tokens enter W, as the node before gave them.
        let (x, _) = &seen.products[&(node, Part::Input { direction: 0 })];
        let lookup = find(&model, |op| matches!(op, Op::Gather(_)));
        assert_eq!(x, &seen.outputs[&lookup].1);

        // Views are shown too, and a product's results lack only the bias.
        let linear = find(&model, |op| matches!(op, Op::Linear(_)));
        let (x, products) = &seen.products[&(linear, Part::W)];
        assert_eq!(x, y);
        let reshaped = find(&model, |op| matches!(op, Op::Reshape(_)));
        assert_eq!(seen.outputs[&reshaped], (vec![20, 2, hidden], y.clone()));
        let bias = products.iter().zip(&plain).map(|(product, logit)| logit - product);
        let bias: Vec<f32> = bias.collect();
        let classes = plain.len() / 40;
        for (i, b) in bias.iter().enumerate() {
            assert!((b - bias[i % classes]).abs() < 1e-5);
        }
    }
}

#[test]
fn steps_of_a_gru_are_shown_one_by_one() {
    let tokens: Vec<i64> = (0..7).collect();
    let file = common::language_model(Cell::Gru, Activations::Int8);
    let model = Arc::new(Model::load(&file).unwrap());
    let mut seen = Seen::default();
    let mut session = Session::new(Arc::clone(&model));
    for token in &tokens {
        let token = [*token];
        session.step_with(&[("tokens", View::i64(&[1, 1], &token))], &mut seen).unwrap();
    }
    let node = find(&model, |op| matches!(op, Op::Recurrent(_)));
    let (h, products) = &seen.products[&(node, Part::Recurrent { direction: 0 })];
    assert_eq!(h.len(), tokens.len() * common::HIDDEN);
    assert_eq!(products.len(), 3 * h.len());
}

#[test]
fn windows_of_a_convolution_give_its_results() {
    let mut b = Builder::new();
    let (channels, rows) = (4, 6);
    let x = b.input("x", DataType::F32, &[named("n"), sized(channels), sized(5), sized(7)]);
    // Two groups of two channels: [output channel, kernel row, kernel column, channel].
    let weights: Vec<f32> = (0..6 * 3 * 2 * 2).map(|i| (i * 5 % 17) as f32 - 8.0).collect();
    let w = b.floats("w", &[rows, 3, 2, 2], &weights);
    let y = b.value("y");
    let conv = Conv {
        strides: vec![1, 2],
        dilations: vec![1, 1],
        pads: vec![1, 0, 1, 1],
        auto_pad: AutoPad::Explicit as i32,
        groups: 2,
        activations: Activations::F32 as i32,
    };
    b.node(Op::Conv(conv), &[x, w], &[y]);
    b.output(y, DataType::F32, &[named("n"), sized(rows as i64), sized(5), sized(4)]);

    struct Sums {
        weights: Vec<f32>,
        results: Vec<f32>,
    }
    impl Probe for Sums {
        fn product(&mut self, product: &Product<'_>) {
            assert_eq!((product.columns, product.rows), (12, 3));
            for (x, y) in
                product.vectors.chunks_exact(12).zip(product.results.chunks_exact(product.rows))
            {
                let w = self.weights[product.first_row * 12..].chunks_exact(12);
                for (w, y) in w.zip(y) {
                    // Small integers: exact.
                    assert_eq!(w.iter().zip(x).map(|(w, x)| w * x).sum::<f32>(), *y);
                }
                self.results.extend(y);
            }
        }
    }
    let mut session = Session::new(Arc::new(Model::load(&b.finish()).unwrap()));
    let pixels: Vec<f32> = (0..2 * 4 * 5 * 7).map(|i| (i * 3 % 11) as f32 - 5.0).collect();
    let mut sums = Sums { weights, results: Vec::new() };
    let inputs = [("x", View::f32(&[2, 4, 5, 7], &pixels))];
    let outputs = session.run_with(&inputs, &mut sums).unwrap();
    let mut expected = outputs.get("y").unwrap().as_f32().unwrap().to_vec();
    assert_eq!(sums.results.len(), expected.len());
    assert!(expected.iter().any(|y| *y != 0.0));
    expected.sort_by(f32::total_cmp);
    sums.results.sort_by(f32::total_cmp);
    assert_eq!(sums.results, expected);

    // What is not wanted is not shown, and outputs are.
    struct OutputsAlone(usize);
    impl Probe for OutputsAlone {
        fn wants_products(&self, _: usize) -> bool {
            false
        }
        fn product(&mut self, product: &Product<'_>) {
            panic!("{product:?}");
        }
        fn output(&mut self, _: usize, _: usize, value: View<'_>) {
            self.0 += value.data.len();
        }
    }
    let mut outputs = OutputsAlone(0);
    session.run_with(&inputs, &mut outputs).unwrap();
    assert_eq!(outputs.0, expected.len());
}
