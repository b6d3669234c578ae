//! Products of float matrices, by all of rayon's threads.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, ShapeBuilder, s};
use rayon::prelude::*;

/// Products of fewer multiplications are one piece of work.
const SMALL: usize = 1 << 17;
/// The multiplications that are worth a piece of work, and the fewest rows or columns of one.
const PIECE: usize = 1 << 21;
const LEAST: usize = 48;
/// Pieces for each thread at most: each packs one of the two matrices as a whole, so few are better.
const TURNS: usize = 2;

/// Products with so many times as many terms as rows or columns are divided along the terms, into so many pieces: sums are the same
/// with any number of threads.
const DEEP: usize = 8;
const SUMS: usize = 16;

/// A matrix, as it is or turned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    turned: bool,
}

impl<'a> Matrix<'a> {
    /// `[rows][cols]`
    pub(super) fn new(data: &'a [f32], cols: usize) -> Matrix<'a> {
        Matrix { data, rows: data.len().checked_div(cols).unwrap_or(0), cols, turned: false }
    }

    /// The transposed matrix.
    pub(super) fn t(self) -> Matrix<'a> {
        Matrix { rows: self.cols, cols: self.rows, turned: !self.turned, ..self }
    }

    fn view(&self) -> ArrayView2<'a, f32> {
        let (rows, cols) = (self.rows, self.cols);
        let strides = if self.turned { (1, rows) } else { (cols, 1) };
        let view = ArrayView2::from_shape((rows, cols).strides(strides), self.data);
        view.expect("as many elements as rows and columns have")
    }
}

/// `out += a b`, of which `out` is `[a.rows][b.cols]`.
///
/// # Panics
/// If the sizes do not fit each other.
pub(super) fn add_product(a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32]) {
    multiply(a, b, 1.0, out);
}

/// `out = a b + keep out`, where `keep` is 0 or 1 and `out` is 0 if it is not kept.
fn multiply(a: Matrix<'_>, b: Matrix<'_>, keep: f32, out: &mut [f32]) {
    let (rows, cols) = (a.rows, b.cols);
    if out.is_empty() || a.cols == 0 {
        return;
    }
    let work = rows * cols * a.cols;
    if work < SMALL {
        return add_product_here(a, b, out);
    }
    let (a, b) = (a.view(), b.view());
    let out = ArrayViewMut2::from_shape((rows, cols), out);
    let mut out = out.expect("as many elements as rows and columns have");
    let inner = a.len_of(Axis(1));
    if inner > rows.max(cols) * DEEP {
        let size = inner.div_ceil(SUMS);
        let sums: Vec<Array2<f32>> = (0..inner.div_ceil(size))
            .into_par_iter()
            .map(|piece| {
                let terms = piece * size..inner.min((piece + 1) * size);
                a.slice(s![.., terms.clone()]).dot(&b.slice(s![terms, ..]))
            })
            .collect();
        sums.iter().for_each(|sum| out += sum);
        return;
    }
    let axis = if cols >= rows { Axis(1) } else { Axis(0) };
    let most = match rayon::current_num_threads() {
        1 => 1,
        threads => TURNS * threads,
    };
    let pieces = work.div_ceil(PIECE).min(most);
    let size = out.len_of(axis).div_ceil(pieces).next_multiple_of(16).max(LEAST);
    let pieces: Vec<_> = out.axis_chunks_iter_mut(axis, size).enumerate().collect();
    pieces.into_par_iter().for_each(|(piece, mut out)| {
        let from = piece * size;
        let end = from + out.len_of(axis);
        match axis {
            Axis(0) => general_mat_mul(1.0, &a.slice(s![from..end, ..]), &b, keep, &mut out),
            _ => general_mat_mul(1.0, &a, &b.slice(s![.., from..end]), keep, &mut out),
        }
    });
}

/// The same, by the thread that asks.
///
/// # Panics
/// As [`add_product`].
pub(super) fn add_product_here(a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32]) {
    let out = ArrayViewMut2::from_shape((a.rows, b.cols), out);
    let mut out = out.expect("as many elements as rows and columns have");
    general_mat_mul(1.0, &a.view(), &b.view(), 1.0, &mut out);
}

/// A matrix of so many columns, turned: products read its rows faster than its columns, which pays where there are many.
pub(super) fn turned(data: &[f32], cols: usize) -> Vec<f32> {
    /// Rows and columns that are read and written together.
    const BLOCK: usize = 16;
    let rows = data.len().checked_div(cols).unwrap_or(0);
    let mut out = vec![0.0; data.len()];
    for first in (0..rows).step_by(BLOCK) {
        for column in (0..cols).step_by(BLOCK) {
            for row in first..rows.min(first + BLOCK) {
                for column in column..cols.min(column + BLOCK) {
                    out[column * rows + row] = data[row * cols + column];
                }
            }
        }
    }
    out
}

/// `a b`
///
/// # Panics
/// As [`add_product`].
pub(super) fn product(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    let mut out = vec![0.0; a.rows * b.cols];
    multiply(a, b, 0.0, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, step: usize) -> Vec<f32> {
        (0..count).map(|i| (i * step % 31) as f32 / 8.0 - 2.0).collect()
    }

    /// Elements are eighths, so that all sums are exact.
    #[test]
    fn products_are_those_of_their_definition() {
        for (rows, inner, cols) in
            [(1, 1, 1), (3, 70, 5), (20, 64, 130), (130, 64, 20), (12, 2000, 9)]
        {
            let (a, b) = (numbers(rows * inner, 7), numbers(inner * cols, 11));
            let expected: Vec<f32> = (0..rows * cols)
                .map(|at| {
                    let (row, col) = (at / cols, at % cols);
                    (0..inner).map(|i| a[row * inner + i] * b[i * cols + col]).sum::<f32>() + 1.0
                })
                .collect();
            let (a_turned, b_turned) = (turned(&a, inner), turned(&b, cols));
            let straight = [Matrix::new(&a, inner), Matrix::new(&b, cols)];
            let twice = [Matrix::new(&a_turned, rows).t(), Matrix::new(&b_turned, inner).t()];
            for a in [straight[0], twice[0]] {
                for b in [straight[1], twice[1]] {
                    let mut out = vec![1.0; rows * cols];
                    add_product(a, b, &mut out);
                    assert_eq!(out, expected, "{rows} {inner} {cols}");
                }
            }
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let scaled = |count: usize, step: usize| -> Vec<f32> {
            numbers(count, step).iter().map(|x| x * 0.317).collect()
        };
        // Of more terms than are summed at once, and pieces that are cut along rows and along columns.
        let (a, b) = (scaled(300 * 600, 13), scaled(600 * 200, 17));
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let [a, b] = [(&a, 600), (&b, 200)].map(|(data, cols)| Matrix::new(data, cols));
            let deep = [Matrix::new(a.data, 18_000), Matrix::new(&a.data[..18_000], 1)];
            pool.install(|| {
                let mut sums = vec![0.3; 300 * 200];
                add_product(a, b, &mut sums);
                [product(a, b), sums, product(b.t(), a.t()), product(deep[0], deep[1])]
            })
        };
        let one = run(1);
        for threads in [2, 3, 7] {
            assert_eq!(run(threads), one, "{threads} threads");
        }
    }
}
