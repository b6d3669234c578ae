//! What a product meets of which a softmax is taken: vectors weigh as much as errors of its rows count.

use amq_format::{TensorView, Validated};
use amq_runtime::{Data, Part, Probe, View};
use rayon::prelude::*;

use super::clusters::clusters;
use super::moments::{Block, Sums};

/// Clusters of rows: those of one share their moments.
const CLUSTERS: usize = 120;
/// Vectors of less weight than so many times the mean are thinned out.
const THIN: f64 = 4.0;

/// A product of which a softmax is taken.
pub(super) struct Softmax {
    /// Its node.
    pub(super) node: usize,
    clusters: Vec<Vec<usize>>,
    sums: Vec<Sums>,
    thinned: Vec<Thinned>,
    /// Vectors of the call that is seen.
    vectors: Vec<f32>,
}

impl Softmax {
    /// Of the node of these shares, with moments of at most so many bytes; `None` where there is no such
    /// node or its moments take more.
    pub(super) fn new(file: &Validated<'_>, shares: Shares, most_bytes: usize) -> Option<Softmax> {
        let (node, graph) = (shares.node?, file.graph());
        let weights = *graph.nodes[node].inputs.get(1)?;
        let index = graph.tensors.iter().position(|tensor| tensor.value == weights)?;
        let TensorView::Plain(plain) = file.tensor(index) else { return None };
        let (cols, weights) = (*plain.dims.last()?, plain.f32s().collect::<Vec<f32>>());
        let most = most_bytes / Sums::bytes(cols).max(1);
        // Between clusters of equally many rows and clusters that count equally much.
        let mut shares: Vec<f64> = shares.rows.into_iter().map(f64::sqrt).collect();
        shares.resize(weights.len() / cols.max(1), 0.0);
        let clusters = clusters(&weights, cols, &shares, CLUSTERS.min(most));
        let sums = vec![Sums::new(cols); clusters.len()];
        let thinned = vec![Thinned::default(); clusters.len()];
        (most > 0).then_some(Softmax { node, clusters, sums, thinned, vectors: Vec::new() })
    }

    /// Bytes of the moments.
    pub(super) fn bytes(&self) -> usize {
        self.sums.iter().map(|sums| Sums::bytes(sums.columns())).sum()
    }

    /// Vectors that the product met.
    pub(super) fn meet(&mut self, vectors: &[f32]) {
        self.vectors.extend_from_slice(vectors);
    }

    /// What they gave: adds them to the moments' half of this number.
    pub(super) fn add(&mut self, half: usize, logits: &[f32]) {
        let classes: usize = self.clusters.iter().map(Vec::len).sum();
        let weights: Vec<Vec<f32>> = logits
            .par_chunks_exact(classes.max(1))
            .map(|logits| {
                let weights = weights(logits);
                let weight = |rows: &Vec<usize>| -> f32 {
                    rows.iter().map(|&row| weights[row]).sum::<f32>() / rows.len() as f32
                };
                self.clusters.iter().map(weight).collect()
            })
            .collect();
        let vectors = &self.vectors;
        let sums = self.sums.par_iter_mut().zip(&mut self.thinned);
        sums.enumerate().for_each(|(cluster, (sums, thinned))| {
            sums.add(half, vectors, weights.iter().map(|weights| thinned.weigh(weights[cluster])));
        });
        self.vectors.clear();
    }

    /// The moments of each cluster.
    pub(super) fn blocks(self) -> impl Iterator<Item = Block> {
        let node = self.node;
        let clusters = self.clusters.into_iter().zip(self.sums);
        clusters.map(move |(rows, sums)| Block {
            node,
            part: Part::W,
            rows,
            under_softmax: true,
            sums,
        })
    }
}

/// How much the rows of a product count of which a softmax is taken.
pub(super) struct Shares {
    node: Option<usize>,
    rows: Vec<f64>,
}

impl Shares {
    /// Of a node, if there is one.
    pub(super) fn new(node: Option<usize>) -> Shares {
        Shares { node, rows: Vec::new() }
    }
}

impl Probe for Shares {
    fn wants_products(&self, _: usize) -> bool {
        false
    }

    fn output(&mut self, node: usize, output: usize, value: View<'_>) {
        let (true, Data::F32(logits)) = (self.node == Some(node) && output == 0, value.data) else {
            return;
        };
        let Some(&classes @ 1..) = value.dims.last() else { return };
        self.rows.resize(classes, 0.0);
        for logits in logits.chunks_exact(classes) {
            for (sum, weight) in self.rows.iter_mut().zip(weights(logits)) {
                *sum += f64::from(weight);
            }
        }
    }
}

/// An error of logit `i` costs `p_i (1 - p_i)` times half its square.
fn weights(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.iter().map(|x| (x - largest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).map(|p| p * (1.0 - p)).collect()
}

/// Leaves out vectors of little weight and gives it to others: fewer vectors are added, and sums stay what
/// they are but for chance.
#[derive(Clone, Debug, Default)]
struct Thinned {
    total: f64,
    count: u32,
    owed: f64,
}

impl Thinned {
    /// The weight that a vector of this weight gets.
    fn weigh(&mut self, weight: f32) -> f32 {
        self.total += f64::from(weight);
        self.count += 1;
        let least = THIN * self.total / f64::from(self.count);
        if f64::from(weight) >= least {
            return weight;
        }
        self.owed += f64::from(weight);
        if self.owed < least {
            return 0.0;
        }
        self.owed -= least;
        least as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinned_weights_keep_their_sum() {
        let mut thinned = Thinned::default();
        let weights: Vec<f32> = (0..10_000).map(|i| (1 + i * 7919 % 101) as f32).collect();
        let found: Vec<f32> = weights.iter().map(|&weight| thinned.weigh(weight)).collect();
        let sum = |weights: &[f32]| weights.iter().map(|&w| f64::from(w)).sum::<f64>();
        assert!((sum(&found) / sum(&weights) - 1.0).abs() < 1e-3);
        assert!(found.iter().filter(|&&weight| weight > 0.0).count() < 3000);
    }
}
