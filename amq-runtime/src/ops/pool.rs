//! Pooling over windows.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use amq_format::graph::{Pool, PoolKind, Window};

use super::binary::larger;
use super::window::inside;
use crate::call::{Call, Kernel, mismatch};
use crate::compute::{Computation, Compute, Shapes, keeps_nothing};
use crate::error::{Fault, fault};
use crate::kernels::Target;
use crate::view::DataMut;
use crate::workers::Workers;

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
            let window = window.padded(input, output);
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
            axes.push(Axis::new(input, &window, spans));
        }
        let width = axes.pop().ok_or_else(|| fault!("it has no spatial axes"))?;
        let height = axes.pop().unwrap_or_else(|| {
            let spans = alloc::vec![Span { first: 0, count: 1, padded: 1 }];
            Axis { size: 1, kernel: 1, stride: 1, dilation: 1, spans, whole: 0..1 }
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
    kernel: usize,
    stride: usize,
    dilation: usize,
    spans: Vec<Span>,
    /// Positions whose windows lie on entries alone.
    whole: Range<usize>,
}

impl Axis {
    fn new(size: usize, window: &Window, spans: Vec<Span>) -> Axis {
        let whole = |span: &Span| span.count == window.kernel;
        let start = spans.iter().position(whole).unwrap_or(0);
        let end = spans.iter().rposition(whole).map_or(0, |last| last + 1);
        let Window { kernel, stride, dilation, .. } = *window;
        Axis { size, kernel, stride, dilation, spans, whole: start..end }
    }
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
        let work = y.len().saturating_mul(self.height.kernel * self.width.kernel);
        let parts = (work / call.workers.grain().max(1)).clamp(1, call.workers.count().max(1));
        self.share(x, y, call.target, call.workers, parts);
        Ok(())
    }
}

impl Windows {
    /// Divides channels of all items among workers.
    fn share(&self, x: &[f32], y: &mut [f32], target: Target, workers: &dyn Workers, parts: usize) {
        let positions = self.height.spans.len() * self.width.spans.len();
        let entries = self.height.size * self.width.size;
        let planes = y.len() / positions;
        if parts > 1 && planes > 1 {
            let helpers = parts / 2;
            let count = (planes - planes * helpers / parts).min(planes - 1);
            let (x, later_x) = x.split_at(count * entries);
            let (y, later_y) = y.split_at_mut(count * positions);
            return workers
                .join(&mut || self.share(x, y, target, workers, parts - helpers), &mut || {
                    self.share(later_x, later_y, target, workers, helpers)
                });
        }
        for (x, y) in x.chunks_exact(entries).zip(y.chunks_exact_mut(positions)) {
            target.vectorize(
                #[inline(always)]
                || self.plane(x, y),
            );
        }
    }

    /// One channel. Each window is read row by row, in ascending order.
    #[inline(always)]
    fn plane(&self, x: &[f32], y: &mut [f32]) {
        let (height, width) = (&self.height, &self.width);
        for (y, rows) in y.chunks_exact_mut(width.spans.len()).zip(&height.spans) {
            match self.kind {
                PoolKind::Max => self.row(x, y, rows, f32::NEG_INFINITY, larger),
                PoolKind::Sum => self.row(x, y, rows, 0.0, sum),
                PoolKind::Average => {
                    self.row(x, y, rows, 0.0, sum);
                    for (y, columns) in y.iter_mut().zip(&width.spans) {
                        let count = match self.count_include_pad {
                            true => rows.padded * columns.padded,
                            false => rows.count * columns.count,
                        };
                        *y /= count as f32;
                    }
                }
            }
        }
    }

    /// The windows of one row: those that lie whole on entries are read together.
    #[inline(always)]
    fn row(
        &self,
        x: &[f32],
        y: &mut [f32],
        rows: &Span,
        start: f32,
        with: impl Fn(f32, f32) -> f32,
    ) {
        let (height, width) = (&self.height, &self.width);
        let line = |i: usize| &x[(rows.first + i * height.dilation) * width.size..];
        y.fill(start);
        let whole = width.whole.clone();
        for column in (0..whole.start).chain(whole.end..y.len()) {
            let columns = &width.spans[column];
            for line in (0..rows.count).map(line) {
                let taps = (0..columns.count).map(|j| line[columns.first + j * width.dilation]);
                y[column] = taps.fold(y[column], |y, x| with(x, y));
            }
        }
        let Some(first) = width.spans.get(whole.start).map(|columns| columns.first) else { return };
        let y = &mut y[whole];
        if y.is_empty() {
            return;
        }
        for line in (0..rows.count).map(line) {
            for tap in 0..width.kernel {
                let x = &line[first + tap * width.dilation..];
                match width.stride {
                    1 => y.iter_mut().zip(x).for_each(|(y, &x)| *y = with(x, *y)),
                    2 => {
                        let (pairs, last) = x.as_chunks::<2>();
                        let (y, end) = y.split_at_mut(y.len().min(pairs.len()));
                        y.iter_mut().zip(pairs).for_each(|(y, &[x, _])| *y = with(x, *y));
                        end.iter_mut().zip(last).for_each(|(y, &x)| *y = with(x, *y));
                    }
                    stride => {
                        let x = x.iter().step_by(stride);
                        y.iter_mut().zip(x).for_each(|(y, &x)| *y = with(x, *y));
                    }
                }
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

#[inline(always)]
fn sum(x: f32, sum: f32) -> f32 {
    sum + x
}
