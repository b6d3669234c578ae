//! Operators: of each family its shape rule and its kernels, side by side.
//!
//! A rule works on sizes with names; the same rule runs on numbers when a call is planned. A kernel
//! is made for one node and one set of shapes, holds all that follows from them, and runs without
//! allocating.
//!
//! Sums have one order, whatever the instruction set and the number of rows: it is part of what a
//! file means.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use amq_format::graph::{DataType, Dim, DimError, Node, Op, ValueId};

use crate::error::{Fault, fault};
use crate::infer::{Fact, Facts};
use crate::kernels::Target;
use crate::matrix::Scratch;
use crate::plan::{Place, Values};
use crate::view::{Data, DataMut};

mod binary;
mod cast;
mod concat;
mod conv;
mod gather;
mod linear;
mod matmul;
mod pad;
mod pool;
mod reduce;
mod select;
mod shape;
mod softmax;
mod unary;
mod walk;
mod window;

#[cfg(test)]
mod testing;

/// A type and a shape in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) data_type: DataType,
    pub(crate) dims: Vec<usize>,
}

impl Shape {
    /// The shape of a fact without names, if it can be addressed.
    pub(crate) fn new(fact: &Fact) -> Result<Shape, Fault> {
        let mut dims = Vec::with_capacity(fact.dims.len());
        let mut bytes = fact.data_type.size();
        for dim in &fact.dims {
            let size = dim.as_size().and_then(|size| usize::try_from(size).ok());
            let size = size.ok_or_else(|| fault!("{dim} is no size"))?;
            // Axes of size 0 leave the others' sizes to be multiplied all the same.
            bytes = bytes
                .checked_mul(size.max(1))
                .filter(|&bytes| isize::try_from(bytes).is_ok())
                .ok_or_else(|| fault!("{} is too large", crate::infer::list(&fact.dims)))?;
            dims.push(size);
        }
        Ok(Shape { data_type: fact.data_type, dims })
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.dims.iter().product()
    }
}

/// A node's computation for one set of shapes.
pub(crate) trait Kernel: Send + Sync {
    /// Grows the scratch memory to what `run` needs.
    fn reserve(&self, _scratch: &mut Scratch) {}

    /// Computes the outputs. Slices have the lengths of the shapes that the kernel was made for.
    fn run(
        &self,
        inputs: &Operands<'_>,
        outputs: &mut Results<'_>,
        context: &mut Context<'_>,
    ) -> Result<(), Fault>;
}

/// What a kernel works with besides its operands.
pub(crate) struct Context<'a> {
    pub(crate) target: Target,
    pub(crate) scratch: &'a mut Scratch,
}

/// Inputs of a node while it runs.
pub(crate) struct Operands<'a> {
    pub(crate) ids: &'a [ValueId],
    pub(crate) values: Values<'a>,
}

impl<'a> Operands<'a> {
    /// An input that may be absent.
    pub(crate) fn optional(&self, i: usize) -> Option<Data<'a>> {
        self.values.get(*self.ids.get(i)?)
    }

    /// An input.
    pub(crate) fn data(&self, i: usize) -> Result<Data<'a>, Fault> {
        self.optional(i).ok_or_else(|| fault!("input {i} is missing"))
    }

    /// An input of floats.
    pub(crate) fn f32(&self, i: usize) -> Result<&'a [f32], Fault> {
        match self.data(i)? {
            Data::F32(x) => Ok(x),
            _ => Err(mismatch()),
        }
    }
}

/// Most outputs an operator has.
pub(crate) const MAX_OUTPUTS: usize = 3;

/// Outputs of a node while it runs.
pub(crate) struct Results<'a>(pub(crate) [Option<DataMut<'a>>; MAX_OUTPUTS]);

impl<'a> Results<'a> {
    /// The first output.
    pub(crate) fn data(&mut self) -> Result<&mut DataMut<'a>, Fault> {
        self.0[0].as_mut().ok_or_else(|| fault!("its output is absent"))
    }

    /// The first output, of floats.
    pub(crate) fn f32(&mut self) -> Result<&mut [f32], Fault> {
        match self.data()? {
            DataMut::F32(y) => Ok(y),
            _ => Err(mismatch()),
        }
    }
}

/// The fault of a kernel whose operands are not of the types that its rule allowed.
pub(crate) fn mismatch() -> Fault {
    fault!("its operands are not of the types it was planned for")
}
