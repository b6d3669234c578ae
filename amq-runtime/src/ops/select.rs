//! Select: a choice between two elements.

use alloc::boxed::Box;

use amq_format::graph::DataType;

use super::walk::{Walk, broadcast_strides};
use crate::call::{Call, Kernel, mismatch};
use crate::error::{Fault, ensure};
use crate::infer::{Fact, Facts, broadcast};
use crate::shape::Shape;
use crate::view::{Data, DataMut};

pub(super) fn rule(inputs: &Facts<'_>) -> Result<Fact, Fault> {
    inputs.count(3, 3)?;
    let (condition, a, b) = (inputs.get(0)?, inputs.get(1)?, inputs.get(2)?);
    let found = condition.data_type.name();
    ensure!(condition.data_type == DataType::Bool, "its condition is {found}, it must be bool");
    let (left, right) = (a.data_type.name(), b.data_type.name());
    ensure!(left == right, "it chooses between {left} and {right}, they must be of one type");
    let dims = broadcast(&condition.dims, &broadcast(&a.dims, &b.dims)?)?;
    Ok(Fact { data_type: a.data_type, dims })
}

pub(super) fn kernel(condition: &Shape, a: &Shape, b: &Shape, y: &Shape) -> Box<dyn Kernel> {
    let strides = [&condition.dims, &a.dims, &b.dims].map(|dims| broadcast_strides(dims, &y.dims));
    Box::new(Choice(Walk::new(&y.dims, [&strides[0], &strides[1], &strides[2]], [0; 3])))
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
