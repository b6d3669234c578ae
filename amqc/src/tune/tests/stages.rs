//! Coefficients alone, and weights that go on from them.

use super::*;
use crate::tune::params::Stage;

fn case() -> Case {
    let build = begin().initializer(weight("v", &[5, 80], 0.8)).node("MatMul", "h v", "y");
    let mut case = Case::new(&build.output("y"), Some((2, Activations::F32)), &[&[4, 6]]);
    case.params.enter(Stage::Scales);
    case
}

fn numbers(tensor: &mut Tensor) -> &mut Vec<f32> {
    let Data::F32(data) = &mut tensor.data else { panic!("floats") };
    data
}

/// The loss goes by each coefficient as a line, so that steps may be long.
#[test]
fn gradients_by_coefficients() {
    let mut case = case();
    case.params.clear();
    let before = case.loss(true);
    let mut count = 0;
    for at in 0..case.params.all.len() {
        let param = &case.params.all[at];
        assert_eq!(param.moves, !param.is_coded(), "weights stay, biases move");
        if param.value.is_some() {
            continue;
        }
        let (gradient, start) = (param.gradient.clone(), param.weights.clone());
        for element in [0, gradient.len() / 2, gradient.len() - 1] {
            let weights = numbers(&mut case.params.all[at].weights);
            let step = weights[element] / 8.0;
            weights[element] += step;
            case.params.follow();
            let (found, expected) =
                (case.loss(false) - before, f64::from(gradient[element] * step));
            // What a coefficient is rounded to: 11 bits.
            let most = 0.01 * expected.abs() + 2e-3;
            assert!((found - expected).abs() < most, "{found} is not {expected}");
            assert!(gradient[element] != 0.0);
            case.params.all[at].weights = start.clone();
            case.params.follow();
            count += 1;
        }
    }
    assert!(count >= 3, "a matrix is coded");
}

/// Codes stay where coefficients move, and weights that take over begin where those were.
#[test]
fn weights_go_on_from_coefficients() {
    let mut case = case();
    let codes = |case: &Case| {
        let mut module = case.module.clone();
        let fitted = case.params.write(&mut module, &case.fitted);
        let matrices = fitted.matrices.into_iter().map(|matrix| matrix.codes);
        matrices.collect::<Vec<_>>()
    };
    let before = codes(&case);
    for param in case.params.all.iter_mut().filter(|param| param.value.is_none()) {
        numbers(&mut param.weights).iter_mut().for_each(|a| *a *= 1.25);
    }
    case.params.follow();
    let moved = codes(&case);
    for (before, moved) in before.iter().zip(&moved) {
        assert_eq!(before.planes, moved.planes);
        let pairs = before.coefficients.iter().zip(&moved.coefficients);
        pairs.for_each(|(a, b)| assert!((b - 1.25 * a).abs() < 2e-3 * b, "{b} {a}"));
    }
    case.params.enter(Stage::Weights);
    assert!(case.params.all.iter().all(|param| param.moves == param.value.is_some()));
    case.params.follow();
    for (moved, after) in moved.iter().zip(codes(&case)) {
        assert_eq!(after.planes, moved.planes);
        // Nearer to what they came to than to where they began.
        let pairs = after.coefficients.iter().zip(&moved.coefficients);
        pairs.for_each(|(a, b)| assert!((a - b).abs() < (a - b / 1.25).abs(), "{a} {b}"));
    }
}
