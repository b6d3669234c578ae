//! Channels of a convolution's input with their border.
//!
//! The elements that a stride separates stand apart, so that each tap of neighbouring windows reads
//! neighbouring elements.

use core::ops::Range;

use super::geometry::Geometry;

/// How a channel is copied among its border.
#[derive(Clone, Copy)]
pub(super) struct Border {
    rows: Axis,
    columns: Axis,
}

/// One axis of the copy: a run of elements for each phase that taps fall on, modulo the stride.
#[derive(Clone, Copy)]
struct Axis {
    stride: usize,
    dilation: usize,
    /// Border before the first element.
    pad: usize,
    /// Elements without the border.
    input: usize,
    phases: usize,
    /// Length of a run.
    run: usize,
}

impl Axis {
    fn new(geometry: &Geometry, axis: usize) -> Axis {
        let (stride, dilation) = (geometry.strides[axis], geometry.dilations[axis]);
        let kernel = geometry.kernel[axis];
        // Tap t falls on phase t * dilation modulo the stride, which repeats.
        let phases = kernel.min(stride / common_divisor(stride, dilation));
        let run = geometry.output[axis] + kernel.saturating_sub(1) * dilation / stride;
        let (pad, input) = (geometry.pads[axis], geometry.input[axis]);
        Axis { stride, dilation, pad, input, phases, run }
    }

    /// Elements in all runs.
    fn len(&self) -> usize {
        self.phases * self.run
    }

    /// Where the first window reads for a tap.
    fn offset(&self, tap: usize) -> usize {
        tap % self.phases * self.run + tap * self.dilation / self.stride
    }

    /// Places in a phase's run that hold elements, and the first of these, if any.
    fn inside(&self, phase: usize) -> (Range<usize>, usize) {
        let shift = phase * self.dilation % self.stride;
        // The first place that holds this element or one behind it.
        let place = |at: usize| (at + self.pad).saturating_sub(shift).div_ceil(self.stride);
        let end = place(self.input).min(self.run);
        let start = place(0).min(end);
        (start..end, (start * self.stride + shift).saturating_sub(self.pad).min(self.input))
    }
}

fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

impl Border {
    pub(super) fn new(geometry: &Geometry) -> Border {
        Border { rows: Axis::new(geometry, 0), columns: Axis::new(geometry, 1) }
    }

    /// Elements of a row.
    pub(super) fn pitch(&self) -> usize {
        self.columns.len()
    }

    /// Elements of a channel.
    pub(super) fn plane(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// Where the first window reads for a tap; window (i, j) reads `i * pitch + j` behind it.
    pub(super) fn offset(&self, [row, column]: [usize; 2]) -> usize {
        self.rows.offset(row) * self.pitch() + self.columns.offset(column)
    }

    /// Copies the elements of a channel to their places; the border is left as it is.
    #[inline(always)]
    pub(super) fn copy(&self, x: &[f32], to: &mut [f32]) {
        let Border { rows, columns } = self;
        for row_phase in 0..rows.phases {
            let (lines, top) = rows.inside(row_phase);
            for phase in 0..columns.phases {
                let (places, left) = columns.inside(phase);
                let mut at = row_phase * rows.run * self.pitch() + phase * columns.run;
                at += lines.start * self.pitch() + places.start;
                let mut from = top * columns.input + left;
                for _ in lines.clone() {
                    let x = &x[from..][..columns.input - left];
                    copy_run(x, columns.stride, &mut to[at..][..places.len()]);
                    from += rows.stride * columns.input;
                    at += self.pitch();
                }
            }
        }
    }
}

/// Copies one of `stride` elements each.
#[inline(always)]
fn copy_run(x: &[f32], stride: usize, to: &mut [f32]) {
    match stride {
        1 => copy_all(&x[..to.len()], to),
        2 => {
            let (pairs, last) = x.as_chunks::<2>();
            let (to, end) = to.split_at_mut(to.len().min(pairs.len()));
            to.iter_mut().zip(pairs).for_each(|(to, [x, _])| *to = *x);
            end.iter_mut().zip(last).for_each(|(to, x)| *to = *x);
        }
        stride => to.iter_mut().zip(x.iter().step_by(stride)).for_each(|(to, x)| *to = *x),
    }
}

/// Copies elements in pieces of fixed length, which need no call.
#[inline(always)]
fn copy_all(x: &[f32], to: &mut [f32]) {
    match to.len() {
        0..4 => to.iter_mut().zip(x).for_each(|(to, x)| *to = *x),
        4..8 => copy_pieces::<4>(x, to),
        8..16 => copy_pieces::<8>(x, to),
        _ => copy_pieces::<16>(x, to),
    }
}

/// Copies pieces of `N` elements, the last with some again.
#[inline(always)]
fn copy_pieces<const N: usize>(x: &[f32], to: &mut [f32]) {
    for (to, x) in to.as_chunks_mut::<N>().0.iter_mut().zip(x.as_chunks::<N>().0) {
        *to = *x;
    }
    if let (Some(to), Some(x)) = (to.last_chunk_mut::<N>(), x.last_chunk::<N>()) {
        *to = *x;
    }
}
