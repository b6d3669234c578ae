//! Integers of fewer than 64 bits, taken as those of 64 a block at a time: what is done to them is then compiled for few types.

use crate::call::mismatch;
use crate::error::Fault;
use crate::view::{Data, DataMut};

/// Elements of a block: a few lie on the stack, which may be a small one.
pub(super) const BLOCK: usize = 64;

/// Calls with where each block of so many elements begins, and its length.
pub(super) fn blocks(
    len: usize,
    mut each: impl FnMut(usize, usize) -> Result<(), Fault>,
) -> Result<(), Fault> {
    (0..len).step_by(BLOCK).try_for_each(|at| each(at, BLOCK.min(len - at)))
}

/// A block of narrow integers as numbers; one element stands for all.
pub(super) fn widen<'w>(
    x: Data<'_>,
    at: usize,
    len: usize,
    wide: &'w mut [i64; BLOCK],
) -> Result<&'w [i64], Fault> {
    let x = if x.len() == 1 { x } else { x.part(at, len) };
    let wide = &mut wide[..x.len()];
    match x {
        Data::I32(x) => each(x, wide, i64::from),
        Data::U8(x) | Data::Bool(x) => each(x, wide, i64::from),
        Data::I8(x) => each(x, wide, i64::from),
        Data::I16(x) => each(x, wide, i64::from),
        Data::U16(x) => each(x, wide, i64::from),
        Data::U32(x) => each(x, wide, i64::from),
        Data::F32(_) | Data::I64(_) | Data::U64(_) => return Err(mismatch()),
    }
    Ok(wide)
}

/// Writes the lower bits of numbers to y, from `at` on.
pub(super) fn cut(wide: &[i64], at: usize, y: &mut DataMut<'_>) -> Result<(), Fault> {
    match y {
        DataMut::I32(y) => each(wide, &mut y[at..], |x| x as i32),
        DataMut::U8(y) | DataMut::Bool(y) => each(wide, &mut y[at..], |x| x as u8),
        DataMut::I8(y) => each(wide, &mut y[at..], |x| x as i8),
        DataMut::I16(y) => each(wide, &mut y[at..], |x| x as i16),
        DataMut::U16(y) => each(wide, &mut y[at..], |x| x as u16),
        DataMut::U32(y) => each(wide, &mut y[at..], |x| x as u32),
        DataMut::F32(_) | DataMut::I64(_) | DataMut::U64(_) => return Err(mismatch()),
    }
    Ok(())
}

fn each<X: Copy, Y>(x: &[X], y: &mut [Y], f: impl Fn(X) -> Y) {
    y.iter_mut().zip(x).for_each(|(y, &x)| *y = f(x));
}
