//! Operators that move elements and compute nothing: Reshape, Transpose, Expand, Slice, and Dims,
//! which gives sizes as data.

use alloc::boxed::Box;
use alloc::vec::Vec;

use amq_format::graph::{Dim, Dims, Expand, Reshape, Slice, Transpose};

use super::walk::{self, Walk};
use crate::call::{Call, Kernel, mismatch};
use crate::compute::{Computation, Compute, Shapes, keeps_nothing};
use crate::error::{Fault, fault};
use crate::shape::Shape;
use crate::view::{DataMut, with_same_type};

impl Compute for Reshape {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, _: &Shapes<'_>) -> Result<Computation, Fault> {
        // The plan makes it share its input's memory.
        Ok(Computation::View)
    }
}

impl Compute for Transpose {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let (x, y) = (shapes.input(0)?, shapes.output()?);
        // Nothing moves where only axes of size 1 change places.
        let moving = |axis: &&u32| x.dims[**axis as usize] != 1;
        if self.perm.iter().filter(moving).is_sorted() {
            return Ok(Computation::View);
        }
        let own = walk::strides(&x.dims);
        let strides: Vec<isize> = self.perm.iter().map(|&axis| own[axis as usize]).collect();
        Ok(Computation::Kernel(Box::new(Move(Walk::new(&y.dims, [&strides], [0])))))
    }
}

impl Compute for Expand {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let (x, y) = (shapes.input(0)?, shapes.output()?);
        if x.len() == y.len() {
            return Ok(Computation::View);
        }
        Ok(Computation::Kernel(expand_kernel(x, y)))
    }
}

/// Also what gives a state its first value.
pub(crate) fn expand_kernel(x: &Shape, y: &Shape) -> Box<dyn Kernel> {
    Box::new(Move(Walk::new(&y.dims, [&walk::broadcast_strides(&x.dims, &y.dims)], [0])))
}

impl Compute for Slice {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let (x, y) = (shapes.input(0)?, shapes.output()?);
        let sizes: Vec<Dim> = x.dims.iter().map(|&size| Dim::from(size as i64)).collect();
        let mut strides = walk::strides(&x.dims);
        let mut start = 0usize;
        // Where nothing is taken the first entry may not exist, and nothing is read.
        if y.len() > 0 {
            for (axis, range) in self.ranges(&sizes)? {
                let first = range.first.as_size().and_then(|first| usize::try_from(first).ok());
                let first =
                    first.ok_or_else(|| fault!("the bound {} is no number", range.first))?;
                start += first * strides[axis].unsigned_abs();
                let step = if y.dims[axis] > 1 { range.step as isize } else { 0 };
                strides[axis] *= step;
            }
        }
        Ok(Computation::Kernel(Box::new(Move(Walk::new(&y.dims, [&strides], [start])))))
    }
}

/// Copies what is walked.
struct Move(Walk<1>);

impl Kernel for Move {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let (x, y) = (call.inputs.data(0)?, call.outputs.data()?);
        with_same_type!(x, y, |x, y| walk::copy_part(&self.0, x, 0, y), else return Err(mismatch()));
        Ok(())
    }
}

impl Compute for Dims {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, _: &Shapes<'_>) -> Result<Computation, Fault> {
        let size = |dim: &Dim| dim.as_size().ok_or_else(|| fault!("{dim} has no size"));
        let sizes = self.dims.iter().map(size).collect::<Result<_, _>>()?;
        Ok(Computation::Kernel(Box::new(Sizes(sizes))))
    }
}

/// Gives sizes as data.
struct Sizes(Vec<i64>);

impl Kernel for Sizes {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        match call.outputs.data()? {
            DataMut::I64(y) => y.copy_from_slice(&self.0),
            _ => return Err(mismatch()),
        }
        Ok(())
    }
}
