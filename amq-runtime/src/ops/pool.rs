//! Pooling over windows.

use alloc::boxed::Box;
use alloc::vec::Vec;

use amq_format::graph::{Pool, PoolKind};

use super::binary::larger;
use super::window::{inside, with_pads};
use crate::call::{Call, Kernel, mismatch};
use crate::compute::{Computation, Compute, Shapes, keeps_nothing};
use crate::error::{Fault, fault};
use crate::view::DataMut;

impl Compute for Pool {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let (x, y) = (shapes.input(0)?, shapes.output()?);
        // A sum, or an average that counts the border, is 0 over the border alone; all else is
        // undefined there.
        let counts_border = match self.kind() {
            PoolKind::Average => self.count_include_pad,
            PoolKind::Max => false,
            PoolKind::Sum => true,
        };
        let mut axes = Vec::with_capacity(2);
        for (i, window) in self.windows().into_iter().enumerate() {
            let (input, output) = (x.dims[i + 2], y.dims[i + 2]);
            let window = with_pads(window, input, output);
            let (before, padded) = (window.begin, window.begin + input + window.end);
            let span = |position| {
                let (first, count) = inside(&window, position, 0, input);
                Span {
                    first: first.max(0) as usize * usize::from(count > 0),
                    count,
                    padded: inside(&window, position, before, padded).1,
                }
            };
            let mut spans = Vec::new();
            let room = spans.try_reserve_exact(if y.len() == 0 { 0 } else { output });
            room.map_err(|_| fault!("{output} positions are too many"))?;
            if y.len() > 0 {
                spans.extend((0..output).map(span));
            }
            let empty = spans.iter().position(|span| span.count == 0 && !counts_border);
            if let Some(position) = empty {
                return Err(fault!(
                    "window {position} along axis {} covers no element of x",
                    i + 2
                ));
            }
            axes.push(Axis { size: input, dilation: window.dilation, spans });
        }
        let width = axes.pop().ok_or_else(|| fault!("it has no spatial axes"))?;
        let height = axes.pop().unwrap_or_else(|| Axis {
            size: 1,
            dilation: 1,
            spans: alloc::vec![Span { first: 0, count: 1, padded: 1 }],
        });
        Ok(Computation::Kernel(Box::new(Windows {
            kind: self.kind(),
            count_include_pad: self.count_include_pad,
            height,
            width,
        })))
    }
}

/// What a window covers of an axis at one position.
struct Span {
    /// The first entry.
    first: usize,
    /// Elements of the window on entries.
    count: usize,
    /// Elements of the window on entries or borders.
    padded: usize,
}

struct Axis {
    size: usize,
    dilation: usize,
    spans: Vec<Span>,
}

struct Windows {
    kind: PoolKind,
    count_include_pad: bool,
    height: Axis,
    width: Axis,
}

impl Kernel for Windows {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let x = call.inputs.f32(0)?;
        let mut outputs = call.outputs.each();
        let (y, numbers) = (outputs.next().flatten(), outputs.next().flatten());
        let positions = self.height.spans.len() * self.width.spans.len();
        let entries = self.height.size * self.width.size;
        if positions == 0 || entries == 0 {
            return Ok(());
        }
        match numbers {
            Some(DataMut::I64(numbers)) => {
                for (plane, numbers) in numbers.chunks_exact_mut(positions).enumerate() {
                    let first = plane * entries;
                    self.numbers(&x[first..first + entries], first, numbers);
                }
            }
            None => {}
            _ => return Err(mismatch()),
        }
        let y = match y {
            Some(DataMut::F32(y)) => y,
            None => return Ok(()),
            _ => return Err(mismatch()),
        };
        for (plane, y) in y.chunks_exact_mut(positions).enumerate() {
            let x = &x[plane * entries..(plane + 1) * entries];
            call.target.vectorize(
                #[inline(always)]
                || self.plane(x, y),
            );
        }
        Ok(())
    }
}

impl Windows {
    /// One channel. Windows are read row by row, in ascending order.
    #[inline(always)]
    fn plane(&self, x: &[f32], y: &mut [f32]) {
        let (height, width) = (&self.height, &self.width);
        for (y, rows) in y.chunks_exact_mut(width.spans.len()).zip(&height.spans) {
            for (y, columns) in y.iter_mut().zip(&width.spans) {
                let row =
                    |i: usize| (rows.first + i * height.dilation) * width.size + columns.first;
                let at = |i: usize, j: usize| x[row(i) + j * width.dilation];
                let each = (0..rows.count).flat_map(|i| (0..columns.count).map(move |j| (i, j)));
                *y = match self.kind {
                    PoolKind::Max => {
                        each.fold(f32::NEG_INFINITY, |most, (i, j)| larger(at(i, j), most))
                    }
                    PoolKind::Sum => each.fold(0.0, |sum, (i, j)| sum + at(i, j)),
                    PoolKind::Average => {
                        let count = match self.count_include_pad {
                            true => rows.padded * columns.padded,
                            false => rows.count * columns.count,
                        };
                        each.fold(0.0, |sum, (i, j)| sum + at(i, j)) / count as f32
                    }
                };
            }
        }
    }

    /// Where the largest elements of one channel are, whose first element has the number `first`.
    fn numbers(&self, x: &[f32], first: usize, numbers: &mut [i64]) {
        let (height, width) = (&self.height, &self.width);
        for (numbers, rows) in numbers.chunks_exact_mut(width.spans.len()).zip(&height.spans) {
            for (number, columns) in numbers.iter_mut().zip(&width.spans) {
                let mut best = rows.first * width.size + columns.first;
                for i in 0..rows.count {
                    let row = (rows.first + i * height.dilation) * width.size + columns.first;
                    for at in (0..columns.count).map(|j| row + j * width.dilation) {
                        // As `larger`, which keeps the first of equal ones.
                        if x[at] > x[best] || x[at].is_nan() && !x[best].is_nan() {
                            best = at;
                        }
                    }
                }
                *number = (first + best) as i64;
            }
        }
    }
}
