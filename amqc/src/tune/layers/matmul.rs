//! Products of two values.

use rayon::prelude::*;

use super::elementwise::places;
use super::layer::{Gradients, Inputs, Layer, by_output, floats};
use crate::error::{Error, Result};
use crate::tensor::{Data, Tensor};
use crate::tune::product::{Matrix, add_product, product};

/// `y = a b` of matrices `[m][n]` and `[n][p]`, whose leading axes are broadcast.
pub(super) struct MatMul;

struct Sizes {
    m: usize,
    n: usize,
    p: usize,
    /// The shape of y.
    dims: Vec<usize>,
    /// Of each product, which matrix of a and which of b it is of.
    pairs: Vec<(usize, usize)>,
}

impl Sizes {
    /// A vector is a row on the left and a column on the right, and its axis is none of y's.
    fn new(inputs: &Inputs<'_>) -> Result<Sizes> {
        let dims = |index: usize| inputs[index].map_or(&[][..], |tensor| &tensor.dims);
        let (&[ref a @ .., n], b) = (dims(0), dims(1)) else {
            return Err(Error::unsupported("a product of a number"));
        };
        let (p, b) = match b {
            [b @ .., _, p] => (Some(*p), b),
            _ => (None, &[][..]),
        };
        let (m, a) = match a {
            [a @ .., m] => (Some(*m), a),
            _ => (None, a),
        };
        let size = |axis: usize| {
            let of = |dims: &[usize]| {
                (axis + dims.len()).checked_sub(a.len().max(b.len())).map_or(1, |axis| dims[axis])
            };
            match of(a) {
                1 => of(b),
                size => size,
            }
        };
        let lead: Vec<usize> = (0..a.len().max(b.len())).map(size).collect();
        let pairs = places(&lead, a).into_iter().zip(places(&lead, b)).collect();
        let dims = lead.into_iter().chain(m).chain(p).collect();
        Ok(Sizes { m: m.unwrap_or(1), n, p: p.unwrap_or(1), dims, pairs })
    }

    fn a<'a>(&self, a: &'a [f32], at: usize) -> Matrix<'a> {
        let size = self.m * self.n;
        Matrix::new(&a[at * size..][..size], self.n)
    }

    fn b<'a>(&self, b: &'a [f32], at: usize) -> Matrix<'a> {
        let size = self.n * self.p;
        Matrix::new(&b[at * size..][..size], self.p)
    }
}

impl Layer for MatMul {
    fn forward(&mut self, inputs: &Inputs<'_>) -> Result<Vec<Option<Tensor>>> {
        let (a, b) = (floats(inputs, 0)?, floats(inputs, 1)?);
        let sizes = Sizes::new(inputs)?;
        let mut y = vec![0.0; sizes.dims.iter().product()];
        let products = y.par_chunks_mut((sizes.m * sizes.p).max(1)).zip(&sizes.pairs);
        products.for_each(|(y, &(i, j))| add_product(sizes.a(a, i), sizes.b(b, j), y));
        Ok(vec![Some(Tensor { dims: sizes.dims, data: Data::F32(y) })])
    }

    fn backward(
        &mut self,
        inputs: &Inputs<'_>,
        _: &Inputs<'_>,
        gradients: &[Option<Vec<f32>>],
        wanted: &[bool],
    ) -> Result<Gradients> {
        let by_y = by_output(gradients)?;
        let (a, b) = (floats(inputs, 0)?, floats(inputs, 1)?);
        let sizes = Sizes::new(inputs)?;
        let products = || by_y.par_chunks((sizes.m * sizes.p).max(1)).zip(&sizes.pairs);
        let mut found = vec![None; 2];
        if wanted[0] {
            let each = |(y, &(i, j)): (&[f32], &(usize, usize))| {
                (i, product(Matrix::new(y, sizes.p), sizes.b(b, j).t()))
            };
            found[0] = Some(sums(products().map(each).collect(), a.len()));
        }
        if wanted[1] {
            let each = |(y, &(i, j)): (&[f32], &(usize, usize))| {
                (j, product(sizes.a(a, i).t(), Matrix::new(y, sizes.p)))
            };
            found[1] = Some(sums(products().map(each).collect(), b.len()));
        }
        Ok(found)
    }
}

/// Adds matrices of one size to those that have their numbers.
fn sums(matrices: Vec<(usize, Vec<f32>)>, count: usize) -> Vec<f32> {
    let mut all = vec![0.0; count];
    for (at, matrix) in matrices {
        let sum = all[at * matrix.len()..].iter_mut();
        sum.zip(matrix).for_each(|(sum, x)| *sum += x);
    }
    all
}
