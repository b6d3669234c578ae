//! What a model says of each class, and what that is worth.

use amq_format::graph::{Graph, Op, ValueId};

/// What a model says of each class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scores {
    /// Logits, or logarithms of probabilities.
    Logits,
    /// Probabilities.
    Probabilities,
}

impl Scores {
    /// Of an output: probabilities where it comes from a Softmax, perhaps in another shape. (A
    /// log-softmax of logarithms of probabilities changes nothing.)
    pub(super) fn of(graph: &Graph, output: ValueId) -> Scores {
        let mut value = output;
        for node in graph.nodes.iter().rev().filter(|node| !node.outputs.is_empty()) {
            if node.outputs[0] != value {
                continue;
            }
            match (&node.op, node.inputs.first()) {
                (Some(Op::Softmax(softmax)), _) if !softmax.log => return Scores::Probabilities,
                (Some(Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_)), Some(&input)) => {
                    value = input
                }
                _ => return Scores::Logits,
            }
        }
        Scores::Logits
    }
}

/// `-ln p(target)` in nats; NaN if a score is.
pub(super) fn negative_log_likelihood(scores: Scores, row: &[f32], target: usize) -> f64 {
    match scores {
        Scores::Probabilities => -f64::from(row[target]).ln(),
        Scores::Logits => {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum = sum_of_exponentials(row, largest.into());
            sum.ln() + (f64::from(largest) - f64::from(row[target]))
        }
    }
}

/// The sum of `e^(score - largest)`, of scores not above `largest`. Large vocabularies make this
/// most of an evaluation's work, so it is written for vectors: a call of `exp` for each score takes
/// several times longer.
fn sum_of_exponentials(row: &[f32], largest: f64) -> f64 {
    // 1.5 * 2^52: a small number added to it is rounded to an integer, which its low bits hold.
    const ROUNDER: f64 = 6_755_399_441_055_744.0;
    let exp = |x: f64| {
        // Nothing so small counts beside the largest score's 1. A NaN stays one.
        let x = if x < -700.0 { -700.0 } else { x };
        let shifted = x * std::f64::consts::LOG2_E + ROUNDER;
        let r = x - (shifted - ROUNDER) * std::f64::consts::LN_2;
        // Taylor's series for |r| <= ln 2 / 2: the first term left out is below 1e-11.
        let mut power = 1.0 / 362_880.0;
        for factor in [40_320.0, 5_040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0] {
            power = power * r + 1.0 / factor;
        }
        power * f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52))
    };
    let mut sums = [0.0; 8];
    let (chunks, rest) = row.as_chunks::<8>();
    for chunk in chunks {
        for (sum, &score) in sums.iter_mut().zip(chunk) {
            *sum += exp(f64::from(score) - largest);
        }
    }
    let rest = rest.iter().map(|&score| exp(f64::from(score) - largest));
    sums.into_iter().chain(rest).sum()
}

/// The class with the largest score, the first of equals; `None` if a score is NaN or there is none.
pub(super) fn top1(scores: &[f32]) -> Option<usize> {
    let mut best = 0;
    for (class, score) in scores.iter().enumerate() {
        if score.is_nan() {
            return None;
        }
        if *score > scores[best] {
            best = class;
        }
    }
    (!scores.is_empty()).then_some(best)
}

#[cfg(test)]
mod tests {
    use amq_format::graph::{Node, Reshape, Softmax, Unary};

    use super::*;

    #[test]
    fn a_softmax_is_seen_through_views() {
        let node = |op, input, output| Node {
            inputs: vec![input],
            outputs: vec![output],
            op: Some(op),
            ..Node::default()
        };
        let softmax = |log| Op::Softmax(Softmax { axis: 1, log });
        let reshape = || Op::Reshape(Reshape::default());
        let with = |nodes| Graph { nodes, ..Graph::default() };
        let graph = with(vec![node(softmax(false), 1, 2), node(reshape(), 2, 3)]);
        assert_eq!(Scores::of(&graph, 3), Scores::Probabilities);
        assert_eq!(Scores::of(&graph, 1), Scores::Logits);
        let graph = with(vec![node(softmax(true), 1, 2), node(reshape(), 2, 3)]);
        assert_eq!(Scores::of(&graph, 3), Scores::Logits);
        let unary = Op::Unary(Unary::default());
        let graph = with(vec![node(softmax(false), 1, 2), node(unary, 2, 3)]);
        assert_eq!(Scores::of(&graph, 3), Scores::Logits);
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let nll = negative_log_likelihood(Scores::Logits, &[3e38, 3e38, -3e38], 0);
        assert!((nll - 2f64.ln()).abs() < 1e-9);
        assert!(negative_log_likelihood(Scores::Logits, &[0.0, f32::NAN], 0).is_nan());
    }

    #[test]
    fn exponentials_are_those_of_the_library() {
        for count in [1, 8, 1003] {
            let row: Vec<f32> = (0..count).map(|i| i as f32 * -0.7131).collect();
            let expected: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
            let found = sum_of_exponentials(&row, 0.0);
            assert!((found / expected - 1.0).abs() < 1e-10, "{found} is not {expected}");
        }
        assert_eq!(sum_of_exponentials(&[0.0, f32::NEG_INFINITY], 0.0), 1.0);
        assert!(sum_of_exponentials(&[0.0, f32::NAN], 0.0).is_nan());
    }

    #[test]
    fn the_first_of_equals_wins() {
        assert_eq!(top1(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(top1(&[f32::NEG_INFINITY]), Some(0));
        assert_eq!(top1(&[1.0, f32::NAN]), None);
        assert_eq!(top1(&[]), None);
    }
}
