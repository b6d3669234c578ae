//! Running totals along an axis, and the beginnings of sequences reversed.

use alloc::boxed::Box;

use amq_format::graph::{Cumulative, CumulativeKind, ReverseSequence};

use super::binary::Integer;
use crate::call::{Call, Kernel, mismatch};
use crate::compute::{Computation, Compute, Shapes, keeps_nothing};
use crate::error::{Fault, ensure};
use crate::view::{Data, DataMut, with_same_type};

impl Compute for Cumulative {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let (x, axis) = (shapes.input(0)?, self.axis as usize);
        Ok(Computation::Kernel(Box::new(Totals {
            kind: self.kind(),
            exclusive: self.exclusive,
            reverse: self.reverse,
            size: x.dims[axis],
            inner: x.dims[axis + 1..].iter().product(),
        })))
    }
}

struct Totals {
    kind: CumulativeKind,
    exclusive: bool,
    reverse: bool,
    /// Entries along the axis.
    size: usize,
    /// Elements of an entry.
    inner: usize,
}

impl Kernel for Totals {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        match (call.inputs.data(0)?, call.outputs.data()?) {
            (Data::F32(x), DataMut::F32(y)) => match self.kind {
                CumulativeKind::Sum => self.totals(x, y, 0.0, |a, b| a + b),
                CumulativeKind::Product => self.totals(x, y, 1.0, |a, b| a * b),
            },
            (Data::I64(x), DataMut::I64(y)) => self.integers(x, y),
            (Data::I32(x), DataMut::I32(y)) => self.integers(x, y),
            (Data::U8(x), DataMut::U8(y)) => self.integers(x, y),
            (Data::I8(x), DataMut::I8(y)) => self.integers(x, y),
            (Data::I16(x), DataMut::I16(y)) => self.integers(x, y),
            (Data::U16(x), DataMut::U16(y)) => self.integers(x, y),
            (Data::U32(x), DataMut::U32(y)) => self.integers(x, y),
            (Data::U64(x), DataMut::U64(y)) => self.integers(x, y),
            _ => return Err(mismatch()),
        }
        Ok(())
    }
}

impl Totals {
    fn integers<T: Integer>(&self, x: &[T], y: &mut [T]) {
        let (start, combine): (T, fn(T, T) -> T) = match self.kind {
            CumulativeKind::Sum => (T::default(), T::add),
            CumulativeKind::Product => (T::ONE, T::mul),
        };
        self.totals(x, y, start, combine);
    }

    fn totals<T: Copy>(&self, x: &[T], y: &mut [T], start: T, combine: impl Fn(T, T) -> T) {
        let Totals { size, inner, .. } = *self;
        if x.is_empty() {
            return;
        }
        let place = |step: usize| if self.reverse { size - 1 - step } else { step } * inner;
        for (x, y) in x.chunks_exact(size * inner).zip(y.chunks_exact_mut(size * inner)) {
            for column in 0..inner {
                let mut total = start;
                for at in (0..size).map(|step| place(step) + column) {
                    let before = total;
                    // A sum of one number is that number, also if it is -0.
                    total = if at == place(0) + column { x[at] } else { combine(total, x[at]) };
                    y[at] = if self.exclusive { before } else { total };
                }
            }
        }
    }
}

impl Compute for ReverseSequence {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let x = shapes.input(0)?;
        let (time, batch) = (self.time_axis as usize, self.batch_axis as usize);
        let (first, last) = (time.min(batch), time.max(batch));
        Ok(Computation::Kernel(Box::new(Reversed {
            time_first: time < batch,
            sizes: [x.dims[first], x.dims[last]],
            between: x.dims[first + 1..last].iter().product(),
            inner: x.dims[last + 1..].iter().product(),
        })))
    }
}

struct Reversed {
    /// Whether the axis of time comes before that of sequences.
    time_first: bool,
    /// Of the first and the second of the two axes.
    sizes: [usize; 2],
    /// Entries of the axes between them.
    between: usize,
    /// Elements behind them.
    inner: usize,
}

impl Reversed {
    /// Where in x the elements are that come to entry `number`.
    #[inline(never)]
    fn source(&self, number: usize, lengths: Data<'_>) -> Result<usize, Fault> {
        let Reversed { time_first, sizes: [first, last], between, inner } = *self;
        let time = if time_first { first } else { last };
        let (b, rest) = (number % last, number / last);
        let (middle, rest) = (rest % between, rest / between);
        let (a, outer) = (rest % first, rest / first);
        let (step, sequence) = if time_first { (a, b) } else { (b, a) };
        let length = match lengths {
            Data::I64(lengths) => lengths[sequence],
            Data::I32(lengths) => i64::from(lengths[sequence]),
            _ => return Err(mismatch()),
        };
        let fits = (0..=time as i64).contains(&length);
        ensure!(fits, "sequence {sequence} has length {length} of {time} steps");
        let length = length as usize;
        let from = if step < length { length - 1 - step } else { step };
        let (a, b) = if time_first { (from, b) } else { (a, from) };
        Ok((((outer * first + a) * between + middle) * last + b) * inner)
    }
}

impl Kernel for Reversed {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let lengths = call.inputs.data(1)?;
        with_same_type!(call.inputs.data(0)?, call.outputs.data()?, |x, y| {
            for (number, y) in y.chunks_exact_mut(self.inner.max(1)).enumerate() {
                let at = self.source(number, lengths)?;
                y.copy_from_slice(&x[at..at + self.inner]);
            }
        }, else return Err(mismatch()));
        Ok(())
    }
}
