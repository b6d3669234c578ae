//! Functions of one element.

use alloc::boxed::Box;

use amq_format::graph::Unary;

use crate::call::mismatch;
use crate::compute::{Computation, Compute, Elementwise, Shapes, keeps_nothing};
use crate::error::Fault;
use crate::kernels::{Target, math};
use crate::view::{Data, DataMut};

impl Compute for Unary {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, _: &Shapes<'_>) -> Result<Computation, Fault> {
        Ok(Computation::Elementwise(Box::new(Each(*self))))
    }
}

struct Each(Unary);

impl Elementwise for Each {
    fn apply(&self, target: Target, [x, ..]: &[Data<'_>; 3], y: DataMut<'_>) -> Result<(), Fault> {
        match (*x, y) {
            (Data::F32(x), DataMut::F32(y)) => math::unary(target, &self.0, x, y),
            (Data::Bool(x), DataMut::Bool(y)) => {
                y.iter_mut().zip(x).for_each(|(y, &x)| *y = u8::from(x == 0));
            }
            _ => return Err(mismatch()),
        }
        Ok(())
    }
}
