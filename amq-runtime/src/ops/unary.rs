//! Functions of one element.

use alloc::boxed::Box;

use amq_format::graph::{DataType, Unary, UnaryFunction};

use crate::call::{Call, Kernel, mismatch};
use crate::error::{Fault, ensure};
use crate::infer::{Fact, Facts};
use crate::kernels::math;
use crate::view::{Data, DataMut};

pub(super) fn rule(op: &Unary, inputs: &Facts<'_>) -> Result<Fact, Fault> {
    inputs.count(1, 1)?;
    let x = inputs.get(0)?;
    let expected = match op.function() {
        UnaryFunction::Not => DataType::Bool,
        _ => DataType::F32,
    };
    let (found, wanted) = (x.data_type.name(), expected.name());
    ensure!(x.data_type == expected, "{:?} takes {wanted}, its input is {found}", op.function());
    Ok(x.clone())
}

pub(super) fn kernel(op: &Unary) -> Box<dyn Kernel> {
    Box::new(Each(*op))
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
