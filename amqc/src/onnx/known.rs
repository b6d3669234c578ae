//! What readers ask of values: shapes that fit, and constants.

use amq_format::graph::Dim;

use super::attrs::Reader;
use super::builder::Value;
use crate::error::{Error, Result};
use crate::tensor::Data;

impl Reader<'_, '_> {
    /// Makes sure that `result` still has the shape of `x`, which it was made of by broadcasting
    /// what `other` names.
    pub(super) fn keeps_shape(&self, other: &str, x: Value, result: Value) -> Result<()> {
        let (before, after) = (self.dims(x), self.dims(result));
        let shape = |dims: &[Dim]| dims.iter().map(Dim::to_string).collect::<Vec<_>>().join(", ");
        if before == after {
            return Ok(());
        }
        let fits = |(a, b): (&Dim, &Dim)| a == b || a.as_size().zip(b.as_size()).is_none();
        if before.len() == after.len() && before.iter().zip(&after).all(fits) {
            return Err(Error::unsupported(format!(
                "whether {other} fits the shape [{}] depends on its dimensions",
                shape(&before)
            ))
            .remedy("export the model with numbers for them"));
        }
        Err(Error::bad_file(format!(
            "{other} has a larger shape than [{}], which it is to fit",
            shape(&before)
        )))
    }

    /// The only element of a constant, as f32, if `value` is such.
    pub(super) fn constant_scalar(&self, value: Value) -> Option<f32> {
        match &self.builder.constant_of(value)?.data {
            Data::F32(data) if data.len() == 1 => data.first().copied(),
            _ => None,
        }
    }

    /// Whether two values are the same, or equal constants.
    pub(super) fn same(&self, a: Value, b: Value) -> bool {
        a == b
            || self.builder.constant_of(a).is_some_and(|x| self.builder.constant_of(b) == Some(x))
    }

    /// The only element of a constant, be it an integer or a float.
    pub(super) fn constant_number(&self, value: Value) -> Option<f32> {
        let data = &self.builder.constant_of(value)?.data;
        match data.integers() {
            Some(integers) if integers.len() == 1 => {
                integers.first().map(|&integer| integer as f32)
            }
            Some(_) => None,
            None => self.constant_scalar(value),
        }
    }

    /// Whether a value is a constant of zeros.
    pub(super) fn is_zero(&self, value: Value) -> bool {
        self.builder.constant_of(value).is_some_and(|constant| match &constant.data {
            Data::F32(data) => data.iter().all(|&x| x == 0.0),
            data => data.integers().is_some_and(|data| data.iter().all(|&x| x == 0)),
        })
    }
}
