//! What products lose by activations of 8 bits, on what they meet.

use amq_runtime::{Probe, Product};
use rayon::prelude::*;

use crate::error::Result;
use crate::quant::QuantizedMatrix;
use crate::weights::Weight;

/// Vectors of a run of rows that are looked at, at least, where there are as many.
const VECTORS: usize = 64;

/// By how many decibels a product with a coded matrix is farther from that with its weights than it would be with
/// activations in float; none where no data meet it. `run` runs a network in which it has those of the file.
///
/// # Errors
/// What the model does not take.
pub(crate) fn lost(
    run: &mut dyn FnMut(&mut dyn Probe) -> Result<()>,
    weight: &Weight,
    weights: &[f32],
    codes: &QuantizedMatrix,
) -> Result<Option<f64>> {
    let mut watch = Watch { weight, seen: Vec::new() };
    run(&mut watch)?;
    let [mut float, mut coded] = [0.0, 0.0];
    for seen in &watch.seen {
        let of_row = |row: usize| seen.noise(row, weights, codes);
        let rows: Vec<[f64; 2]> = (0..seen.rows).into_par_iter().map(of_row).collect();
        for [of_float, of_coded] in rows {
            (float, coded) = (float + of_float, coded + of_coded);
        }
    }
    let lost = 10.0 * (coded / float).log10();
    Ok((!lost.is_nan()).then_some(lost))
}

/// Keeps some of the vectors that a matrix meets, and what it gives on them.
struct Watch<'a> {
    weight: &'a Weight,
    seen: Vec<Seen>,
}

/// What neighbouring rows meet and give.
struct Seen {
    /// The first of them, in the matrix, and how many.
    first: usize,
    rows: usize,
    /// Every so many vectors one is kept.
    every: usize,
    count: usize,
    kept: Vec<(Vec<f32>, Vec<f32>)>,
}

impl Seen {
    fn add(&mut self, vector: &[f32], result: &[f32]) {
        if self.count.is_multiple_of(self.every) {
            self.kept.push((vector.to_vec(), result.to_vec()));
        }
        self.count += 1;
        if self.kept.len() == 2 * VECTORS {
            self.every *= 2;
            let mut place = 0;
            self.kept.retain(|_| {
                place += 1;
                place % 2 == 1
            });
        }
    }

    /// Squared errors of a row's products: with activations in float, and as they are.
    fn noise(&self, row: usize, weights: &[f32], codes: &QuantizedMatrix) -> [f64; 2] {
        let mut decoded = vec![0.0; codes.cols];
        codes.decode_row(self.first + row, &mut decoded);
        let weights = &weights[(self.first + row) * codes.cols..][..codes.cols];
        let (mut float, mut coded) = (0.0, 0.0);
        for (vector, result) in &self.kept {
            let expected = dot(weights, vector);
            float += (dot(&decoded, vector) - expected).powi(2);
            coded += (f64::from(result[row]) - expected).powi(2);
        }
        [float, coded]
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

impl Probe for Watch<'_> {
    fn wants_products(&self, node: usize) -> bool {
        self.weight.place.is_outermost() && node == self.weight.place.node
    }

    fn product(&mut self, product: &Product<'_>) {
        let Product { node, matrix, first_row, columns, rows, vectors, results } = *product;
        let Some(direction) = self.weight.direction(matrix) else { return };
        if !self.wants_products(node) || columns != self.weight.cols || columns == 0 || rows == 0 {
            return;
        }
        let first = direction * (self.weight.rows / self.weight.directions) + first_row;
        if first + rows > self.weight.rows {
            return;
        }
        let known = self.seen.iter().position(|seen| (seen.first, seen.rows) == (first, rows));
        let place = known.unwrap_or_else(|| {
            self.seen.push(Seen { first, rows, every: 1, count: 0, kept: Vec::new() });
            self.seen.len() - 1
        });
        for (vector, result) in vectors.chunks_exact(columns).zip(results.chunks_exact(rows)) {
            self.seen[place].add(vector, result);
        }
    }
}
