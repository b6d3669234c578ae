//! Tables whose rows are looked up.

use super::layer::{Gradients, Inputs, Layer, by_output, floats};
use crate::error::{Error, Result};
use crate::tensor::{Data, Tensor};

/// `y = W[index]`, of rows of a matrix.
#[derive(Default)]
pub(super) struct Table {
    /// The rows of the last call.
    rows: Vec<usize>,
}

impl Layer for Table {
    fn forward(&mut self, inputs: &Inputs<'_>) -> Result<Vec<Option<Tensor>>> {
        let w = floats(inputs, 0)?;
        let (Some(table), Some(index)) = (inputs[0], inputs.get(1).copied().flatten()) else {
            return Err(Error::unsupported("a table without its index"));
        };
        let (count, columns) = (table.dims[0], table.data.len().checked_div(table.dims[0]));
        let columns = columns.unwrap_or(0);
        let indices = index.data.integers().unwrap_or_default();
        self.rows.clear();
        for index in indices {
            let row = if index < 0 { index + count as i64 } else { index };
            let row = usize::try_from(row).ok().filter(|&row| row < count);
            let row = row.ok_or_else(|| {
                Error::bad_file(format!("row {index} of a table of {count} rows"))
            })?;
            self.rows.push(row);
        }
        let mut y = Vec::with_capacity(self.rows.len() * columns);
        for row in &self.rows {
            y.extend_from_slice(&w[row * columns..][..columns]);
        }
        let dims = index.dims.iter().chain(&table.dims[1..]).copied().collect();
        Ok(vec![Some(Tensor { dims, data: Data::F32(y) })])
    }

    fn backward(
        &mut self,
        inputs: &Inputs<'_>,
        _: &Inputs<'_>,
        gradients: &[Option<Vec<f32>>],
        wanted: &[bool],
    ) -> Result<Gradients> {
        let mut found = vec![None; inputs.len()];
        if !wanted[0] {
            return Ok(found);
        }
        let y = by_output(gradients)?;
        let w = floats(inputs, 0)?;
        let columns = y.len().checked_div(self.rows.len()).unwrap_or(0);
        let mut by_w = vec![0.0; w.len()];
        for (row, y) in self.rows.iter().zip(y.chunks_exact(columns.max(1))) {
            by_w[row * columns..][..columns].iter_mut().zip(y).for_each(|(w, y)| *w += y);
        }
        found[0] = Some(by_w);
        Ok(found)
    }
}
