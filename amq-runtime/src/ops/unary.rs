//! Functions of one element.

use alloc::boxed::Box;

use amq_format::graph::{DataType, Unary, UnaryFunction};

use crate::call::{Context, Kernel, Operands, Results, mismatch};
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
    fn run(
        &self,
        inputs: &Operands<'_>,
        outputs: &mut Results<'_>,
        context: &mut Context<'_>,
    ) -> Result<(), Fault> {
        match (inputs.data(0)?, outputs.data()?) {
            (Data::F32(x), DataMut::F32(y)) => math::unary(context.target, &self.0, x, y),
            (Data::Bool(x), DataMut::Bool(y)) => {
                y.iter_mut().zip(x).for_each(|(y, &x)| *y = u8::from(x == 0));
            }
            _ => return Err(mismatch()),
        }
        Ok(())
    }
}
