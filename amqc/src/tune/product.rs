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

/// `out = a b + keep out`, where `keep` is 0 or 1.
fn multiply(a: Matrix<'_>, b: Matrix<'_>, keep: f32, out: &mut [f32]) {
    let (rows, cols) = (a.rows, b.cols);
    if out.is_empty() || a.cols == 0 {
        // Sums of nothing.
        if keep == 0.0 {
            out.fill(0.0);
        }
        return;
    }
    let work = rows * cols * a.cols;
    if work < SMALL {
        return multiply_here(a, b, keep, out);
    }
    // Columns of a matrix that lie along the terms are packed element by element, which takes longer than to turn them.
    let other;
    let b = if b.turned && work >= PIECE {
        other = turned(b.data, b.rows);
        Matrix::new(&other, cols)
    } else {
        b
    };
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
        let lines: Vec<_> = out.axis_iter_mut(Axis(0)).enumerate().collect();
        lines.into_par_iter().with_min_len(SMALL.div_ceil(cols * SUMS)).for_each(
            |(row, mut out)| {
                if keep == 0.0 {
                    out.fill(0.0);
                }
                sums.iter().for_each(|sum| out += &sum.row(row));
            },
        );
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
    multiply_here(a, b, 1.0, out);
}

fn multiply_here(a: Matrix<'_>, b: Matrix<'_>, keep: f32, out: &mut [f32]) {
    let out = ArrayViewMut2::from_shape((a.rows, b.cols), out);
    let mut out = out.expect("as many elements as rows and columns have");
    general_mat_mul(1.0, &a.view(), &b.view(), keep, &mut out);
}

/// A matrix of so many columns, turned.
pub(super) fn turned(data: &[f32], cols: usize) -> Vec<f32> {
    let mut out = vec![0.0; data.len()];
    turn(data, cols, &mut out);
    out
}

/// Writes a matrix of so many columns turned.
fn turn(data: &[f32], cols: usize, out: &mut [f32]) {
    /// Rows and columns of a tile, which is turned in registers, and elements that are worth a piece of work.
    const TILE: usize = 16;
    const ELEMENTS: usize = 1 << 15;
    let rows = data.len().checked_div(cols).unwrap_or(0);
    let size = (TILE * rows).max(1);
    let pieces = out.par_chunks_mut(size).enumerate().with_min_len(ELEMENTS.div_ceil(size));
    pieces.for_each(|(piece, out)| {
        let data = &data[piece * TILE..];
        let whole = if out.len() == size { rows - rows % TILE } else { 0 };
        for row in (0..whole).step_by(TILE) {
            let mut tile = [[0.0; TILE]; TILE];
            for at in 0..TILE {
                let Some(line) = data[(row + at) * cols..].first_chunk::<TILE>() else { break };
                tile.iter_mut().zip(line).for_each(|(to, x)| to[at] = *x);
            }
            for (line, to) in tile.iter().zip(out.chunks_mut(rows)) {
                to[row..row + TILE].copy_from_slice(line);
            }
        }
        for row in whole..rows {
            for (to, x) in out[row..].iter_mut().step_by(rows).zip(&data[row * cols..]) {
                *to = *x;
            }
        }
    });
}

/// `x w^T + bias` in each row, of matrices of so many columns, in the memory of `room`.
///
/// # Panics
/// If there are not as many biases as rows of `w`.
pub(super) fn affine(
    x: &[f32],
    w: &[f32],
    cols: usize,
    bias: &[f32],
    mut room: Vec<f32>,
) -> Vec<f32> {
    let [rows, classes] = [x, w].map(|data| data.len().checked_div(cols).unwrap_or(0));
    room.resize(rows * classes, 0.0);
    if room.is_empty() {
        return room;
    }
    assert_eq!(bias.len(), classes, "a bias for each row");
    if rows * w.len() < PIECE {
        room.chunks_mut(classes.max(1)).for_each(|row| row.copy_from_slice(bias));
        add_product(Matrix::new(x, cols), Matrix::new(w, cols).t(), &mut room);
        return room;
    }
    // The bias is one more term, so that the result is not passed over for its sake.
    let ones = x.chunks(cols).flat_map(|row| row.iter().chain(&[1.0]));
    let x: Vec<f32> = ones.copied().collect();
    let mut turned = vec![0.0; w.len() + classes];
    let (turned_w, last) = turned.split_at_mut(w.len());
    turn(w, cols, turned_w);
    last.copy_from_slice(bias);
    multiply(Matrix::new(&x, cols + 1), Matrix::new(&turned, classes), 0.0, &mut room);
    room
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
        for (rows, inner, cols) in [
            (1, 1, 1),
            (3, 70, 5),
            (20, 64, 130),
            (130, 64, 20),
            (12, 2000, 9),
            (131, 150, 133),
            (16, 9000, 17),
        ] {
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
            let room = vec![9.0; rows * cols + 3];
            let found = affine(&a, &b_turned, inner, &vec![1.0; cols], room);
            assert_eq!(found, expected, "{rows} {inner} {cols}");
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let scaled = |count: usize, step: usize| -> Vec<f32> {
            numbers(count, step).iter().map(|x| x * 0.317).collect()
        };
        // Of more terms than are summed at once, and pieces that are cut along rows and along columns.
        let (a, b) = (scaled(300 * 600, 13), scaled(700 * 200, 17));
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let deep = [Matrix::new(&a, 18_000), Matrix::new(&a[..18_000], 1)];
            let wide = [Matrix::new(&a[..128 * 1040], 1040), Matrix::new(&b[..1040 * 128], 128)];
            let [a, b] = [Matrix::new(&a, 600), Matrix::new(&b[..600 * 200], 200)];
            pool.install(|| {
                let mut sums = vec![0.3; 300 * 200];
                add_product(a, b, &mut sums);
                let [deep, wide] = [deep, wide].map(|[a, b]| product(a, b));
                [product(a, b), sums, product(b.t(), a.t()), deep, wide]
            })
        };
        let one = run(1);
        for threads in [2, 3, 7] {
            assert_eq!(run(threads), one, "{threads} threads");
        }
    }
}
