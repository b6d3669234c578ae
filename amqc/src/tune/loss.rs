//! What training makes small.

use amq_runtime::vectorize;
use rayon::prelude::*;

use super::function::exp;
use crate::eval::Scores;

/// Lanes of a sum.
const LANES: usize = 16;

/// What rows of scores are held against: classes, the float model's scores, or both.
#[derive(Clone, Copy, Debug)]
pub(super) struct Targets<'a> {
    /// The class of each row.
    pub(super) labels: Option<&'a [usize]>,
    /// The float model's scores.
    pub(super) teacher: Option<&'a [f32]>,
    /// How much of the loss is the divergence from the float model; the rest is cross-entropy.
    pub(super) share: f32,
}

/// The mean over rows of `(1 - share) -ln p(label) + share KL(teacher | scores)`, in nats, and its gradient by the scores, in the
/// memory of `gradient`.
pub(super) fn of_scores(
    kind: Scores,
    classes: usize,
    scores: &[f32],
    targets: Targets<'_>,
    mut gradient: Vec<f32>,
) -> (f64, Vec<f32>) {
    gradient.resize(scores.len(), 0.0);
    let count = scores.len().checked_div(classes).unwrap_or(0);
    let scale = 1.0 / count.max(1) as f32;
    let rows =
        gradient.par_chunks_exact_mut(classes.max(1)).zip(scores.par_chunks_exact(classes.max(1)));
    let losses: Vec<f64> = rows
        .enumerate()
        .map_init(Vec::new, |room, (row, (gradient, scores))| {
            let label = targets.labels.map(|labels| labels[row]);
            let teacher = targets.teacher.map(|all| &all[row * classes..][..classes]);
            let held = Held { label, teacher, share: targets.share, scale };
            match kind {
                Scores::Logits => vectorize(
                    #[inline(always)]
                    || of_logits(scores, held, gradient, room),
                ),
                Scores::Probabilities => of_probabilities(scores, held, gradient),
            }
        })
        .collect();
    (losses.iter().sum::<f64>() / count.max(1) as f64, gradient)
}

/// What a row is held against, and what its gradient is multiplied by.
#[derive(Clone, Copy, Debug)]
struct Held<'a> {
    label: Option<usize>,
    teacher: Option<&'a [f32]>,
    share: f32,
    scale: f32,
}

/// The mean of squared differences, in parts of a mean square, and its gradient by `values`.
pub(super) fn of_values(values: &[f32], expected: &[f32], energy: f64) -> (f64, Vec<f32>) {
    let scale = 1.0 / (energy.max(f64::MIN_POSITIVE) * values.len().max(1) as f64);
    let mut loss = 0.0;
    let gradient = values.iter().zip(expected).map(|(&y, &t)| {
        let off = f64::from(y) - f64::from(t);
        loss += scale * off * off;
        (2.0 * scale * off) as f32
    });
    let gradient = gradient.collect();
    (loss, gradient)
}

/// The largest of scores.
#[inline(always)]
fn largest(row: &[f32]) -> f32 {
    let mut most = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (most, &x) in most.iter_mut().zip(chunk) {
            *most = if x > *most { x } else { *most };
        }
    }
    most.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// The sum of products, in lanes.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| f64::from(a * b));
    sums.iter().map(|&sum| f64::from(sum)).chain(rest).sum()
}

/// The sum of a row, in lanes.
#[inline(always)]
fn sum(row: &[f32]) -> f64 {
    let mut sums = [0.0; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += x);
    }
    sums.iter().chain(rest).map(|&x| f64::from(x)).sum()
}

/// Probabilities of logits, and the logarithm of what they were divided by, the largest logit included.
#[inline(always)]
fn softmax(logits: &[f32], p: &mut [f32]) -> f64 {
    let most = largest(logits);
    p.iter_mut().zip(logits).for_each(|(p, x)| *p = exp(x - most));
    let total = sum(p);
    let by = (1.0 / total) as f32;
    p.iter_mut().for_each(|p| *p *= by);
    f64::from(most) + total.ln()
}

/// `room` is for the teacher's probabilities.
#[inline(always)]
fn of_logits(
    logits: &[f32],
    Held { label, teacher, share, scale }: Held<'_>,
    gradient: &mut [f32],
    room: &mut Vec<f32>,
) -> f64 {
    let norm = softmax(logits, gradient);
    // NaN hides from comparisons.
    let mut loss = if sum(logits).is_finite() { 0.0 } else { f64::NAN };
    let mut weight = 0.0;
    if let Some(label) = label {
        loss += f64::from(1.0 - share) * (norm - f64::from(logits[label]));
        weight += 1.0 - share;
    }
    if let Some(teacher) = teacher.filter(|_| share > 0.0) {
        room.resize(teacher.len(), 0.0);
        let of_teacher = softmax(teacher, room);
        let divergence = (dot(room, teacher) - of_teacher) - (dot(room, logits) - norm);
        loss += f64::from(share) * divergence;
        weight += share;
        let (own, other) = (scale * weight, scale * share);
        gradient.iter_mut().zip(&*room).for_each(|(g, p)| *g = own * *g - other * p);
    } else {
        gradient.iter_mut().for_each(|g| *g *= scale * weight);
    }
    if let Some(label) = label {
        gradient[label] -= scale * (1.0 - share);
    }
    loss
}

fn of_probabilities(
    p: &[f32],
    Held { label, teacher, share, scale }: Held<'_>,
    gradient: &mut [f32],
) -> f64 {
    /// What stands for a probability of 0.
    const LEAST: f32 = 1e-12;
    let mut loss = 0.0;
    gradient.fill(0.0);
    if let Some(label) = label {
        let found = p[label].max(LEAST);
        loss -= f64::from(1.0 - share) * f64::from(found).ln();
        gradient[label] -= scale * (1.0 - share) / found;
    }
    if let Some(teacher) = teacher.filter(|_| share > 0.0) {
        for ((g, &p), &t) in gradient.iter_mut().zip(p).zip(teacher) {
            if t > 0.0 {
                let found = p.max(LEAST);
                loss += f64::from(share * t) * (f64::from(t) / f64::from(found)).ln();
                *g -= scale * share * t / found;
            }
        }
    }
    if p.iter().all(|p| p.is_finite()) { loss } else { f64::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loss falls by what the gradient says.
    #[test]
    fn gradients_are_those_of_differences() {
        let classes = 21;
        let numbers = |step: usize| -> Vec<f32> {
            (0..3 * classes).map(|i| (i * step % 17) as f32 * 0.3 - 2.0).collect()
        };
        let probabilities = |logits: &[f32]| -> Vec<f32> {
            let mut p = vec![0.0; logits.len()];
            for (row, p) in logits.chunks(classes).zip(p.chunks_mut(classes)) {
                softmax(row, p);
            }
            p
        };
        let labels = [3, 0, 20];
        for kind in [Scores::Logits, Scores::Probabilities] {
            let of_kind = |logits: &[f32]| match kind {
                Scores::Logits => logits.to_vec(),
                Scores::Probabilities => probabilities(logits),
            };
            let (scores, teacher) = (of_kind(&numbers(7)), of_kind(&numbers(5)));
            for share in [0.0, 0.4, 1.0] {
                let targets = Targets { labels: Some(&labels), teacher: Some(&teacher), share };
                let (_, gradient) = of_scores(kind, classes, &scores, targets, vec![9.0; 70]);
                for at in [0, 3, 19, 40, 62] {
                    let step = 1e-2 * scores[at].abs();
                    let moved = |by: f32| {
                        let mut scores = scores.clone();
                        scores[at] += by;
                        of_scores(kind, classes, &scores, targets, vec![9.0; 70]).0
                    };
                    let expected = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
                    let found = f64::from(gradient[at]);
                    assert!(
                        (found - expected).abs() < 1e-3 * expected.abs() + 1e-5,
                        "{found} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn squares_are_in_parts_of_the_energy() {
        let (values, expected) = ([1.0, -2.0, 0.5], [0.0, -2.0, 1.5]);
        let (loss, gradient) = of_values(&values, &expected, 4.0);
        assert!((loss - 2.0 / 12.0).abs() < 1e-12);
        assert_eq!(gradient, [2.0 / 12.0, 0.0, -2.0 / 12.0]);
        assert!(of_values(&[f32::NAN], &[0.0], 1.0).0.is_nan());
    }

    #[test]
    fn losses_are_those_of_their_definitions() {
        let (scores, teacher) = ([0.0f32, 2f32.ln(), 0.0], [0.0f32; 3]);
        let loss = |share| {
            let targets = Targets { labels: Some(&[1]), teacher: Some(&teacher), share };
            of_scores(Scores::Logits, 3, &scores, targets, Vec::new()).0
        };
        assert!((loss(0.0) - 2f64.ln()).abs() < 1e-6);
        let third = 1.0 / 3.0f64;
        let expected = third * (third / 0.25).ln() * 2.0 + third * (third / 0.5).ln();
        assert!((loss(1.0) - expected).abs() < 1e-6, "{}", loss(1.0));
        assert!(
            of_scores(
                Scores::Logits,
                3,
                &[f32::NAN, 0.0, 0.0],
                Targets { labels: Some(&[1]), teacher: None, share: 0.0 },
                Vec::new(),
            )
            .0
            .is_nan()
        );
    }
}
