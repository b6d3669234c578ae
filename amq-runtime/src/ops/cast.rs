//! Cast: elements in another type.

use alloc::boxed::Box;

use amq_format::graph::Cast;

use crate::compute::{Computation, Compute, Elementwise, Shapes, keeps_nothing};
use crate::error::Fault;
use crate::kernels::Target;
use crate::view::{Data, DataMut};

impl Compute for Cast {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        if shapes.input(0)?.data_type == self.to() {
            return Ok(Computation::View);
        }
        Ok(Computation::Elementwise(Box::new(Convert)))
    }
}

/// Converts as Rust's `as` does: floats are rounded towards zero and saturate, NaN gives 0; integers
/// that do not fit lose their upper bits.
struct Convert;

impl Elementwise for Convert {
    fn apply(&self, _: Target, [x, ..]: &[Data<'_>; 3], y: DataMut<'_>) -> Result<(), Fault> {
        macro_rules! each {
            ($x:expr, $y:expr, $f:expr) => {
                $y.iter_mut().zip($x).for_each(|(y, &x)| *y = $f(x))
            };
        }
        macro_rules! from {
            ($x:expr, $zero:expr) => {
                match y {
                    DataMut::F32(y) => each!($x, y, |x| x as f32),
                    DataMut::I64(y) => each!($x, y, |x| x as i64),
                    DataMut::I32(y) => each!($x, y, |x| x as i32),
                    DataMut::U8(y) => each!($x, y, |x| x as u8),
                    DataMut::I8(y) => each!($x, y, |x| x as i8),
                    DataMut::I16(y) => each!($x, y, |x| x as i16),
                    DataMut::U16(y) => each!($x, y, |x| x as u16),
                    DataMut::U32(y) => each!($x, y, |x| x as u32),
                    DataMut::U64(y) => each!($x, y, |x| x as u64),
                    DataMut::Bool(y) => each!($x, y, |x| u8::from(x != $zero)),
                }
            };
        }
        match *x {
            Data::F32(x) => from!(x, 0.0),
            Data::I64(x) => from!(x, 0),
            Data::I32(x) => from!(x, 0),
            Data::U8(x) | Data::Bool(x) => from!(x, 0),
            Data::I8(x) => from!(x, 0),
            Data::I16(x) => from!(x, 0),
            Data::U16(x) => from!(x, 0),
            Data::U32(x) => from!(x, 0),
            Data::U64(x) => from!(x, 0),
        }
        Ok(())
    }
}
