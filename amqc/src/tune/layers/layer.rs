//! A node that is trained through.

use std::sync::Arc;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::quant::BitCodes;
use crate::tensor::{Data, Tensor};
use crate::tune::dropout::Dropout;

/// Columns whose sums are one piece of work.
const COLUMNS: usize = 1 << 10;

/// What a layer is given: of each of the node's inputs its value, none where it is absent.
pub(in crate::tune) type Inputs<'a> = [Option<&'a Tensor>];

/// Gradients, of each input or output; none where none is known or wanted.
pub(in crate::tune) type Gradients = Vec<Option<Vec<f32>>>;

/// A node that is trained through, for inputs of one shape.
pub(in crate::tune) trait Layer: Send {
    /// The node's outputs. Products take weights and activations as they are coded.
    ///
    /// # Errors
    /// What the runtime refuses.
    fn forward(&mut self, inputs: &Inputs<'_>) -> Result<Vec<Option<Tensor>>>;

    /// What a product leaves out of calls from now on; nothing else is asked for that.
    fn drop_out(&mut self, _: Option<Dropout>) {}

    /// Inputs whose codes it multiplies by, where they have some.
    fn coded_inputs(&self) -> &'static [usize] {
        &[]
    }

    /// Takes the codes of one of these for the next call.
    fn take_codes(&mut self, _: usize, _: Option<Arc<BitCodes>>) {}

    /// Takes the memory of an earlier first output; nothing else is asked for that than what writes large ones.
    fn reuse(&mut self, _: Vec<f32>) {}

    /// The loss's gradients by inputs, where `wanted`, from those by the outputs of the last call, which had these
    /// `inputs` and `outputs`. What codes and rounding do is passed as if it were not there.
    ///
    /// # Errors
    /// What the runtime refuses.
    fn backward(
        &mut self,
        inputs: &Inputs<'_>,
        outputs: &Inputs<'_>,
        gradients: &[Option<Vec<f32>>],
        wanted: &[bool],
    ) -> Result<Gradients>;
}

/// Refuses vectors, of so many columns, that are not as long as the rows of the matrix that they are multiplied by.
///
/// # Errors
/// They are not.
pub(super) fn check_columns(inputs: &Inputs<'_>, columns: usize) -> Result<()> {
    let matrix = inputs.get(1).copied().flatten().and_then(|w| w.dims.last().copied());
    match matrix {
        Some(cols) if cols != columns => Err(Error::unsupported(format!(
            "vectors of {columns} elements, where weights are for {cols}"
        ))),
        _ => Ok(()),
    }
}

/// The floats of an input that must be there.
///
/// # Errors
/// It is not, or is of another type.
pub(super) fn floats<'a>(inputs: &Inputs<'a>, index: usize) -> Result<&'a [f32]> {
    optional(inputs, index).ok_or_else(|| Error::unsupported(format!("input {index} is no float")))
}

/// The floats of an input that may be absent.
pub(super) fn optional<'a>(inputs: &Inputs<'a>, index: usize) -> Option<&'a [f32]> {
    match inputs.get(index).copied().flatten().map(|tensor| &tensor.data) {
        Some(Data::F32(data)) => Some(data),
        _ => None,
    }
}

/// The gradient by the first output, which is the only one of floats that most operators have.
///
/// # Errors
/// It is not there.
pub(super) fn by_output(gradients: &[Option<Vec<f32>>]) -> Result<&[f32]> {
    let by_y = gradients.first().and_then(Option::as_deref);
    by_y.ok_or_else(|| Error::unsupported("a node without a gradient by its first output"))
}

/// Adds the rows of a matrix of so many columns to `sum`.
pub(super) fn add_rows(rows: &[f32], sum: &mut [f32]) {
    let columns = sum.len().max(1);
    sum.par_chunks_mut(COLUMNS).enumerate().for_each(|(piece, sum)| {
        let first = piece * COLUMNS;
        for row in rows.chunks_exact(columns) {
            let row = &row[first..first + sum.len()];
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
    });
}
