//! First and second moments of the vectors that rows of matrices meet.

use amq_runtime::Part;
use rayon::prelude::*;

/// Vectors that are added at once: single precision is enough for so many.
const BLOCK: usize = 256;
/// Rows and columns of the part of a moment that one loop computes.
const TALL: usize = 4;
const WIDE: usize = 8;

/// What the matrices of a model meet.
#[derive(Clone, Debug, Default)]
pub struct Moments {
    /// One for each matrix, part of a matrix or, under a softmax, cluster of rows.
    pub blocks: Vec<Block>,
}

/// What some rows of a matrix meet.
#[derive(Clone, Debug)]
pub struct Block {
    /// Number of the node.
    pub node: usize,
    /// Which of its matrices.
    pub part: Part,
    /// The rows of that matrix.
    pub rows: Vec<usize>,
    /// Whether vectors weigh as much as errors of the rows count under a softmax.
    pub under_softmax: bool,
    /// The moments.
    pub sums: Sums,
}

/// Sums over vectors, in two halves: what was fitted to one can be tried on the other.
#[derive(Clone, Debug)]
pub struct Sums {
    columns: usize,
    halves: [Half; 2],
}

#[derive(Clone, Debug)]
struct Half {
    weight: f64,
    /// `sum w x`
    first: Vec<f64>,
    /// `sum w x x^T`, of which the elements on and above the diagonal count.
    second: Vec<f64>,
    /// Vectors that are not yet added, `[vector][column]`, and the weight of each.
    pending: Vec<f32>,
    weights: Vec<f32>,
}

impl Sums {
    /// Of no vectors.
    pub fn new(columns: usize) -> Sums {
        let half = || Half {
            weight: 0.0,
            first: vec![0.0; columns],
            second: vec![0.0; columns * columns],
            pending: Vec::new(),
            weights: Vec::new(),
        };
        Sums { columns, halves: [half(), half()] }
    }

    /// Bytes that they take.
    pub fn bytes(columns: usize) -> usize {
        2 * 8 * columns * columns
    }

    /// Elements of a vector.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Adds vectors, `[vector][column]`, with a weight each, to the half of this number; those of weight 0
    /// cost nothing.
    pub fn add(&mut self, half: usize, vectors: &[f32], weights: impl Iterator<Item = f32>) {
        let (columns, half) = (self.columns, &mut self.halves[half]);
        for (vector, weight) in vectors.chunks_exact(columns.max(1)).zip(weights) {
            if weight == 0.0 {
                continue;
            }
            half.pending.extend_from_slice(vector);
            half.weights.push(weight);
            if half.weights.len() == BLOCK {
                half.settle(columns);
            }
        }
    }

    /// Adds what is pending.
    pub fn settle(&mut self) {
        self.halves.iter_mut().for_each(|half| half.settle(self.columns));
    }

    /// Whether any vector has weight, and all sums are finite.
    pub fn is_sound(&self) -> Option<bool> {
        let weight = self.weight();
        let finite = self.halves.iter().all(|half| {
            half.weight.is_finite() && half.first.iter().chain(&half.second).all(|x| x.is_finite())
        });
        finite.then_some(weight > 0.0)
    }

    /// The weight of all vectors.
    pub fn weight(&self) -> f64 {
        self.halves.iter().map(|half| half.weight).sum()
    }

    /// The weighted mean of all vectors; zeros if there are none.
    pub fn mean(&self) -> Vec<f64> {
        mean(&[&self.halves[0], &self.halves[1]])
    }

    /// The weighted mean of `(x - m) (x - m)^T`, `m` being the mean of all vectors, over all of them.
    pub fn covariance(&self) -> Vec<f64> {
        covariance(&[&self.halves[0], &self.halves[1]], &self.mean())
    }

    /// The same over each half, where both have vectors.
    pub fn covariances_of_halves(&self) -> Option<[Vec<f64>; 2]> {
        let [a, b] = &self.halves;
        let both = a.weight > 0.0 && b.weight > 0.0;
        let mean = self.mean();
        both.then(|| [covariance(&[a], &mean), covariance(&[b], &mean)])
    }
}

fn mean(halves: &[&Half]) -> Vec<f64> {
    let weight: f64 = halves.iter().map(|half| half.weight).sum();
    let scale = if weight > 0.0 { 1.0 / weight } else { 0.0 };
    let columns = halves[0].first.len();
    (0..columns).map(|i| scale * halves.iter().map(|half| half.first[i]).sum::<f64>()).collect()
}

fn covariance(halves: &[&Half], centre: &[f64]) -> Vec<f64> {
    let columns = centre.len();
    let weight: f64 = halves.iter().map(|half| half.weight).sum();
    let scale = if weight > 0.0 { 1.0 / weight } else { 0.0 };
    let first = mean(halves);
    let mut h = vec![0.0; columns * columns];
    for i in 0..columns {
        for j in i..columns {
            let at = i * columns + j;
            let second: f64 = scale * halves.iter().map(|half| half.second[at]).sum::<f64>();
            // E (x - m)(x - m)^T = E x x^T - E x m^T - m E x^T + m m^T
            let value =
                second - first[i] * centre[j] - centre[i] * first[j] + centre[i] * centre[j];
            h[at] = value;
            h[j * columns + i] = value;
        }
    }
    h
}

impl Half {
    fn settle(&mut self, columns: usize) {
        let count = self.weights.len();
        if count == 0 {
            return;
        }
        for (vector, &weight) in self.pending.chunks_exact(columns).zip(&self.weights) {
            self.weight += f64::from(weight);
            for (sum, &x) in self.first.iter_mut().zip(vector) {
                *sum += f64::from(weight) * f64::from(x);
            }
        }
        // [panel][vector][column of the panel], padded with zeros.
        let panels = |width: usize, weighted: bool| -> Vec<f32> {
            let mut panels = vec![0.0; columns.div_ceil(width) * width * count];
            for (panel, start) in
                panels.chunks_exact_mut(width * count).zip((0..columns).step_by(width))
            {
                let wide = width.min(columns - start);
                for (vector, out) in panel.chunks_exact_mut(width).enumerate() {
                    let weight = if weighted { self.weights[vector] } else { 1.0 };
                    let x = &self.pending[vector * columns + start..][..wide];
                    out.iter_mut().zip(x).for_each(|(out, x)| *out = weight * x);
                }
            }
            panels
        };
        let (tall, wide) = (panels(TALL, true), panels(WIDE, false));
        let rows = self.second.par_chunks_mut(TALL * columns).zip(tall.par_chunks(TALL * count));
        rows.enumerate().for_each(|(index, (rows, tall))| {
            for (panel, wide) in wide.chunks_exact(WIDE * count).enumerate() {
                let start = panel * WIDE;
                // Below the diagonal.
                if start + WIDE <= index * TALL {
                    continue;
                }
                let tile = products(tall, wide);
                for (row, tile) in rows.chunks_exact_mut(columns).zip(&tile) {
                    for (sum, &product) in row[start..].iter_mut().zip(tile) {
                        *sum += f64::from(product);
                    }
                }
            }
        });
        self.pending.clear();
        self.weights.clear();
    }
}

/// Sums over vectors of products of each element of one panel with each of another.
fn products(tall: &[f32], wide: &[f32]) -> [[f32; WIDE]; TALL] {
    let mut sums = [[0.0; WIDE]; TALL];
    let (tall, _) = tall.as_chunks::<TALL>();
    let (wide, _) = wide.as_chunks::<WIDE>();
    for (tall, wide) in tall.iter().zip(wide) {
        for i in 0..TALL {
            for j in 0..WIDE {
                sums[i][j] += tall[i] * wide[j];
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_their_definition() {
        for (columns, count) in [(1, 5), (7, 3), (13, 600)] {
            let x: Vec<f32> = (0..columns * count).map(|i| (i * 7 % 11) as f32 - 4.0).collect();
            let weights: Vec<f32> = (0..count).map(|i| (1 + i % 3) as f32).collect();
            let mut sums = Sums::new(columns);
            for (i, vector) in x.chunks(columns).enumerate() {
                sums.add(i % 2, vector, weights[i..=i].iter().copied());
            }
            sums.settle();
            assert_eq!(sums.is_sound(), Some(true));
            let expect = |of: &dyn Fn(&[f32]) -> f64| {
                let sum: f64 =
                    x.chunks(columns).zip(&weights).map(|(x, w)| f64::from(*w) * of(x)).sum();
                sum / weights.iter().map(|&w| f64::from(w)).sum::<f64>()
            };
            let mean: Vec<f64> = (0..columns).map(|i| expect(&|x| x[i].into())).collect();
            let (found, covariance) = (sums.mean(), sums.covariance());
            for i in 0..columns {
                assert!((found[i] - mean[i]).abs() < 1e-5);
                for j in 0..columns {
                    let centred =
                        |x: &[f32]| (f64::from(x[i]) - mean[i]) * (f64::from(x[j]) - mean[j]);
                    let difference = covariance[i * columns + j] - expect(&centred);
                    assert!(difference.abs() < 1e-4, "{columns} {i} {j} {difference}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_shows() {
        let mut sums = Sums::new(2);
        assert_eq!(sums.is_sound(), Some(false));
        sums.add(0, &[1.0, f32::NAN], [1.0].into_iter());
        sums.settle();
        assert_eq!(sums.is_sound(), None);
    }
}
