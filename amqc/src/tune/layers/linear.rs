//! Products with a matrix.

use std::sync::Arc;

use amq_format::graph::Activations;
use amq_runtime::Isa;

use super::layer::{Gradients, Inputs, Layer, add_rows, check_columns, floats, optional};
use crate::error::Result;
use crate::quant::BitCodes;
use crate::tensor::{Data, Tensor};
use crate::tune::coded::Vectors;
use crate::tune::dropout::{Dropout, leave_out};
use crate::tune::product::{Matrix, affine, product};

/// `y = x W^T + bias` over the last axis of x.
pub(super) struct Linear {
    isa: Isa,
    activations: Activations,
    /// What entered the product in the place of x.
    coded: Vec<f32>,
    dropout: Option<Dropout>,
    codes: Option<Arc<BitCodes>>,
    /// Memory of an earlier result.
    room: Vec<f32>,
}

impl Linear {
    pub(super) fn new(isa: Isa, activations: Activations) -> Linear {
        let (coded, dropout, codes, room) = (Vec::new(), None, None, Vec::new());
        Linear { isa, activations, coded, dropout, codes, room }
    }
}

impl Layer for Linear {
    fn drop_out(&mut self, dropout: Option<Dropout>) {
        self.dropout = dropout;
    }

    fn coded_inputs(&self) -> &'static [usize] {
        if self.activations.codes().is_some() { &[1] } else { &[] }
    }

    fn take_codes(&mut self, _: usize, codes: Option<Arc<BitCodes>>) {
        self.codes = codes;
    }

    fn reuse(&mut self, room: Vec<f32>) {
        self.room = room;
    }

    fn forward(&mut self, inputs: &Inputs<'_>) -> Result<Vec<Option<Tensor>>> {
        let (x, w) = (floats(inputs, 0)?, floats(inputs, 1)?);
        let codes = self.codes.take();
        let mut dims = inputs[0].map(|x| x.dims.clone()).unwrap_or_default();
        let columns = dims.pop().unwrap_or(1);
        check_columns(inputs, columns)?;
        let rows = w.len().checked_div(columns).unwrap_or(0);
        dims.push(rows);
        self.coded.clear();
        self.coded.extend_from_slice(x);
        let mut vectors = Vectors::code(self.isa, self.activations, columns, &mut self.coded)?;
        if let Some(dropout) = self.dropout {
            leave_out(dropout, columns, &mut self.coded);
            if let Some(vectors) = &mut vectors {
                vectors.leave_out(&self.coded, dropout.scale());
            }
        }
        let mut room = std::mem::take(&mut self.room);
        let bias = optional(inputs, 2);
        let y = match (vectors, codes, bias) {
            (Some(vectors), Some(codes), _) => {
                room.resize(self.coded.len() / columns * rows, 0.0);
                vectors.multiply(&codes, 0..rows, bias, &mut room);
                room
            }
            (_, _, Some(bias)) => affine(&self.coded, w, columns, bias, room),
            _ => product(Matrix::new(&self.coded, columns), Matrix::new(w, columns).t()),
        };
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
            if let Some(dropout) = self.dropout {
                leave_out(dropout, columns, &mut by_x);
            }
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
