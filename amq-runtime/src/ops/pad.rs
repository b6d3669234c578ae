//! Pad: borders added or taken away.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use amq_format::graph::{Dim, Pad, PadMode};

use super::walk;
use crate::call::{Call, Kernel, mismatch};
use crate::compute::{Computation, Compute, Shapes, keeps_nothing};
use crate::error::{Fault, ensure, fault};
use crate::infer::MAX_RANK;
use crate::view::{Data, DataMut};

impl Compute for Pad {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let (x, y) = (shapes.input(0)?, shapes.output()?);
        let number = |dim: &Dim| {
            let size = dim.as_size().filter(|size| size.unsigned_abs() <= isize::MAX as u64 / 4);
            size.map(|size| size as isize).ok_or_else(|| fault!("a pad of {dim} is not possible"))
        };
        let mode = self.mode();
        let strides = walk::strides(&x.dims);
        let (mut axes, mut body) = (Vec::with_capacity(x.dims.len()), 0..0);
        for (axis, &size) in x.dims.iter().enumerate() {
            let (begin, end) = (number(&self.begins[axis])?, number(&self.ends[axis])?);
            // What negative pads leave of the axis is what borders are made from.
            let low = (-begin).max(0);
            let left = size as isize - low - (-end).max(0);
            ensure!(left >= 0, "pads take more than the {size} entries of axis {axis}");
            let count = y.dims[axis];
            let empty = left == 0 && count > 0 && mode != PadMode::Constant;
            ensure!(!empty, "axis {axis} is empty: there is nothing to make a border from");
            let step = strides[axis].unsigned_abs();
            let mut sources = Vec::new();
            let room = sources.try_reserve_exact(if y.len() == 0 { 0 } else { count });
            room.map_err(|_| fault!("{count} entries are too many"))?;
            if y.len() > 0 {
                sources.extend((0..count as isize).map(|i| {
                    let at = source(mode, i - begin.max(0), left)?;
                    Some((at + low) as usize * step)
                }));
            }
            axes.push(sources);
            body = begin.max(0) as usize..(begin.max(0) + left) as usize;
        }
        let last = axes.pop().unwrap_or_else(|| alloc::vec![Some(0)]);
        if x.dims.is_empty() {
            body = 0..1;
        }
        Ok(Computation::Kernel(Box::new(Border { outer: axes, last, body })))
    }
}

/// The entry of an axis of size `left` that stands at `at`; none where the value stands.
fn source(mode: PadMode, at: isize, left: isize) -> Option<isize> {
    if (0..left).contains(&at) {
        return Some(at);
    }
    match mode {
        PadMode::Constant => None,
        PadMode::Edge => Some(at.clamp(0, left - 1)),
        PadMode::Wrap => Some(at.rem_euclid(left)),
        PadMode::Reflect if left == 1 => Some(0),
        PadMode::Reflect => {
            let period = 2 * (left - 1);
            let at = at.rem_euclid(period);
            Some(at.min(period - at))
        }
    }
}

/// Gathers each output entry from its source.
pub(super) struct Border {
    /// For each axis but the last and each entry along it, the offset of its source.
    pub(super) outer: Vec<Vec<Option<usize>>>,
    /// The same for the last axis.
    pub(super) last: Vec<Option<usize>>,
    /// The part of the last axis that is x's own.
    pub(super) body: Range<usize>,
}

impl Border {
    pub(super) fn fill<T: Copy>(&self, x: &[T], value: T, y: &mut [T]) {
        if y.is_empty() {
            return;
        }
        let mut rows = y.chunks_exact_mut(self.last.len());
        self.each_row(rows.len(), &mut |at| {
            let Some(row) = rows.next() else { return };
            match at {
                Some(at) => self.fill_row(x, at, value, row),
                None => row.fill(value),
            }
        });
    }

    /// Calls with the source of each row, for all types of elements.
    pub(super) fn each_row(&self, rows: usize, each: &mut dyn FnMut(Option<usize>)) {
        let mut counters = [0; MAX_RANK];
        for _ in 0..rows {
            let sources = self.outer.iter().zip(&counters).map(|(axis, &i)| axis[i]);
            each(sources.sum());
            for (axis, counter) in self.outer.iter().zip(&mut counters).rev() {
                *counter += 1;
                if *counter < axis.len() {
                    break;
                }
                *counter = 0;
            }
        }
    }

    fn fill_row<T: Copy>(&self, x: &[T], at: usize, value: T, row: &mut [T]) {
        for border in [0..self.body.start, self.body.end..row.len()] {
            for (y, source) in row[border.clone()].iter_mut().zip(&self.last[border]) {
                *y = source.map_or(value, |source| x[at + source]);
            }
        }
        if let Some(first) = self.last[self.body.clone()].first().copied().flatten() {
            let body = &mut row[self.body.clone()];
            body.copy_from_slice(&x[at + first..at + first + body.len()]);
        }
    }
}

impl Kernel for Border {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let (x, y) = (call.inputs.data(0)?, call.outputs.data()?);
        let value = call.inputs.optional(1);
        macro_rules! fill {
            ($kind:ident, $x:expr, $y:expr) => {{
                let value = match value {
                    Some(Data::$kind(value)) => value.first().copied().unwrap_or_default(),
                    _ => Default::default(),
                };
                self.fill($x, value, $y)
            }};
        }
        match (x, y) {
            (Data::F32(x), DataMut::F32(y)) => fill!(F32, x, y),
            (Data::I64(x), DataMut::I64(y)) => fill!(I64, x, y),
            (Data::I32(x), DataMut::I32(y)) => fill!(I32, x, y),
            (Data::U8(x), DataMut::U8(y)) => fill!(U8, x, y),
            (Data::I8(x), DataMut::I8(y)) => fill!(I8, x, y),
            (Data::I16(x), DataMut::I16(y)) => fill!(I16, x, y),
            (Data::U16(x), DataMut::U16(y)) => fill!(U16, x, y),
            (Data::U32(x), DataMut::U32(y)) => fill!(U32, x, y),
            (Data::U64(x), DataMut::U64(y)) => fill!(U64, x, y),
            (Data::Bool(x), DataMut::Bool(y)) => fill!(Bool, x, y),
            _ => return Err(mismatch()),
        }
        Ok(())
    }
}
