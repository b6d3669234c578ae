//! Convolutions in float whose groups have few channels, such as depthwise ones.
//!
//! The windows of the gathered product would be short and its blocks of rows nearly empty. Here
//! lanes are neighbouring windows of a group's channels, which are copied with their border.

use alloc::vec::Vec;
use core::ops::Range;

use super::border::Border;
use super::geometry::Geometry;
use super::scratch::Scratch;
use crate::kernels::lanes::Lanes;
use crate::kernels::windows::{REACH, Windows};
use crate::kernels::{BLOCK, Target, Work, float};

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
        let plane = Border::new(geometry).plane();
        let Scratch { budget, floats, offsets, .. } = scratch;
        budget.grow(floats, self.channels * plane + REACH, 0.0);
        budget.grow(offsets, self.channels * geometry.taps(), 0);
    }

    /// Convolves a batch item x `[channel][height][width]` to some of its output channels, `rows`,
    /// out `[output channel][height][width]`, and adds a bias of an output channel each.
    pub(super) fn convolve(
        &self,
        geometry: &Geometry,
        x: &[f32],
        rows: Range<usize>,
        bias: Option<&[f32]>,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        if out.is_empty() {
            return;
        }
        self.reserve(geometry, scratch);
        let border = Border::new(geometry);
        let plane = border.plane();
        let cols = self.channels * geometry.taps();
        let offsets = &mut scratch.offsets[..cols];
        for (at, offset) in offsets.iter_mut().enumerate() {
            let (position, channel) = (at / self.channels, at % self.channels);
            let tap = [position / geometry.kernel[1], position % geometry.kernel[1]];
            *offset = channel * plane + border.offset(tap);
        }
        let copy = &mut scratch.floats[..self.channels * plane + REACH];
        // The border, which has the same place in all groups.
        copy.fill(0.0);
        self.target.run(Product {
            direct: self,
            geometry,
            border,
            offsets,
            rows,
            x,
            copy,
            bias,
            out,
        });
    }
}

/// A product of the windows of each group with its rows.
struct Product<'a> {
    direct: &'a Direct,
    geometry: &'a Geometry,
    border: Border,
    offsets: &'a [usize],
    rows: Range<usize>,
    x: &'a [f32],
    /// The channels of a group with their border.
    copy: &'a mut [f32],
    bias: Option<&'a [f32]>,
    out: &'a mut [f32],
}

impl Work for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Product { direct, geometry, border, offsets, rows, x, copy, bias, out } = self;
        let (channels, cols) = (direct.channels, offsets.len());
        let square = channels == 1
            && geometry.kernel[0] == geometry.kernel[1]
            && geometry.strides == [1; 2]
            && geometry.dilations == [1; 2];
        let size = geometry.input[0] * geometry.input[1];
        let each = direct.rows / direct.groups;
        let mut row = rows.start;
        while row < rows.end {
            let group = row / each;
            let end = rows.end.min((group + 1) * each);
            let planes = copy.chunks_exact_mut(border.plane()).take(channels);
            for (channel, copy) in planes.enumerate() {
                let channel = group * channels + channel;
                border.copy(&x[channel * size..][..size], copy);
            }
            let windows = Windows {
                weights: &direct.weights[row * cols..end * cols],
                offsets,
                square,
                x: copy,
                pitch: border.pitch(),
                grid: geometry.output,
                bias: bias.map(|bias| &bias[row..end]),
                out: &mut out[(row - rows.start) * geometry.positions()..],
            };
            windows.run(lanes);
            row = end;
        }
    }
}
