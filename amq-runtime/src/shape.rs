//! Types and shapes in numbers.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use amq_format::graph::{DataType, Dim};

use crate::error::{Fault, ensure, fault};
use crate::infer::{Fact, MAX_RANK, list};

/// The sizes that names of dimensions stand for, each with the input or node that says so.
pub(crate) type Sizes = BTreeMap<String, (i64, String)>;

/// A type and a shape in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) data_type: DataType,
    pub(crate) dims: Vec<usize>,
}

impl Shape {
    /// The shape of a fact without names, if it can be addressed.
    pub(crate) fn new(fact: &Fact) -> Result<Shape, Fault> {
        let rank = fact.dims.len();
        ensure!(rank <= MAX_RANK, "it has {rank} axes, {MAX_RANK} are possible");
        let mut dims = Vec::with_capacity(rank);
        let mut bytes = fact.data_type.size();
        for dim in &fact.dims {
            let size = dim.as_size().and_then(|size| usize::try_from(size).ok());
            let size = size.ok_or_else(|| fault!("{dim} is no size"))?;
            // Axes of size 0 leave the others' sizes to be multiplied all the same.
            bytes = bytes
                .checked_mul(size.max(1))
                .filter(|&bytes| isize::try_from(bytes).is_ok())
                .ok_or_else(|| fault!("{} is too large", list(&fact.dims)))?;
            dims.push(size);
        }
        Ok(Shape { data_type: fact.data_type, dims })
    }

    /// The fact that it is.
    pub(crate) fn fact(&self) -> Fact {
        let dims = self.dims.iter().map(|&size| Dim::from(size as i64)).collect();
        Fact::new(self.data_type, dims)
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.dims.iter().product()
    }
}
