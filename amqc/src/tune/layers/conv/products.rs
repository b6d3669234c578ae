//! The products of a convolution, of one matrix of windows.

use crate::tune::product::{Matrix, add_product, add_product_here};

/// How the products of a group are made. W is `[row][window]`, windows are `[window][place]`, and y is `[row][place]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Products {
    /// Elements of a window.
    pub(super) window: usize,
    /// Rows of W, one where channels are convolved each by itself.
    pub(super) rows: usize,
    /// Whether other threads have matrices of their own.
    pub(super) alone: bool,
}

impl Products {
    fn add(&self, a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32]) {
        match self.alone {
            true => add_product_here(a, b, out),
            false => add_product(a, b, out),
        }
    }

    /// y of windows.
    pub(super) fn results(&self, w: &[f32], columns: &[f32]) -> Vec<f32> {
        let places = columns.len() / self.window;
        let mut y = vec![0.0; self.rows * places];
        if self.rows == 1 {
            for (w, columns) in w.iter().zip(columns.chunks_exact(places)) {
                y.iter_mut().zip(columns).for_each(|(y, x)| *y += w * x);
            }
        } else {
            self.add(Matrix::new(w, self.window), Matrix::new(columns, places), &mut y);
        }
        y
    }

    /// Adds to the gradient by W.
    pub(super) fn add_by_weights(&self, by_y: &[f32], columns: &[f32], by_w: &mut [f32]) {
        let places = columns.len() / self.window;
        if self.rows == 1 {
            for (w, columns) in by_w.iter_mut().zip(columns.chunks_exact(places)) {
                *w += dot(by_y, columns);
            }
        } else {
            self.add(Matrix::new(by_y, places), Matrix::new(columns, places).t(), by_w);
        }
    }

    /// The gradient by windows.
    pub(super) fn by_columns(&self, w: &[f32], by_y: &[f32]) -> Vec<f32> {
        if self.rows == 1 {
            let mut columns = Vec::with_capacity(w.len() * by_y.len());
            w.iter().for_each(|w| columns.extend(by_y.iter().map(|y| w * y)));
            return columns;
        }
        let places = by_y.len() / self.rows;
        let mut columns = vec![0.0; self.window * places];
        self.add(Matrix::new(w, self.window).t(), Matrix::new(by_y, places), &mut columns);
        columns
    }
}

/// The sum of products, sixteen at a time.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<16>();
    let (b, b_rest) = b.as_chunks::<16>();
    let mut sums = [0.0; 16];
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}
