//! The norm in which an error of weights is the error of their products.

use std::ops::Range;

use rayon::prelude::*;

use super::panels::Panels;

/// Columns of a block at most.
pub(super) const BLOCK: usize = 64;
/// Rows and columns of the part of a matrix that one loop of the factorization computes.
const TALL: usize = 4;
const WIDE: usize = 4;

/// The error of a row `e` of weights as the mean square of `e x` over vectors `x`: `e^T H e`, `H`
/// being their second moment.
#[derive(Clone, Debug)]
pub(super) struct Norm {
    columns: usize,
    order: Vec<usize>,
    /// `H`, symmetric, its diagonal raised.
    h: Panels,
    /// `H = U D U^T`, `U` upper triangular; its diagonal, of ones, is left out.
    u: Panels,
    blocks: Vec<Block>,
}

/// In which order columns are settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// As they stand.
    Given,
    /// What weighs most goes first, and others make good for it.
    Heaviest,
}

/// Columns whose codes are settled before others hear of it.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) columns: Range<usize>,
    /// The part of `H` that belongs to them, `[column][column]`.
    pub(super) h: Vec<f32>,
    /// What an error in one does to a later one, `[column][later column]`.
    pub(super) later: Vec<f32>,
}

impl Norm {
    /// The norm of a second moment `[column][column]`, of which the mean of the diagonal, times
    /// `damping`, is added to each element of the diagonal: so much of the plain squared error goes
    /// with it. `None` for one that is zero or not finite.
    ///
    /// `H` is scaled to a diagonal whose mean is 1: single precision holds it.
    pub(super) fn new(h: &[f64], columns: usize, damping: f64, order_of: Order) -> Option<Norm> {
        let scale = Norm::scale(h, columns)?;
        let mut order: Vec<usize> = (0..columns).collect();
        let diagonal = |i: &usize| h[i * columns + i];
        if order_of == Order::Heaviest {
            order.sort_by(|a, b| diagonal(b).total_cmp(&diagonal(a)));
        }
        let raised = |i: usize, j: usize| {
            h[order[i] * columns + order[j]] * scale + if i == j { damping } else { 0.0 }
        };
        // From the last column backwards: an ordinary factorization of the reversed matrix.
        let turned = |i: usize| columns - 1 - i;
        let lower = factor(columns, &|i, j| raised(turned(i), turned(j)));
        let u = Panels::new(columns, columns, |i, j| match i < j {
            true => lower[turned(i) * columns + turned(j)] as f32,
            false => 0.0,
        });
        let h = Panels::new(columns, columns, |i, j| raised(i, j) as f32);
        let blocks = (0..columns).step_by(BLOCK).map(|start| {
            let columns = start..(start + BLOCK).min(columns);
            Block { h: square(&h, &columns), later: square(&u, &columns), columns }
        });
        let blocks = blocks.collect();
        Some(Norm { columns, order, h, u, blocks })
    }

    /// What scales a second moment; `None` if it is zero or not finite.
    pub(super) fn scale(h: &[f64], columns: usize) -> Option<f64> {
        let mean = (0..columns).map(|i| h[i * columns + i]).sum::<f64>() / columns as f64;
        let says = mean.is_finite() && mean > 0.0 && h.iter().all(|x| x.is_finite());
        says.then(|| 1.0 / mean)
    }

    /// The columns, in the order in which they are settled.
    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    /// All columns, block after block.
    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Adds `H e` to `out`, for each row `e`.
    pub(super) fn apply(&self, rows: &[f32], out: &mut [f32]) {
        self.h.add_product(rows, 0..self.columns, 0, out);
    }

    /// Adds `H e` to `out`, for rows `e` that are zero but in these columns, all that is given of them.
    pub(super) fn apply_columns(&self, columns: Range<usize>, rows: &[f32], out: &mut [f32]) {
        self.h.add_product(rows, columns, 0, out);
    }

    /// Adds what errors in `block` do to later columns.
    pub(super) fn feed_later(&self, block: &Block, errors: &[f32], out: &mut [f32]) {
        let first = block.columns.end;
        if first < self.columns {
            self.u.add_product(errors, block.columns.clone(), first, out);
        }
    }
}

fn square(matrix: &Panels, block: &Range<usize>) -> Vec<f32> {
    block.clone().flat_map(|i| block.clone().map(move |j| matrix.at(i, j))).collect()
}

/// `L` of `H = L D L^T`, in the lower triangle, its diagonal of ones left out; what lies above is of no
/// use. Pivots are positive: a singular `H` gives a factor of something near it.
pub(super) fn factor(n: usize, h: &dyn Fn(usize, usize) -> f64) -> Vec<f64> {
    let mut l: Vec<f64> = (0..n * n).map(|at| h(at / n, at % n)).collect();
    let least = 1e-9;
    for start in (0..n).step_by(BLOCK) {
        let end = (start + BLOCK).min(n);
        let wide = end - start;
        let (above, below) = l.split_at_mut(end * n);
        let mut pivots = [0.0; BLOCK];
        for j in start..end {
            let known = |i: usize, above: &[f64], pivots: &[f64]| -> f64 {
                (start..j).map(|p| above[i * n + p] * pivots[p - start] * above[j * n + p]).sum()
            };
            pivots[j - start] = (above[j * n + j] - known(j, above, &pivots)).max(least);
            for i in j + 1..end {
                above[i * n + j] =
                    (above[i * n + j] - known(i, above, &pivots)) / pivots[j - start];
            }
        }
        let above = &above[start * n..];
        below.par_chunks_mut(n).for_each(|row| {
            let row = &mut row[start..end];
            for j in 0..wide {
                let other = &above[j * n + start..][..j];
                let known: f64 =
                    row[..j].iter().zip(other).zip(&pivots).map(|((a, b), d)| a * d * b).sum();
                row[j] = (row[j] - known) / pivots[j];
            }
        });
        // [panel][pivot][row of the panel], padded with zeros.
        let panels = |width: usize, by: &[f64]| -> Vec<f64> {
            let mut panels = vec![0.0; (n - end).div_ceil(width) * width * wide];
            for (index, row) in below.chunks_exact(n).enumerate() {
                let panel = &mut panels[index / width * width * wide..];
                for (j, (x, by)) in row[start..end].iter().zip(by).enumerate() {
                    panel[j * width + index % width] = x * by;
                }
            }
            panels
        };
        let (tall, others) = (panels(TALL, &pivots), panels(WIDE, &[1.0; BLOCK]));
        let rows = below.par_chunks_mut(TALL * n).zip(tall.par_chunks(TALL * wide));
        rows.enumerate().for_each(|(index, (rows, tall))| {
            let lower = others.chunks_exact(WIDE * wide).take((index + 1) * TALL.div_ceil(WIDE));
            for (panel, other) in lower.enumerate() {
                let tile = products(tall, other);
                for (row, tile) in rows.chunks_exact_mut(n).zip(&tile) {
                    let row = &mut row[end + panel * WIDE..];
                    row.iter_mut().zip(tile).for_each(|(x, product)| *x -= product);
                }
            }
        });
    }
    l
}

/// Sums of products of each element of one panel with each of another.
fn products(tall: &[f64], wide: &[f64]) -> [[f64; WIDE]; TALL] {
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
    use crate::quant::tests::{Random, moment};

    #[test]
    fn factors_give_the_moment_again() {
        let mut random = Random(1);
        for columns in [1, 2, 7, 40, 64, 65, 150] {
            let h = moment(&mut random, columns, 300);
            let l = factor(columns, &|i, j| h[i * columns + j]);
            let l = |i: usize, j: usize| match i.cmp(&j) {
                std::cmp::Ordering::Greater => l[i * columns + j],
                std::cmp::Ordering::Equal => 1.0,
                std::cmp::Ordering::Less => 0.0,
            };
            // The pivots follow from the diagonal.
            let mut d = vec![0.0; columns];
            for i in 0..columns {
                let known: f64 = (0..i).map(|k| l(i, k) * d[k] * l(i, k)).sum();
                d[i] = h[i * columns + i] - known;
            }
            for i in 0..columns {
                for j in 0..=i {
                    let product: f64 = (0..=j).map(|k| l(i, k) * d[k] * l(j, k)).sum();
                    assert!((product - h[i * columns + j]).abs() < 1e-8, "{columns} {i} {j}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_moment_gives_no_norm() {
        assert!(Norm::new(&[0.0; 4], 2, 0.1, Order::Given).is_none());
        assert!(Norm::new(&[1.0, f64::NAN, f64::NAN, 1.0], 2, 0.1, Order::Given).is_none());
        assert!(Norm::new(&[f64::INFINITY, 0.0, 0.0, 1.0], 2, 0.1, Order::Given).is_none());
        // Fewer vectors than columns: singular.
        assert!(Norm::new(&moment(&mut Random(2), 20, 3), 20, 0.0, Order::Given).is_some());
    }
}
