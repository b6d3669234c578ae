//! Functions of one element.

use alloc::boxed::Box;

use amq_format::graph::Unary;

use crate::call::{Call, Kernel, mismatch};
use crate::compute::{Compute, Shapes, keeps_nothing};
use crate::error::Fault;
use crate::kernels::math;
use crate::view::{Data, DataMut};

impl Compute for Unary {
    keeps_nothing!();

    fn kernel(&self, _: &Self::Kept, _: &Shapes<'_>) -> Result<Option<Box<dyn Kernel>>, Fault> {
        Ok(Some(Box::new(Each(*self))))
    }
}

struct Each(Unary);

impl Kernel for Each {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        match (call.inputs.data(0)?, call.outputs.data()?) {
            (Data::F32(x), DataMut::F32(y)) => math::unary(call.target, &self.0, x, y),
            (Data::Bool(x), DataMut::Bool(y)) => {
                y.iter_mut().zip(x).for_each(|(y, &x)| *y = u8::from(x == 0));
            }
            _ => return Err(mismatch()),
        }
        Ok(())
    }
}
