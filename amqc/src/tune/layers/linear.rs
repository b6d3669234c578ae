//! Products with a matrix.

use amq_format::graph::Activations;
use amq_runtime::Isa;
use rayon::prelude::*;

use super::layer::{Gradients, Inputs, Layer, add_rows, code, floats, optional};
use crate::error::Result;
use crate::random::SplitMix64;
use crate::tensor::{Data, Tensor};
use crate::tune::product::{Matrix, add_product, product};
use crate::tune::tape::Dropout;

/// `y = x W^T + bias` over the last axis of x.
pub(super) struct Linear {
    isa: Isa,
    activations: Activations,
    /// What entered the product in the place of x.
    coded: Vec<f32>,
    dropout: Option<Dropout>,
}

impl Linear {
    pub(super) fn new(isa: Isa, activations: Activations) -> Linear {
        Linear { isa, activations, coded: Vec::new(), dropout: None }
    }
}

/// Leaves elements of vectors of so many columns out, always the same ones, and makes the others larger.
fn leave_out(dropout: Option<Dropout>, columns: usize, x: &mut [f32]) {
    let Some(Dropout { share, seed, .. }) = dropout else { return };
    let scale = 1.0 / (1.0 - share);
    x.par_chunks_mut(columns.max(1)).enumerate().for_each(|(vector, x)| {
        let mut random = SplitMix64(seed ^ SplitMix64(vector as u64).next());
        // Uniform in [-1, 1).
        x.iter_mut()
            .for_each(|x| *x *= if random.uniform() < 2.0 * share - 1.0 { 0.0 } else { scale });
    });
}

impl Layer for Linear {
    fn drop_out(&mut self, dropout: Option<Dropout>) {
        self.dropout = dropout;
    }

    fn forward(&mut self, inputs: &Inputs<'_>) -> Result<Vec<Option<Tensor>>> {
        let (x, w) = (floats(inputs, 0)?, floats(inputs, 1)?);
        let mut dims = inputs[0].map(|x| x.dims.clone()).unwrap_or_default();
        let columns = dims.pop().unwrap_or(1);
        let rows = w.len().checked_div(columns).unwrap_or(0);
        dims.push(rows);
        self.coded.clear();
        self.coded.extend_from_slice(x);
        code(self.isa, self.activations, columns, &mut self.coded)?;
        leave_out(self.dropout, columns, &mut self.coded);
        let mut y = vec![0.0; dims.iter().product()];
        if let Some(bias) = optional(inputs, 2) {
            y.par_chunks_exact_mut(rows.max(1)).for_each(|y| y.copy_from_slice(bias));
        }
        add_product(Matrix::new(&self.coded, columns), Matrix::new(w, columns).t(), &mut y);
        Ok(vec![Some(Tensor { dims, data: Data::F32(y) })])
    }

    fn backward(
        &mut self,
        inputs: &Inputs<'_>,
        _: &Inputs<'_>,
        gradients: &[Option<Vec<f32>>],
        wanted: &[bool],
    ) -> Result<Gradients> {
        let w = floats(inputs, 1)?;
        let columns = inputs[0].and_then(|x| x.dims.last().copied()).unwrap_or(1);
        let rows = w.len().checked_div(columns).unwrap_or(0);
        let mut found = vec![None; inputs.len()];
        let Some(y) = gradients.first().and_then(Option::as_ref) else { return Ok(found) };
        let by_y = Matrix::new(y, rows);
        if wanted[0] {
            let mut by_x = product(by_y, Matrix::new(w, columns));
            leave_out(self.dropout, columns, &mut by_x);
            found[0] = Some(by_x);
        }
        if wanted[1] {
            found[1] = Some(product(by_y.t(), Matrix::new(&self.coded, columns)));
        }
        if wanted.get(2) == Some(&true) {
            let mut sum = vec![0.0; rows];
            add_rows(y, &mut sum);
            found[2] = Some(sum);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_keeps_the_mean() {
        let dropout = |seed| Some(Dropout { node: 0, share: 0.25, seed });
        let left = |seed| {
            let mut x = vec![3.0; 40 * 250];
            leave_out(dropout(seed), 250, &mut x);
            x
        };
        let x = left(7);
        assert!(x.iter().all(|&x| x == 0.0 || x == 4.0));
        // 10,000 elements: three deviations are 0.013.
        let zeros = x.iter().filter(|&&x| x == 0.0).count() as f64 / x.len() as f64;
        assert!((zeros - 0.25).abs() < 0.013, "{zeros}");
        assert_eq!(x, left(7));
        assert_ne!(x, left(8));
        assert_ne!(x[..250], x[250..500]);
        let mut whole = vec![3.0; 10];
        leave_out(None, 5, &mut whole);
        assert_eq!(whole, [3.0; 10]);
    }
}
