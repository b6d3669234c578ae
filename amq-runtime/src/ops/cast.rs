//! Cast: elements in another type.

use alloc::boxed::Box;

use amq_format::graph::Cast;

use crate::call::{Call, Kernel};
use crate::compute::{Compute, Shapes, keeps_nothing};
use crate::error::Fault;
use crate::view::{Data, DataMut};

impl Compute for Cast {
    keeps_nothing!();

    fn kernel(
        &self,
        _: &Self::Kept,
        shapes: &Shapes<'_>,
    ) -> Result<Option<Box<dyn Kernel>>, Fault> {
        let same = shapes.input(0)?.data_type == self.to();
        Ok(if same { None } else { Some(Box::new(Convert)) })
    }
}

/// Converts as Rust's `as` does: floats are rounded towards zero and saturate, NaN gives 0; integers
/// that do not fit lose their upper bits.
struct Convert;

impl Kernel for Convert {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        macro_rules! each {
            ($x:expr, $y:expr, $f:expr) => {
                $y.iter_mut().zip($x).for_each(|(y, &x)| *y = $f(x))
            };
        }
        macro_rules! from {
            ($x:expr, $zero:expr) => {
                match call.outputs.data()? {
                    DataMut::F32(y) => each!($x, y, |x| x as f32),
                    DataMut::I64(y) => each!($x, y, |x| x as i64),
                    DataMut::I32(y) => each!($x, y, |x| x as i32),
                    DataMut::U8(y) => each!($x, y, |x| x as u8),
                    DataMut::I8(y) => each!($x, y, |x| x as i8),
                    DataMut::Bool(y) => each!($x, y, |x| u8::from(x != $zero)),
                }
            };
        }
        match call.inputs.data(0)? {
            Data::F32(x) => from!(x, 0.0),
            Data::I64(x) => from!(x, 0),
            Data::I32(x) => from!(x, 0),
            Data::U8(x) | Data::Bool(x) => from!(x, 0),
            Data::I8(x) => from!(x, 0),
        }
        Ok(())
    }
}
