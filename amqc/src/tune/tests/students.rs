//! Networks whose products are coded.

use super::*;
use crate::tune::dropout::leave_out;

/// A network of which every product is coded: what training computes is what its file gives.
#[test]
fn a_student_gives_what_its_file_gives() {
    use Activations as On;
    let build = Build::new(17).input("x", "7 2 40").initializer(weight("W", &[1, 256, 40], 0.4));
    let build =
        build.initializer(weight("R", &[1, 256, 64], 0.3)).initializer(weight("B", &[1, 512], 0.2));
    let build = build.node_with("LSTM", "x W R B", "all", &[("hidden_size", A::I(64))]);
    let build =
        build.ints("shape", &[7, 2, 64]).node("Reshape", "all shape", "h").node("Relu", "h", "r");
    let build =
        build.initializer(weight("v", &[64, 70], 0.3)).node("MatMul", "r v", "y").output("y");
    for (bits, activations) in [
        (2, On::Int8),
        (2, On::Codes2),
        (1, On::Codes1),
        (3, On::Codes3),
        (2, On::Int16),
        (4, On::Codes4),
    ] {
        let mut case = Case::new(&build, Some((bits, activations)), &[&[7, 2, 40]]);
        assert!(!case.fitted.matrices.is_empty());
        let before = case.answers();
        assert_near(&before, 1e-5);
        // And after a step, and back again.
        let mut saved = Vec::new();
        case.params.save(&mut saved);
        for param in case.params.all.iter_mut().filter(|param| param.is_coded()) {
            let Data::F32(weights) = &mut param.weights.data else { continue };
            weights.iter_mut().for_each(|w| *w = 0.1 - 0.7 * *w);
        }
        case.params.follow();
        let after = case.answers();
        assert_near(&after, 1e-4);
        assert!(after[0].0.iter().zip(&before[0].0).any(|(a, b)| (a - b).abs() > 0.1));
        case.params.restore(&mut saved.as_slice()).unwrap();
        assert_eq!(case.answers(), before);
    }
}

/// Each direction has its rows of W and R, and a candidate gate its own of R.
#[test]
fn students_of_two_directions_give_what_their_files_give() {
    for reset in [0, 1] {
        let build = Build::new(17).input("x", "5 2 40");
        let build = build
            .initializer(weight("W", &[2, 69, 40], 0.4))
            .initializer(weight("R", &[2, 69, 23], 0.3))
            .initializer(weight("B", &[2, 138], 0.2));
        let attributes = [
            ("hidden_size", A::I(23)),
            ("direction", A::S("bidirectional")),
            ("linear_before_reset", A::I(reset)),
        ];
        let build = build.node_with("GRU", "x W R B", "y", &attributes).output("y");
        let case = Case::new(&build, Some((2, Activations::Codes2)), &[&[5, 2, 40]]);
        assert_eq!(case.fitted.matrices.len(), 2);
        assert_near(&case.answers(), 1e-5);
    }
}

/// A gradient passes what codes do as if it were not there: that of the float network with what codes stand for.
#[test]
fn gradients_pass_straight_through() {
    let build =
        begin().initializer(weight("v", &[5, 80], 0.8)).node("MatMul", "h v", "y").output("y");
    let mut case = Case::new(&build, Some((2, Activations::Codes2)), &[&[4, 6]]);
    case.loss(true);
    let by_y: Vec<f32> = Random(11).numbers(4 * 80, 1.0);
    let at = case.params.all.iter().position(|p| p.weights.dims == [80, 5]).unwrap();
    let maker = Maker { path: Path::new("m.onnx"), isa: Isa::detect() };
    let mut tape = Tape::new(&case.module, &case.route, maker);
    tape.forward(&case.params, case.inputs.clone()).unwrap();
    let h = case.module.graph.nodes.last().unwrap().inputs[0];
    let mut h = floats(tape.value(h)).unwrap().to_vec();
    amq_runtime::approximate(Isa::Scalar, Activations::Codes2, 5, &mut h).unwrap();
    for (row, column) in [(0, 0), (79, 4), (33, 2)] {
        let expected: f32 = (0..4).map(|n| by_y[n * 80 + row] * h[n * 5 + column]).sum();
        let found = case.params.all[at].gradient[row * 5 + column];
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
}

/// What is left out of a product of codes does not count, and the rest counts for more.
#[test]
fn codes_are_left_out() {
    let build =
        begin().initializer(weight("v", &[5, 80], 0.8)).node("MatMul", "h v", "y").output("y");
    let case = Case::new(&build, Some((2, Activations::Codes2)), &[&[4, 6]]);
    let node = case.module.graph.nodes.len() - 1;
    let dropout = Dropout { node, share: 0.4, seed: 5 };
    let maker = Maker { path: Path::new("m.onnx"), isa: Isa::detect() };
    let mut tape = Tape::new(&case.module, &case.route, maker);
    tape.drop_out(Some(dropout));
    tape.forward(&case.params, case.inputs.clone()).unwrap();
    let mut h = floats(tape.value(case.module.graph.nodes[node].inputs[0])).unwrap().to_vec();
    amq_runtime::approximate(Isa::Scalar, Activations::Codes2, 5, &mut h).unwrap();
    leave_out(dropout, 5, &mut h);
    assert!(h.contains(&0.0) && h.iter().any(|&h| h != 0.0));
    let place = case.params.place(node, 1).unwrap();
    assert!(case.params.codes(place).is_some());
    let w = floats(Some(case.params.tensor(place))).unwrap();
    let y = floats(tape.value(case.outputs[0])).unwrap();
    let product = |(h, w): (&[f32], &[f32])| -> f32 { h.iter().zip(w).map(|(h, w)| h * w).sum() };
    let rows = h.chunks(5).flat_map(|h| w.chunks(5).map(move |w| (h, w)));
    let expected: Vec<f32> = rows.map(product).collect();
    assert_near(&[(y.to_vec(), expected)], 1e-5);
}

/// A sample of other columns than the weights have is refused, where a model leaves them open.
#[test]
fn other_columns_are_refused() {
    let build = Build::new(17).input("x", "n d").initializer(weight("v", &[6, 80], 0.8));
    let build = build.node("MatMul", "x v", "y").output("y");
    let lstm = Build::new(17).input("x", "t n d").initializer(weight("W", &[1, 64, 6], 0.4));
    let lstm = lstm.initializer(weight("R", &[1, 64, 16], 0.3));
    let lstm = lstm.node_with("LSTM", "x W R", "y", &[("hidden_size", A::I(16))]).output("y");
    for (build, dims) in [(build, vec![4, 7]), (lstm, vec![2, 4, 7])] {
        for coded in [None, Some((2, Activations::Codes2))] {
            let case = Case::new(&build, coded, &[&dims]);
            let maker = Maker { path: Path::new("m.onnx"), isa: Isa::detect() };
            let mut tape = Tape::new(&case.module, &case.route, maker);
            let error = tape.forward(&case.params, case.inputs.clone()).unwrap_err();
            assert!(error.to_string().contains("vectors of 7 elements"), "{error}");
        }
    }
}
