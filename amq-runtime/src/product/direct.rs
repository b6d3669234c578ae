//! Convolutions in float whose groups have few channels, such as depthwise ones.
//!
//! The windows of the gathered product would be short and its blocks of rows nearly empty. Here
//! lanes are neighbouring windows. A group's channels are copied with their border, the elements
//! that a stride separates apart, so that each tap reads neighbouring elements.

use alloc::vec::Vec;
use core::ops::Range;

use super::geometry::Geometry;
use super::scratch::Scratch;
use crate::kernels::windows::{LANES, Windows};
use crate::kernels::{BLOCK, Target, float};

/// Weights of such a convolution.
#[derive(Debug)]
pub(crate) struct Direct {
    target: Target,
    groups: usize,
    /// Output channels of all groups.
    rows: usize,
    /// Channels of a group.
    channels: usize,
    /// `[output channel][kernel row][kernel column][channel of the group]`
    weights: Vec<f32>,
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

    /// The element that a place in a phase's run holds, unless it is border.
    fn element(&self, phase: usize, place: usize) -> Option<usize> {
        let at = place * self.stride + phase * self.dilation % self.stride;
        at.checked_sub(self.pad).filter(|&at| at < self.input)
    }
}

fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

impl Direct {
    /// Whether it is faster than the gathered product, for groups of so many channels and rows.
    pub(super) fn suits(channels: usize, rows: usize) -> bool {
        channels < BLOCK || rows < BLOCK / 2
    }

    /// Keeps the weights of `rows` rows, which are those of all groups.
    pub(super) fn new(
        packed: &float::Weights,
        rows: usize,
        groups: usize,
        target: Target,
    ) -> Direct {
        let cols = packed.taps * packed.columns;
        let weights =
            (0..rows).flat_map(|row| (0..cols).map(move |col| packed.weight(row, col))).collect();
        Direct { target, groups, rows, channels: packed.columns, weights }
    }

    /// Output channels of all groups.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Groups, and rows and columns of each.
    pub(super) fn shape(&self) -> [usize; 3] {
        let rows = self.rows / self.groups.max(1);
        [self.groups, rows, self.weights.len().checked_div(self.rows).unwrap_or(0)]
    }

    /// Grows the scratch so that `convolve` allocates nothing.
    pub(super) fn reserve(&self, geometry: &Geometry, scratch: &mut Scratch) {
        let axes = [0, 1].map(|axis| Axis::new(geometry, axis));
        let Scratch { budget, floats, offsets, .. } = scratch;
        budget.grow(floats, self.channels * axes[0].len() * axes[1].len() + LANES, 0.0);
        budget.grow(offsets, self.channels * geometry.kernel[0] * geometry.kernel[1], 0);
    }

    /// Convolves a batch item x `[channel][height][width]` to some of its output channels, `rows`,
    /// out `[output channel][height][width]`.
    pub(super) fn convolve(
        &self,
        geometry: &Geometry,
        x: &[f32],
        rows: Range<usize>,
        mut out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        if out.is_empty() {
            return;
        }
        self.reserve(geometry, scratch);
        let axes = [0, 1].map(|axis| Axis::new(geometry, axis));
        let pitch = axes[1].len();
        let plane = axes[0].len() * pitch;
        let cols = self.channels * geometry.kernel[0] * geometry.kernel[1];
        let offsets = &mut scratch.offsets[..cols];
        for (at, offset) in offsets.iter_mut().enumerate() {
            let (position, channel) = (at / self.channels, at % self.channels);
            let [row, column] = [position / geometry.kernel[1], position % geometry.kernel[1]];
            *offset = channel * plane + axes[0].offset(row) * pitch + axes[1].offset(column);
        }
        let copy = &mut scratch.floats[..self.channels * plane + LANES];
        // The border, which has the same place in all groups.
        copy.fill(0.0);
        let size = geometry.input[0] * geometry.input[1];
        let each = self.rows / self.groups;
        let mut row = rows.start;
        while row < rows.end {
            let group = row / each;
            let end = rows.end.min((group + 1) * each);
            let weights = &self.weights[row * cols..end * cols];
            let (part, rest) = out.split_at_mut((end - row) * geometry.positions());
            (row, out) = (end, rest);
            for (channel, copy) in copy.chunks_exact_mut(plane).take(self.channels).enumerate() {
                let channel = group * self.channels + channel;
                let x = &x[channel * size..][..size];
                self.target.vectorize(
                    #[inline(always)]
                    || copy_channel(&axes, x, copy),
                );
            }
            let windows =
                Windows { weights, offsets, x: copy, pitch, grid: geometry.output, out: part };
            windows.multiply(self.target);
        }
    }
}

/// Copies the elements of a channel to their places among the border.
#[inline(always)]
fn copy_channel([rows, columns]: &[Axis; 2], x: &[f32], copy: &mut [f32]) {
    for (i, line) in copy.chunks_exact_mut(columns.len()).enumerate() {
        let Some(row) = rows.element(i / rows.run, i % rows.run) else { continue };
        let x = &x[row * columns.input..][..columns.input];
        for (phase, to) in line.chunks_exact_mut(columns.run).enumerate() {
            let (places, first) = columns.inside(phase);
            let (to, x) = (&mut to[places], &x[first..]);
            match columns.stride {
                1 => to.copy_from_slice(&x[..to.len()]),
                2 => {
                    let (pairs, last) = x.as_chunks::<2>();
                    let (to, end) = to.split_at_mut(to.len().min(pairs.len()));
                    to.iter_mut().zip(pairs).for_each(|(to, [x, _])| *to = *x);
                    end.iter_mut().zip(last).for_each(|(to, x)| *to = *x);
                }
                stride => {
                    to.iter_mut().zip(x.iter().step_by(stride)).for_each(|(to, x)| *to = *x);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
