//! Arrays as inputs of a model.

use std::ops::Range;
use std::path::Path;

use amq_format::graph::Port;

use crate::data::{self, Array};
use crate::error::{Error, ErrorKind, Result};
use crate::loaded::{Loaded, port_text};
use crate::names::shown;
use crate::tensor::Tensor;

/// The arrays of an `.npz` file, each for an input of the model.
///
/// # Errors
/// What of the file cannot be read, and a name that no input has.
pub fn read_inputs(loaded: &Loaded, path: &Path) -> Result<Vec<(String, Array)>> {
    let wrong = |error: Error| error.within(path.display()).of_kind(ErrorKind::BadFile);
    data::read_npz(path, |name| loaded.input(name).map(|_| ()).map_err(wrong))
}

/// A sentence for each array whose numbers a model takes only rounded.
pub fn roundings(arrays: &[(String, Array)]) -> Vec<String> {
    let rounded = arrays.iter().filter(|(_, array)| array.is_finer_than_f32());
    let told = |(name, _): &(String, Array)| {
        format!("{}: float64 values are rounded to float32, the type that models take", shown(name))
    };
    rounded.map(told).collect()
}

/// Arrays as the inputs they are for. Every input that is no state must be there.
///
/// # Errors
/// An input that is unknown, given twice or not given, and values that its type does not hold.
pub fn bind(loaded: &Loaded, arrays: Vec<(String, Array)>) -> Result<Vec<(String, Tensor)>> {
    let mut bound: Vec<(String, Tensor)> = Vec::new();
    for (name, array) in arrays {
        let port = loaded.input(&name)?;
        if bound.iter().any(|(other, _)| *other == name) {
            return Err(Error::usage(format!("the input {name:?} is given twice")));
        }
        let tensor = array.into_tensor(&name, port.data_type())?;
        let tensor = data::rounded(tensor, &name, port.precision())?;
        bound.push((name, tensor));
    }
    let given = |port: &&Port| bound.iter().any(|(name, _)| name == loaded.name(port.value));
    if let Some(missing) = loaded.inputs().find(|port| !given(port)) {
        let name = loaded.name(missing.value);
        return Err(Error::usage(format!("the input {name:?} is not given"))
            .within(loaded.path.display())
            .remedy(format!("it takes {}", port_text(loaded.graph(), missing))));
    }
    Ok(bound)
}

/// Inputs of many items, which stand along axis 0, cut into batches.
#[derive(Debug)]
pub struct Batches<'a> {
    inputs: &'a [(String, Tensor)],
    items: usize,
    /// Of a batch; what is not fixed may be fewer in the last one.
    size: usize,
    fixed: bool,
}

/// Items that run together.
#[derive(Debug)]
pub struct Batch {
    /// Which they are.
    pub items: Range<usize>,
    /// How many the inputs hold: where the model fixes that, the last item again and again.
    pub length: usize,
    /// The inputs.
    pub inputs: Vec<(String, Tensor)>,
}

/// Items to run at once, where the model does not say: enough to keep it busy.
const ITEMS: usize = 64;

impl<'a> Batches<'a> {
    /// Cuts `inputs` of so many items as the model takes them.
    ///
    /// # Errors
    /// Inputs without an axis, and a model whose inputs take different numbers of items.
    pub fn new(
        loaded: &Loaded,
        inputs: &'a [(String, Tensor)],
        items: usize,
    ) -> Result<Batches<'a>> {
        let mut fixed = None;
        for port in loaded.inputs() {
            let name = loaded.name(port.value);
            let size = match port.dims.first().map(|dim| dim.as_size()) {
                Some(size) => size,
                None => return Err(Error::unsupported(format!("the input {name:?} has no axis"))),
            };
            let Some(size) = size else { continue };
            let size = usize::try_from(size).ok().filter(|&size| size > 0);
            if size.is_none() || fixed.is_some_and(|other| Some(other) != size) {
                return Err(Error::unsupported("the inputs take different numbers of items")
                    .within(loaded.path.display()));
            }
            fixed = size;
        }
        let (size, fixed) = (fixed.unwrap_or(ITEMS), fixed.is_some());
        Ok(Batches { inputs, items, size, fixed })
    }

    /// The batches, in order.
    pub fn iter(&self) -> impl Iterator<Item = Batch> {
        (0..self.items).step_by(self.size).map(|start| {
            let items = start..self.items.min(start + self.size);
            let length = if self.fixed { self.size } else { items.len() };
            let of =
                |(name, tensor): &(String, Tensor)| (name.clone(), rows(tensor, start, length));
            Batch { items, length, inputs: self.inputs.iter().map(of).collect() }
        })
    }
}

/// Items `start..start + length` of a tensor; beyond its end, the last one again.
fn rows(tensor: &Tensor, start: usize, length: usize) -> Tensor {
    let Some(&count) = tensor.dims.first() else { return tensor.clone() };
    let last = count.saturating_sub(1);
    let places: Vec<usize> = (start..start + length).map(|item| item.min(last)).collect();
    tensor.select(0, &places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Data;

    #[test]
    fn a_short_batch_is_filled_with_its_last_item() {
        let tensor = Tensor { dims: vec![3, 2], data: Data::I64(vec![1, 2, 3, 4, 5, 6]) };
        let rows = rows(&tensor, 2, 2);
        assert_eq!(rows, Tensor { dims: vec![2, 2], data: Data::I64(vec![5, 6, 5, 6]) });
    }
}
