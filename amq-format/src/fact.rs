//! What is known of values before they are computed.

use crate::dim::Dim;
use crate::fault::Fault;
use crate::known::{Elements, Sizes};
use crate::value::DataType;
use crate::{ensure, fault};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::{Debug, Display, Write};

/// What is known of a value before it is computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// Type of its elements.
    pub data_type: DataType,
    /// Its shape.
    pub dims: Vec<Dim>,
    /// Its elements, where they are integers or bool and follow from the inputs' shapes.
    pub value: Option<Arc<Elements>>,
}

impl Fact {
    /// A tensor of which no element is known.
    pub fn new(data_type: DataType, dims: Vec<Dim>) -> Fact {
        Fact { data_type, dims, value: None }
    }

    /// A tensor of floats.
    pub fn f32(dims: Vec<Dim>) -> Fact {
        Fact::new(DataType::F32, dims)
    }

    /// A tensor of integers or bool of which every element is known.
    pub fn known(data_type: DataType, value: Elements) -> Fact {
        let dims = value.dims.iter().map(|&size| Dim::from(size as i64)).collect();
        Fact { data_type, dims, value: Some(Arc::new(value)) }
    }

    /// This with the elements that `value` gives, where they are known and of its type.
    pub(crate) fn with_value(mut self, value: impl FnOnce() -> Option<Elements>) -> Fact {
        let fits = |value: &Elements| value.fit(self.data_type);
        self.value = value().filter(fits).map(Arc::new);
        self
    }

    /// The size of an axis that must be there.
    pub(crate) fn axis(&self, axis: usize) -> Result<&Dim, Fault> {
        let found = self.dims.len();
        self.dims.get(axis).ok_or_else(|| fault!("axis {axis} of {found} does not exist"))
    }

    /// The number of axes must be this.
    pub(crate) fn rank(&self, what: &str, rank: usize) -> Result<(), Fault> {
        let found = self.dims.len();
        ensure!(found == rank, "{what} has {found} axes, it must have {rank}");
        Ok(())
    }
}

/// A node's bodies, and the names of the sizes that it gives.
pub(crate) trait Bodies {
    /// Types and shapes of a body's inputs, as it declares them.
    fn inputs(&self, body: usize) -> Vec<Fact>;

    /// What a body gives, from what is known of its inputs.
    fn infer(&self, body: usize, inputs: &[Fact]) -> Result<Vec<Fact>, Fault>;

    /// The names of the sizes that the node gives.
    fn binds(&self) -> &[String];
}

/// What is known of a node's inputs.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// One for each input, none where it is absent.
    pub(crate) inputs: &'a [Option<&'a Fact>],
    /// Dimensions of tensors of the graph.
    pub(crate) sizes: &'a Sizes,
    /// What the node runs.
    pub(crate) bodies: &'a dyn Bodies,
}

impl Debug for Facts<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Facts").field("inputs", &self.inputs).finish_non_exhaustive()
    }
}

impl<'a> Facts<'a> {
    /// Number of inputs, absent ones too.
    pub(crate) fn len(&self) -> usize {
        self.inputs.len()
    }

    /// An input that must be there.
    pub(crate) fn get(&self, i: usize) -> Result<&'a Fact, Fault> {
        self.optional(i).ok_or_else(|| fault!("input {i} is missing"))
    }

    /// An input that may be absent.
    pub(crate) fn optional(&self, i: usize) -> Option<&'a Fact> {
        self.inputs.get(i).copied().flatten()
    }

    /// An input that must be there and hold floats.
    pub(crate) fn f32(&self, i: usize) -> Result<&'a Fact, Fault> {
        let fact = self.get(i)?;
        let found = fact.data_type.name();
        ensure!(fact.data_type == DataType::F32, "input {i} is {found}, it must be f32");
        Ok(fact)
    }

    /// The elements of an input, where they are known.
    pub(crate) fn value(&self, i: usize) -> Option<&'a Elements> {
        self.optional(i)?.value.as_deref()
    }

    /// Input 2, if it is there, must be a float for each of the rows of W.
    pub(crate) fn bias(&self, rows: &Dim) -> Result<(), Fault> {
        if self.optional(2).is_none() {
            return Ok(());
        }
        let bias = self.f32(2)?;
        bias.rank("bias", 1)?;
        same("the size of bias", &bias.dims[0], rows)
    }
}

/// Two sizes must be equal, as far as they are known.
pub(crate) fn same(what: &str, found: &Dim, expected: &Dim) -> Result<(), Fault> {
    let differ = matches!((found.as_size(), expected.as_size()), (Some(a), Some(b)) if a != b);
    ensure!(!differ, "{what} is {found}, it must be {expected}");
    Ok(())
}

/// The shape that two give when broadcast together.
pub(crate) fn broadcast(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>, Fault> {
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let lead = long.len() - short.len();
    let mut dims = long[..lead].to_vec();
    for (x, y) in long[lead..].iter().zip(short) {
        let dim = x.broadcast(y);
        dims.push(dim.map_err(|why| fault!("shapes {} and {}: {why}", list(a), list(b)))?);
    }
    Ok(dims)
}

/// A shape as errors show it.
pub fn list<T: Display>(dims: &[T]) -> String {
    let mut text = String::from("[");
    for (i, dim) in dims.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = write!(text, "{}{dim}", if i > 0 { ", " } else { "" });
    }
    text.push(']');
    text
}
