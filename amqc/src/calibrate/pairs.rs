//! What matrices meet in a network that is coded in part, beside what they meet in the float model.

use std::collections::BTreeMap;

use amq_runtime::{Part, Probe, Product};

use super::batches::{Batches, PIECE, Which};
use super::moments::Sums;
use super::samples::Samples;
use crate::error::Result;
use crate::feed::stream::{PortNames, TextReader};
use crate::loaded::Loaded;
use crate::tensor::views;

/// Rows of a matrix that meet the same vectors: the node, the matrix and the first row.
pub(crate) type Key = (usize, Part, usize);

/// The vectors x that rows meet in the float model, and those y that they meet in the coded one.
#[derive(Clone, Debug)]
pub(crate) struct Pairs {
    columns: usize,
    /// Of `[y, x - y]`.
    sums: Sums,
}

impl Pairs {
    fn new(columns: usize) -> Pairs {
        Pairs { columns, sums: Sums::new(2 * columns) }
    }

    /// Adds as many vectors x and y as there are.
    fn add(&mut self, half: usize, x: &[f32], y: &[f32]) {
        let mut pair = vec![0.0; 2 * self.columns];
        for (x, y) in x.chunks_exact(self.columns).zip(y.chunks_exact(self.columns)) {
            let (first, second) = pair.split_at_mut(self.columns);
            first.copy_from_slice(y);
            for (difference, (x, y)) in second.iter_mut().zip(x.iter().zip(y)) {
                *difference = x - y;
            }
            self.sums.add(half, &pair, std::iter::once(1.0));
        }
    }

    /// Elements of a vector.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// The means of y and of x - y.
    pub(crate) fn means(&self) -> [Vec<f64>; 2] {
        let mut y = self.sums.mean();
        let difference = y.split_off(self.columns);
        [y, difference]
    }

    /// The covariance of y.
    pub(crate) fn covariance(&self) -> Vec<f64> {
        self.part(&self.sums.covariance(), 0)
    }

    /// The same over each half, where both have vectors.
    pub(crate) fn covariances_of_halves(&self) -> Option<[Vec<f64>; 2]> {
        let halves = self.sums.covariances_of_halves()?;
        Some(halves.map(|half| self.part(&half, 0)))
    }

    /// The covariance of y, and that of y, `[element]`, with x - y, `[element of that]`.
    pub(crate) fn covariance_and_drift(&self) -> [Vec<f64>; 2] {
        let covariance = self.sums.covariance();
        [0, self.columns].map(|first| self.part(&covariance, first))
    }

    /// The columns from `first` on of the rows that belong to y.
    fn part(&self, covariance: &[f64], first: usize) -> Vec<f64> {
        let n = self.columns;
        covariance
            .chunks_exact(2 * n)
            .take(n)
            .flat_map(|row| &row[first..first + n])
            .copied()
            .collect()
    }
}

/// Pairs as they are gathered, call by call.
pub(crate) struct Pairing<'a> {
    wanted: &'a BTreeMap<Key, usize>,
    all: BTreeMap<Key, Pairs>,
    calls: usize,
}

impl<'a> Pairing<'a> {
    /// Of what those rows meet that are `wanted`, of which every so many vectors are taken.
    pub(crate) fn new(wanted: &'a BTreeMap<Key, usize>) -> Pairing<'a> {
        Pairing { wanted, all: BTreeMap::new(), calls: 0 }
    }

    /// Runs both models in a call, and pairs what rows meet.
    ///
    /// # Errors
    /// What a model does not take.
    pub(crate) fn call(
        &mut self,
        float: impl FnOnce(&mut dyn Probe) -> Result<()>,
        coded: impl FnOnce(&mut dyn Probe) -> Result<()>,
    ) -> Result<()> {
        let mut seen = [Recorder::new(self.wanted), Recorder::new(self.wanted)];
        float(&mut seen[0])?;
        coded(&mut seen[1])?;
        let [float, mut coded] = seen;
        for (key, Seen { columns, vectors, .. }) in float.seen {
            let Some(other) = coded.seen.remove(&key) else { continue };
            let pairs = self.all.entry(key).or_insert_with(|| Pairs::new(columns));
            pairs.add(self.calls % 2, &vectors, &other.vectors);
        }
        self.calls += 1;
        Ok(())
    }

    /// The pairs of rows that meet something, all of it finite.
    pub(crate) fn pairs(self) -> BTreeMap<Key, Pairs> {
        let mut all = self.all;
        for pairs in all.values_mut() {
            pairs.sums.settle();
        }
        all.retain(|_, pairs| pairs.sums.is_sound() == Some(true));
        all
    }
}

/// Pairs what rows meet in both models on at most so many of the tokens or samples.
///
/// # Errors
/// What a model does not take.
pub(crate) fn pair(
    [float, coded]: [&Loaded; 2],
    samples: &Samples,
    most: usize,
    wanted: &BTreeMap<Key, usize>,
) -> Result<BTreeMap<Key, Pairs>> {
    let mut pairing = Pairing::new(wanted);
    match samples {
        Samples::Text { tokens, classes } => {
            let reader = |loaded| TextReader::new(loaded, *classes, PortNames::default());
            let [mut first, mut second] = [reader(float)?, reader(coded)?];
            let piece = first.piece(tokens.len())?.min(PIECE);
            for piece in tokens[..tokens.len().min(most)].chunks(piece) {
                pairing.call(
                    |probe| first.feed_with(piece, probe),
                    |probe| second.feed_with(piece, probe),
                )?;
            }
        }
        Samples::Arrays { .. } => {
            let [mut first, mut second] = [float.session(), coded.session()];
            for batch in Batches::new(float, samples, Which::Fitted, most)? {
                let inputs = views(&batch.inputs);
                let error = |error| float.error(error);
                pairing.call(
                    |probe| first.run_with(&inputs, probe).map(|_| ()).map_err(error),
                    |probe| second.run_with(&inputs, probe).map(|_| ()).map_err(error),
                )?;
            }
        }
    }
    Ok(pairing.pairs())
}

/// Keeps vectors of a call.
struct Recorder<'a> {
    wanted: &'a BTreeMap<Key, usize>,
    seen: BTreeMap<Key, Seen>,
}

#[derive(Default)]
struct Seen {
    columns: usize,
    /// All vectors, those left out with them.
    count: usize,
    vectors: Vec<f32>,
}

impl Recorder<'_> {
    fn new(wanted: &BTreeMap<Key, usize>) -> Recorder<'_> {
        Recorder { wanted, seen: BTreeMap::new() }
    }
}

impl Probe for Recorder<'_> {
    fn wants_products(&self, node: usize) -> bool {
        self.wanted.keys().any(|(wanted, ..)| *wanted == node)
    }

    fn product(&mut self, product: &Product<'_>) {
        let Product { node, matrix, first_row, columns, vectors, .. } = *product;
        let key = (node, matrix, first_row);
        let Some(&every) = self.wanted.get(&key) else { return };
        let seen = self.seen.entry(key).or_default();
        seen.columns = columns;
        for vector in vectors.chunks_exact(columns.max(1)) {
            if seen.count.is_multiple_of(every) {
                seen.vectors.extend_from_slice(vector);
            }
            seen.count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_those_of_their_definition() {
        let (n, count) = (3, 40);
        let x: Vec<f32> = (0..n * count).map(|i| (i * 7 % 11) as f32).collect();
        let y: Vec<f32> = (0..n * count).map(|i| (i * 5 % 13) as f32 - 2.0).collect();
        let mut pairs = Pairs::new(n);
        pairs.add(0, &x[..30], &y[..30]);
        pairs.add(1, &x[30..], &y[30..]);
        pairs.sums.settle();
        let at = |v: &[f32], s: usize, i: usize| f64::from(v[s * n + i]);
        let mean = |of: &dyn Fn(usize) -> f64| (0..count).map(of).sum::<f64>() / count as f64;
        let means = |v: &[f32]| (0..n).map(|i| mean(&|s| at(v, s, i))).collect::<Vec<f64>>();
        let (mx, my) = (means(&x), means(&y));
        let near = |found: &[f64], expected: &dyn Fn(usize, usize) -> f64| {
            for (place, found) in found.iter().enumerate() {
                let expected = expected(place / n, place % n);
                assert!((found - expected).abs() < 1e-4, "{place}: {found} {expected}");
            }
        };
        let [found_y, lost_by_y] = pairs.means();
        near(&found_y, &|_, i| my[i]);
        near(&lost_by_y, &|_, i| mx[i] - my[i]);
        let dy = |s, i| at(&y, s, i) - my[i];
        let lost = |s, i| (at(&x, s, i) - mx[i]) - dy(s, i);
        let [covariance, drift] = pairs.covariance_and_drift();
        near(&pairs.covariance(), &|i, j| mean(&|s| dy(s, i) * dy(s, j)));
        assert_eq!(pairs.covariance(), covariance);
        near(&drift, &|i, j| mean(&|s| dy(s, i) * lost(s, j)));
    }
}
