//! What a model says of each class, and what that is worth.

use amq_format::graph::{Graph, Node, Op, UnaryFunction, ValueId};

/// What a model says of each class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scores {
    /// Logits, or logarithms of probabilities.
    Logits,
    /// Probabilities.
    Probabilities,
}

impl Scores {
    /// Of an output: probabilities where it comes from a Softmax, perhaps in another shape. (A
    /// log-softmax of logarithms of probabilities changes nothing.)
    pub(crate) fn of(graph: &Graph, output: ValueId) -> Scores {
        match source(graph, output) {
            Some(Op::Softmax(softmax)) if !softmax.log => Scores::Probabilities,
            _ => Scores::Logits,
        }
    }
}

/// Above which a score that stands alone says yes: half where it is a probability, which comes from a Sigmoid, and 0
/// where it is the logit of one.
pub(super) fn cutoff(graph: &Graph, output: ValueId) -> f32 {
    match source(graph, output) {
        Some(Op::Unary(unary)) if unary.function() == UnaryFunction::Sigmoid => 0.5,
        Some(Op::Softmax(softmax)) if !softmax.log => 0.5,
        _ => 0.0,
    }
}

/// The axis of an output of `rank` axes along which a softmax went; none where there is no softmax, or a change of
/// shape hides the axis.
pub(crate) fn classes_axis(graph: &Graph, output: ValueId, rank: usize) -> Option<usize> {
    let path = path(graph, output);
    let (last, views) = path.split_last()?;
    let Some(Op::Softmax(softmax)) = &last.op else { return None };
    let mut axis = softmax.axis as usize;
    for view in views.iter().rev() {
        axis = match &view.op {
            Some(Op::Transpose(transpose)) => {
                transpose.perm.iter().position(|&from| from as usize == axis)?
            }
            Some(Op::Reshape(_)) => return None,
            _ => axis,
        };
    }
    (axis < rank).then_some(axis)
}

/// What computes the elements of an output, perhaps in another shape or rounded to a narrower float.
fn source(graph: &Graph, output: ValueId) -> Option<&Op> {
    path(graph, output).last()?.op.as_ref()
}

/// From the node that gives an output to the one that computes its elements.
fn path(graph: &Graph, output: ValueId) -> Vec<&Node> {
    let (mut value, mut path) = (output, Vec::new());
    for node in graph.nodes.iter().rev() {
        if node.outputs.first() != Some(&value) {
            continue;
        }
        path.push(node);
        match (&node.op, node.inputs.first()) {
            (Some(Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_)), Some(&input)) => value = input,
            (Some(Op::Unary(unary)), Some(&input)) if rounds(unary.function()) => value = input,
            _ => break,
        }
    }
    path
}

fn rounds(function: UnaryFunction) -> bool {
    matches!(function, UnaryFunction::ToF16 | UnaryFunction::ToBf16)
}

/// `-ln p(target)` in nats; NaN if a score is.
pub(crate) fn negative_log_likelihood(scores: Scores, row: &[f32], target: usize) -> f64 {
    match scores {
        Scores::Probabilities => -f64::from(row[target]).ln(),
        Scores::Logits => {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum = sum_of_exponentials(row, largest.into());
            sum.ln() + (f64::from(largest) - f64::from(row[target]))
        }
    }
}

/// Below it, `e^x` is taken for that of this.
const LEAST_LOGARITHM: f64 = -700.0;

/// The divergence of the probabilities in `found` from those in `expected`, `sum p ln(p / q)` in nats.
pub(crate) fn divergence(scores: Scores, expected: &[f32], found: &[f32]) -> f64 {
    /// What stands for a probability of 0.
    const LEAST: f64 = 1e-12;
    match scores {
        Scores::Probabilities => {
            let term = |(&p, &q): (&f32, &f32)| {
                let (p, q) = (f64::from(p), f64::from(q));
                if p > 0.0 { p * (p / q.max(LEAST)).ln() } else { p }
            };
            expected.iter().zip(found).map(term).sum()
        }
        Scores::Logits => {
            let largest =
                |row: &[f32]| row.iter().copied().fold(f32::NEG_INFINITY, f32::max).into();
            let (most, most_found): (f64, f64) = (largest(expected), largest(found));
            let mut sums = [[0.0; 8]; 2];
            let add = |sums: &mut [[f64; 8]; 2], lane: usize, x: f32, y: f32| {
                let (x, y) = (f64::from(x) - most, f64::from(y) - most_found);
                let power = exp(x);
                sums[0][lane] += power;
                // Where p is 0, its logarithm counts nothing.
                sums[1][lane] += if x < LEAST_LOGARITHM { 0.0 } else { power * (x - y) };
            };
            let (chunks, rest) = expected.as_chunks::<8>();
            let (others, other_rest) = found.as_chunks::<8>();
            for (chunk, other) in chunks.iter().zip(others) {
                (0..8).for_each(|lane| add(&mut sums, lane, chunk[lane], other[lane]));
            }
            for (&x, &y) in rest.iter().zip(other_rest) {
                add(&mut sums, 0, x, y);
            }
            let [sum, weighted] = sums.map(|lanes| lanes.iter().sum::<f64>());
            weighted / sum - sum.ln() + sum_of_exponentials(found, most_found).ln()
        }
    }
}

/// `e^x` for x of at most 0, to 1e-11: written for vectors. A call of the library's for each score of a large
/// vocabulary takes several times longer, which would be most of an evaluation's work.
#[inline(always)]
fn exp(x: f64) -> f64 {
    // 1.5 * 2^52: a small number added to it is rounded to an integer, which its low bits hold.
    const ROUNDER: f64 = 6_755_399_441_055_744.0;
    // Nothing so small counts beside the largest score's 1. A NaN stays one.
    let x = if x < LEAST_LOGARITHM { LEAST_LOGARITHM } else { x };
    let shifted = x * std::f64::consts::LOG2_E + ROUNDER;
    let r = x - (shifted - ROUNDER) * std::f64::consts::LN_2;
    // Taylor's series for |r| <= ln 2 / 2: the first term left out is below 1e-11.
    let mut power = 1.0 / 362_880.0;
    for factor in [40_320.0, 5_040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0] {
        power = power * r + 1.0 / factor;
    }
    power * f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52))
}

/// The sum of `e^(score - largest)`, of scores not above `largest`.
fn sum_of_exponentials(row: &[f32], largest: f64) -> f64 {
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
pub(crate) fn top1(scores: &[f32]) -> Option<usize> {
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
    use amq_format::graph::{Reshape, Softmax, Transpose, Unary};

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
        let unary = |function: UnaryFunction| {
            Op::Unary(Unary { function: function as i32, ..Unary::default() })
        };
        let graph = with(vec![node(softmax(false), 1, 2), node(unary(UnaryFunction::Neg), 2, 3)]);
        assert_eq!(Scores::of(&graph, 3), Scores::Logits);
        assert_eq!(cutoff(&graph, 3), 0.0);
        let graph = with(vec![node(unary(UnaryFunction::Sigmoid), 1, 2), node(reshape(), 2, 3)]);
        assert_eq!(cutoff(&graph, 3), 0.5);
    }

    #[test]
    fn classes_are_where_the_softmax_went() {
        let node = |op, input, output| Node {
            inputs: vec![input],
            outputs: vec![output],
            op: Some(op),
            ..Node::default()
        };
        let softmax = || node(Op::Softmax(Softmax { axis: 1, log: false }), 1, 2);
        let turn = Op::Transpose(Transpose { perm: vec![0, 2, 1] });
        let round = Op::Unary(Unary { function: UnaryFunction::ToF16 as i32, ..Unary::default() });
        let with = |nodes| Graph { nodes, ..Graph::default() };
        let graph = with(vec![softmax(), node(turn.clone(), 2, 3), node(round, 3, 4)]);
        assert_eq!(classes_axis(&graph, 2, 3), Some(1));
        assert_eq!(classes_axis(&graph, 3, 3), Some(2));
        assert_eq!(classes_axis(&graph, 4, 3), Some(2));
        assert_eq!(Scores::of(&graph, 4), Scores::Probabilities);
        let graph = with(vec![softmax(), node(Op::Reshape(Reshape::default()), 2, 3)]);
        assert_eq!(classes_axis(&graph, 3, 2), None);
        assert_eq!(classes_axis(&graph, 1, 2), None);
    }

    #[test]
    fn divergence_is_that_of_its_definition() {
        let logits: Vec<f32> = (0..19).map(|i| (i * 7 % 11) as f32 * 0.6 - 3.0).collect();
        let others: Vec<f32> = logits.iter().enumerate().map(|(i, x)| x + (i % 3) as f32).collect();
        let softmax = |row: &[f32]| -> Vec<f32> {
            let sum: f32 = row.iter().map(|x| x.exp()).sum();
            row.iter().map(|x| x.exp() / sum).collect()
        };
        let (p, q) = (softmax(&logits), softmax(&others));
        let expected: f64 =
            p.iter().zip(&q).map(|(&p, &q)| f64::from(p) * f64::from(p / q).ln()).sum();
        for found in [
            divergence(Scores::Logits, &logits, &others),
            divergence(Scores::Probabilities, &p, &q),
        ] {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
        assert!(divergence(Scores::Logits, &logits, &logits).abs() < 1e-12);
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
