//! Select: a choice between two elements.

use alloc::boxed::Box;

use amq_format::graph::Select;

use super::walk::{Walk, broadcast_strides};
use crate::call::{Call, Kernel, mismatch};
use crate::compute::{Compute, Shapes, keeps_nothing};
use crate::error::Fault;
use crate::view::{Data, DataMut};

impl Compute for Select {
    keeps_nothing!();

    fn kernel(
        &self,
        _: &Self::Kept,
        shapes: &Shapes<'_>,
    ) -> Result<Option<Box<dyn Kernel>>, Fault> {
        let y = shapes.output()?;
        let operands = [shapes.input(0)?, shapes.input(1)?, shapes.input(2)?];
        let strides = operands.map(|x| broadcast_strides(&x.dims, &y.dims));
        let walk = Walk::new(&y.dims, [&strides[0], &strides[1], &strides[2]], [0; 3]);
        Ok(Some(Box::new(Choice(walk))))
    }
}

struct Choice(Walk<3>);

impl Choice {
    fn choose<T: Copy>(&self, condition: &[u8], a: &[T], b: &[T], y: &mut [T]) {
        if y.is_empty() {
            return;
        }
        let [r, s, t] = self.0.strides.map(isize::unsigned_abs);
        for (y, [h, i, j]) in y.chunks_exact_mut(self.0.inner).zip(self.0.rows()) {
            for (k, y) in y.iter_mut().enumerate() {
                *y = if condition[h + k * r] != 0 { a[i + k * s] } else { b[j + k * t] };
            }
        }
    }
}

impl Kernel for Choice {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let Data::Bool(condition) = call.inputs.data(0)? else {
            return Err(mismatch());
        };
        match (call.inputs.data(1)?, call.inputs.data(2)?, call.outputs.data()?) {
            (Data::F32(a), Data::F32(b), DataMut::F32(y)) => self.choose(condition, a, b, y),
            (Data::I64(a), Data::I64(b), DataMut::I64(y)) => self.choose(condition, a, b, y),
            (Data::I32(a), Data::I32(b), DataMut::I32(y)) => self.choose(condition, a, b, y),
            (Data::U8(a), Data::U8(b), DataMut::U8(y)) => self.choose(condition, a, b, y),
            (Data::I8(a), Data::I8(b), DataMut::I8(y)) => self.choose(condition, a, b, y),
            (Data::Bool(a), Data::Bool(b), DataMut::Bool(y)) => self.choose(condition, a, b, y),
            _ => return Err(mismatch()),
        }
        Ok(())
    }
}
