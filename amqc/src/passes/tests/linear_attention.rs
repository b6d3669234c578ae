//! LinearAttention against its definition, whole and in chunks.

use super::bodies::run_with;
use super::*;

/// Two heads of queries for one of keys: keys of 3, values of 2.
fn build() -> Build {
    let heads = [("q_num_heads", A::I(2)), ("kv_num_heads", A::I(1))];
    Build::new(27)
        .input("q", "b t 6")
        .input("k", "b t 3")
        .input("v", "b t 2")
        .input("s", "b 1 3 2")
        .input("g", "b t 3")
        .input("u", "b t 1")
        .node_with("LinearAttention", "q k v s g u", "y n", &heads)
        .output("y")
        .output("n")
}

/// Inputs of one sequence, step by step: q, k, v, g, u.
const WIDTHS: [usize; 5] = [6, 3, 2, 3, 1];

fn run(steps: [&[f32]; 5], state: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let count = steps[4].len();
    let dims: Vec<_> = WIDTHS.iter().map(|&width| [1, count, width]).collect();
    let mut inputs = vec![("s", View::f32(&[1, 1, 3, 2], state))];
    for ((name, x), dims) in ["q", "k", "v", "g", "u"].into_iter().zip(steps).zip(&dims) {
        inputs.push((name, View::f32(dims, x)));
    }
    let mut y = run_with(&build(), &inputs);
    let state = y.split_off(4 * count);
    (y, state)
}

#[test]
fn a_memory_is_corrected_step_by_step() {
    let count = 5;
    let inputs: Vec<Vec<f32>> = (0..5).map(|i| numbers(i as u64 + 1, count * WIDTHS[i])).collect();
    let steps = |from: usize, to: usize| -> [&[f32]; 5] {
        std::array::from_fn(|i| &inputs[i][from * WIDTHS[i]..to * WIDTHS[i]])
    };
    let start = numbers(9, 6);
    let (y, last) = run(steps(0, count), &start);

    let mut s: Vec<f64> = start.iter().map(|&x| x.into()).collect();
    let mut expected = Vec::new();
    for t in 0..count {
        let [q, k, v, g, u] = steps(t, t + 1);
        let at = |x: &[f32], i: usize| f64::from(x[i]);
        (0..6).for_each(|i| s[i] *= at(g, i / 2).exp());
        for e in 0..2 {
            let found: f64 = (0..3).map(|d| at(k, d) * s[2 * d + e]).sum();
            let update = at(u, 0) * (at(v, e) - found);
            (0..3).for_each(|d| s[2 * d + e] += at(k, d) * update);
        }
        for head in 0..2 {
            for e in 0..2 {
                let read: f64 = (0..3).map(|d| at(q, 3 * head + d) * s[2 * d + e]).sum();
                expected.push(read / 3f64.sqrt());
            }
        }
    }
    let near = |a: &[f32], b: &[f64]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5)
    };
    assert!(near(&y, &expected), "{y:?} {expected:?}");
    assert!(near(&last, &s), "{last:?} {s:?}");

    // The same bits in chunks.
    let (first, state) = run(steps(0, 2), &start);
    let (rest, state) = run(steps(2, count), &state);
    assert_eq!(([first, rest].concat(), state), (y, last));
}
