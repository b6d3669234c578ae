//! The norm in which an error of weights is the error of their products.

use rayon::prelude::*;

/// Columns that one step of the factorization settles together.
const LANES: usize = 8;

/// The error of a row `e` of weights as the mean square of `e x` over vectors `x`: `e^T H e`, `H`
/// being their second moment.
#[derive(Clone, Debug)]
pub(super) struct Norm {
    columns: usize,
    /// `H`, symmetric, its diagonal raised.
    h: Vec<f64>,
    /// `H = U D U^T`, `U` upper triangular with ones in its diagonal, which are not kept.
    u: Vec<f64>,
}

impl Norm {
    /// The norm of a second moment `[column][column]`, of which the mean of the diagonal, times
    /// `damping`, is added to each element of the diagonal: so much of the plain squared error goes
    /// with it. `None` for one that is zero or not finite.
    pub(super) fn new(mut h: Vec<f64>, columns: usize, damping: f64) -> Option<Norm> {
        let mean = (0..columns).map(|i| h[i * columns + i]).sum::<f64>() / columns as f64;
        if !(mean.is_finite() && mean > 0.0) || h.iter().any(|x| !x.is_finite()) {
            return None;
        }
        for i in 0..columns {
            h[i * columns + i] += damping * mean;
        }
        let (u, _) = factor(&h, columns, 1e-9 * mean);
        Some(Norm { columns, h, u })
    }

    /// A row of `H`.
    pub(super) fn row(&self, column: usize) -> &[f64] {
        &self.h[column * self.columns..][..self.columns]
    }

    /// What an error in `column` does to later columns: their part of the row of `U`.
    pub(super) fn later(&self, column: usize) -> &[f64] {
        &self.u[column * self.columns..][column + 1..self.columns]
    }

    /// `H e`.
    pub(super) fn apply(&self, e: &[f64], out: &mut [f64]) {
        for (out, row) in out.iter_mut().zip(self.h.chunks_exact(self.columns)) {
            *out = dot(row, e);
        }
    }
}

/// `U` and `D` of `H = U D U^T`, from the last column backwards. A pivot is `least` at least.
fn factor(h: &[f64], n: usize, least: f64) -> (Vec<f64>, Vec<f64>) {
    let mut u = vec![0.0; n * n];
    let mut d = vec![0.0; n];
    // Row j of U, times D.
    let mut scaled = vec![0.0; n];
    for j in (0..n).rev() {
        for k in j + 1..n {
            scaled[k] = u[j * n + k] * d[k];
        }
        let above = j + 1;
        let pivot = h[j * n + j] - dot(&u[j * n + above..(j + 1) * n], &scaled[above..]);
        d[j] = pivot.max(least);
        let inverse = 1.0 / d[j];
        let scaled = &scaled[above..];
        let column = |(i, row): (usize, &mut [f64])| {
            row[j] = (h[i * n + j] - dot(&row[above..], scaled)) * inverse;
        };
        // Small ones are not worth the threads.
        match j * (n - j) > 1 << 16 {
            true => u[..j * n].par_chunks_exact_mut(n).enumerate().for_each(column),
            false => u[..j * n].chunks_exact_mut(n).enumerate().for_each(column),
        }
    }
    (u, d)
}

/// The sum of products, in an order that suits vectors.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let (chunks, rest) = a.as_chunks::<LANES>();
    let (others, other_rest) = b.as_chunks::<LANES>();
    for (a, b) in chunks.iter().zip(others) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = rest.iter().zip(other_rest).map(|(a, b)| a * b).sum();
    sums.into_iter().sum::<f64>() + rest
}

/// `y += a x`
pub(super) fn add_scaled(y: &mut [f64], a: f64, x: &[f64]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::tests::{Random, moment};

    #[test]
    fn factors_give_the_moment_again() {
        let mut random = Random(1);
        for columns in [1, 2, 7, 40] {
            let h = moment(&mut random, columns, 100);
            let (u, d) = factor(&h, columns, 0.0);
            let u = |i: usize, j: usize| match i.cmp(&j) {
                std::cmp::Ordering::Less => u[i * columns + j],
                std::cmp::Ordering::Equal => 1.0,
                std::cmp::Ordering::Greater => 0.0,
            };
            for i in 0..columns {
                for j in 0..columns {
                    let product: f64 = (0..columns).map(|k| u(i, k) * d[k] * u(j, k)).sum();
                    assert!((product - h[i * columns + j]).abs() < 1e-9, "{i} {j}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_moment_gives_no_norm() {
        assert!(Norm::new(vec![0.0; 4], 2, 0.1).is_none());
        assert!(Norm::new(vec![1.0, f64::NAN, f64::NAN, 1.0], 2, 0.1).is_none());
        assert!(Norm::new(vec![f64::INFINITY, 0.0, 0.0, 1.0], 2, 0.1).is_none());
        // Fewer vectors than columns: singular.
        assert!(Norm::new(moment(&mut Random(2), 20, 3), 20, 0.0).is_some());
    }
}
