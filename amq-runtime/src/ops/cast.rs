//! Cast: elements in another type.

use alloc::boxed::Box;

use amq_format::graph::Cast;

use super::narrow::{BLOCK, blocks, widen};
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

/// Writes numbers to y, from `at` on.
macro_rules! convert {
    ($x:expr, $zero:expr, $y:expr, $at:expr) => {{
        macro_rules! each {
            ($out:expr, $f:expr) => {
                $out[$at..].iter_mut().zip($x).for_each(|(y, &x)| *y = $f(x))
            };
        }
        match $y {
            DataMut::F32(y) => each!(y, |x| x as f32),
            DataMut::I64(y) => each!(y, |x| x as i64),
            DataMut::I32(y) => each!(y, |x| x as i32),
            DataMut::U8(y) => each!(y, |x| x as u8),
            DataMut::I8(y) => each!(y, |x| x as i8),
            DataMut::I16(y) => each!(y, |x| x as i16),
            DataMut::U16(y) => each!(y, |x| x as u16),
            DataMut::U32(y) => each!(y, |x| x as u32),
            DataMut::U64(y) => each!(y, |x| x as u64),
            DataMut::Bool(y) => each!(y, |x| u8::from(x != $zero)),
        }
    }};
}

impl Elementwise for Convert {
    fn apply(&self, _: Target, [x, ..]: &[Data<'_>; 3], mut y: DataMut<'_>) -> Result<(), Fault> {
        match *x {
            Data::F32(x) => convert!(x, 0.0, &mut y, 0),
            Data::U64(x) => convert!(x, 0, &mut y, 0),
            Data::I64(x) => integers(x, &mut y, 0),
            x => {
                let (len, mut wide) = (y.as_data().len(), [0; BLOCK]);
                return blocks(len, |at, len| {
                    integers(widen(x, at, len, &mut wide)?, &mut y, at);
                    Ok(())
                });
            }
        }
        Ok(())
    }
}

fn integers(x: &[i64], y: &mut DataMut<'_>, at: usize) {
    convert!(x, 0, y, at);
}
