//! What a convolution's window visits.

use core::ops::Range;

/// Sizes and steps of a convolution; one spatial axis is a height of 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Channels of the input, in all groups.
    pub(crate) channels: usize,
    /// Height and width of the input.
    pub(crate) input: [usize; 2],
    pub(crate) kernel: [usize; 2],
    pub(crate) strides: [usize; 2],
    pub(crate) dilations: [usize; 2],
    /// Border at the beginning of each axis.
    pub(crate) pads: [usize; 2],
    /// Height and width of the output.
    pub(crate) output: [usize; 2],
}

/// Lines of each worker, at least.
const LINES: usize = 6;

/// A part of the results of a convolution's group.
#[derive(Clone)]
pub(super) struct Portion {
    /// Lines of windows.
    pub(super) lines: Range<usize>,
    /// Blocks of rows of the weights.
    pub(super) blocks: Range<usize>,
    /// Elements from the first result of an output channel to that of the next.
    pub(super) stride: usize,
}

impl Geometry {
    pub(super) fn positions(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Lines of the output into which windows are divided: rows, of one row the columns.
    pub(super) fn lines(&self) -> usize {
        if self.output[0] > 1 { self.output[0] } else { self.output[1] }
    }

    /// Whether there are enough lines for so many workers. Neighbours code the pixels that both reach, and
    /// some have a line more than others.
    pub(super) fn divides(&self, workers: usize) -> bool {
        workers > 1 && self.lines() >= workers.saturating_mul(LINES)
    }

    /// Windows of some lines.
    pub(super) fn windows(&self, lines: &Range<usize>) -> Range<usize> {
        let each = self.positions() / self.lines().max(1);
        lines.start * each..lines.end * each
    }

    /// Positions of the kernel.
    pub(super) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// The element of `axis` that a tap falls on from an output position, unless it is border.
    fn place(&self, axis: usize, position: usize, tap: usize) -> Option<usize> {
        let at = position * self.strides[axis] + tap * self.dilations[axis];
        at.checked_sub(self.pads[axis]).filter(|at| *at < self.input[axis])
    }

    /// What of an axis of the input windows of some rows or columns of the output reach.
    pub(super) fn reached(&self, axis: usize, part: &Range<usize>) -> Range<usize> {
        let [stride, dilation] = [self.strides[axis], self.dilations[axis]];
        let last = (part.end - 1) * stride + (self.kernel[axis] - 1) * dilation;
        let end = (last + 1).saturating_sub(self.pads[axis]).min(self.input[axis]);
        (part.start * stride).saturating_sub(self.pads[axis]).min(end)..end
    }

    /// The place of the pixel at each tap of the window at an output position, in order `[kernel
    /// row][kernel column]`. Input row r holds places from `(r mod held) * width` on; the border is
    /// behind all rows held.
    pub(super) fn window(&self, position: usize, held: usize, places: &mut [u32]) {
        let width = self.input[1];
        let [top, left] = [position / self.output[1], position % self.output[1]];
        for (kernel_row, places) in places.chunks_exact_mut(self.kernel[1]).enumerate() {
            let row = self.place(0, top, kernel_row).map(|row| row % held * width);
            for (tap, place) in places.iter_mut().enumerate() {
                let at = row.zip(self.place(1, left, tap)).map(|(row, column)| row + column);
                *place = at.unwrap_or(held * width) as u32;
            }
        }
    }
}
