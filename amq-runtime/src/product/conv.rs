//! Convolutions with constant weights.
//!
//! A pixel, the channels of one group at one place of the input, is coded once and met by all windows
//! that hold it. Rows of the input are coded as the windows reach them, into a ring of rows.

use alloc::vec::Vec;
use core::ops::Range;

use amq_format::graph::Activations;

use super::direct::Direct;
use super::geometry::{Geometry, Portion};
use super::matrix::{Matrix, Packer, VECTORS};
use super::pack::Weights;
use super::panels;
use super::scratch::Scratch;
use super::source::{MatrixSource, PackError};
use crate::kernels::{BLOCK, Output};

/// Bytes that coded pixels may take, so that they stay in the second cache, if a row of windows needs
/// no more.
const BAND: usize = 256 << 10;

/// Pixels that are brought together before they are coded.
const PIXELS: usize = VECTORS;

/// Places of windows that are kept, if one window has no more.
const PLACES: usize = 16 << 10;

/// Packed weights of a convolution.
#[derive(Debug)]
pub(crate) enum ConvMatrix {
    /// A matrix for each group.
    Groups(Vec<Matrix>),
    Direct(Direct),
}

/// How much of the work is done at a time.
struct Band {
    /// Rows of windows whose input rows are held together.
    rows: usize,
    /// Input rows that are held.
    held: usize,
    /// Windows that are multiplied together.
    windows: usize,
}

impl ConvMatrix {
    /// Packs a matrix `[output channel][kernel row, kernel column, channel of the group]` for a
    /// convolution in `groups` groups with a kernel of `taps` positions.
    pub(crate) fn pack(
        source: &MatrixSource<'_>,
        groups: usize,
        taps: usize,
        activations: Activations,
        packer: Packer<'_>,
    ) -> Result<ConvMatrix, PackError> {
        source.check()?;
        let rows = source.shape().0;
        if groups == 0 || !rows.is_multiple_of(groups) {
            return Err(PackError::Groups { rows, groups });
        }
        let (all, rows) = (rows, rows / groups);
        if Direct::suits(source.shape().1 / taps.max(1), rows) {
            // Decoded kernels are small.
            let source = &source.loaded();
            let matrix = Matrix::pack_taps(source, 0..all, taps, activations, packer)?;
            if let Weights::Float(weights) = &matrix.weights {
                return Ok(ConvMatrix::Direct(Direct::new(weights, all, groups, packer.target)));
            }
        }
        let groups = (0..groups).map(|group| {
            let rows = group * rows..(group + 1) * rows;
            Matrix::pack_taps(source, rows, taps, activations, packer)
        });
        Ok(ConvMatrix::Groups(groups.collect::<Result<_, _>>()?))
    }

    /// Groups, and rows and columns of each.
    pub(super) fn shape(&self) -> [usize; 3] {
        match self {
            ConvMatrix::Direct(direct) => direct.shape(),
            ConvMatrix::Groups(groups) => {
                groups.first().map_or([0; 3], |matrix| [groups.len(), matrix.rows, matrix.cols])
            }
        }
    }

    /// Grows the scratch of one of so many workers so that it can hold its part of the results.
    pub(crate) fn reserve_part(&self, geometry: &Geometry, workers: usize, scratch: &mut Scratch) {
        let ConvMatrix::Groups(groups) = self else { return };
        if let [matrix] = groups.as_slice()
            && geometry.divides(workers)
        {
            let most = geometry.windows(&(0..geometry.lines().div_ceil(workers))).len();
            let Scratch { budget, results, .. } = scratch;
            budget.grow(results, matrix.rows.saturating_mul(most), 0.0);
        }
    }

    /// Grows the scratch so that `convolve` allocates nothing.
    pub(crate) fn reserve(&self, geometry: &Geometry, scratch: &mut Scratch) {
        let groups = match self {
            ConvMatrix::Direct(direct) => return direct.reserve(geometry, scratch),
            ConvMatrix::Groups(groups) => groups,
        };
        let Some(matrix) = groups.first() else { return };
        if matrix.cols == 0 || geometry.positions() == 0 {
            return;
        }
        matrix.reserve_rows(scratch);
        if let Weights::Float(weights) = &matrix.weights
            && panels::suits(geometry)
        {
            return panels::reserve(weights, geometry, scratch);
        }
        let band = Band::new(matrix, geometry);
        matrix.grow(band.held * geometry.input[1] + 1, scratch);
        let columns = matrix.cols / geometry.taps();
        let Scratch { budget, pixels, places, .. } = scratch;
        budget.grow(pixels, PIXELS.min(geometry.input[1]) * columns, 0.0);
        budget.grow(places, band.windows * geometry.taps(), 0);
    }

    /// Convolves one batch item x `[channel][height][width]` to out `[output channel][height][width]`
    /// and adds a bias of an output channel each. The rows' columns must be those of the kernel's positions, of the channels of a group each.
    pub(crate) fn convolve(
        &self,
        geometry: &Geometry,
        x: &[f32],
        bias: Option<&[f32]>,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let positions = geometry.positions();
        debug_assert_eq!(x.len(), geometry.channels * geometry.input[0] * geometry.input[1]);
        let groups = match self {
            ConvMatrix::Direct(direct) => {
                return direct.convolve(geometry, x, 0..direct.rows(), bias, out, scratch);
            }
            ConvMatrix::Groups(groups) => groups,
        };
        let Some(first) = groups.first() else { return };
        let channels = geometry.channels / groups.len();
        debug_assert_eq!(first.cols, channels * geometry.taps());
        debug_assert_eq!(out.len(), groups.len() * first.rows * positions);
        if out.is_empty() || first.cols == 0 {
            out.fill(0.0);
            return;
        }
        self.reserve(geometry, scratch);
        let plane = geometry.input[0] * geometry.input[1];
        let outs = out.chunks_exact_mut(first.rows * positions);
        for (group, (matrix, out)) in groups.iter().zip(outs).enumerate() {
            let x = &x[group * channels * plane..][..channels * plane];
            let bias = bias.map(|bias| &bias[group * first.rows..][..first.rows]);
            matrix.convolve(geometry, x, matrix.whole(geometry), bias, out, scratch);
        }
    }
}

impl Band {
    fn new(matrix: &Matrix, geometry: &Geometry) -> Band {
        let row = matrix.place_bytes().saturating_mul(geometry.input[1]);
        // Windows of later rows reach no more rows than the middle ones, but for the border.
        let held = |rows: usize| {
            let [stride, dilation] = [geometry.strides[0], geometry.dilations[0]];
            let reach = (rows - 1) * stride + (geometry.kernel[0] - 1) * dilation + 1;
            reach.min(geometry.input[0])
        };
        let mut rows = 1;
        while rows < geometry.output[0] && held(rows + 1).saturating_mul(row) <= BAND {
            rows += 1;
        }
        let windows = rows.saturating_mul(geometry.output[1]);
        let windows = windows.min((PLACES / geometry.taps()).max(1));
        Band { rows, held: held(rows), windows }
    }
}

impl Matrix {
    /// Bytes that a coded pixel takes, about.
    fn place_bytes(&self) -> usize {
        match &self.weights {
            Weights::Float(weights) => 4 * weights.columns,
            Weights::Codes { weights, codes, .. } => 8 * codes * weights.layout.pairs(),
            Weights::Tables { weights, parts } => 128 * parts * weights.layout.words(),
        }
    }

    /// All results.
    pub(super) fn whole(&self, geometry: &Geometry) -> Portion {
        let (lines, blocks) = (0..geometry.lines(), 0..self.blocks());
        Portion { lines, blocks, stride: geometry.positions() }
    }

    /// Convolves the channels x `[channel][height][width]` of one group to a part of its results, of
    /// which the first goes to the first of out, and adds a bias of a row of the weights each.
    pub(super) fn convolve(
        &self,
        geometry: &Geometry,
        x: &[f32],
        part: Portion,
        bias: Option<&[f32]>,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        if let Weights::Float(weights) = &self.weights
            && panels::suits(geometry)
        {
            let target = self.target;
            let (Some(in_file), Some(mut unpacked)) = (&self.in_file, scratch.unpacked.take())
            else {
                return panels::convolve(weights, geometry, x, part, bias, out, scratch, target);
            };
            let (blocks, together) = (part.blocks.clone(), self.blocks_together());
            in_file.unpack(blocks, together, target, &mut unpacked, |weights, blocks| {
                let Weights::Float(weights) = weights else { return };
                let first = (blocks.start - part.blocks.start) * BLOCK;
                let out = &mut out[first * part.stride..];
                let bias = bias.map(|bias| &bias[blocks.start * BLOCK..]);
                let part = Portion { blocks: 0..blocks.len(), ..part.clone() };
                panels::convolve(weights, geometry, x, part, bias, out, scratch, target);
            });
            scratch.unpacked = Some(unpacked);
            return;
        }
        let mut unpacked = scratch.unpacked.take();
        let Portion { lines, blocks, stride } = part;
        let band = Band::new(self, geometry);
        let (width, taps) = (geometry.output[1], geometry.taps());
        let all = geometry.windows(&lines);
        let (rows, columns) =
            if geometry.output[0] > 1 { (lines, 0..width) } else { (0..1, lines) };
        let pixels = geometry.reached(1, &columns);
        self.clear(band.held * geometry.input[1], scratch);
        let mut coded = 0;
        for top in rows.clone().step_by(band.rows) {
            let rows = top..rows.end.min(top + band.rows);
            let reached = geometry.reached(0, &rows);
            for row in coded.max(reached.start)..reached.end {
                self.code_row(geometry, row, pixels.clone(), band.held, x, scratch);
            }
            coded = coded.max(reached.end);
            let end = (rows.end * width).min(all.end);
            for first in ((rows.start * width).max(all.start)..end).step_by(band.windows) {
                let windows = first..end.min(first + band.windows);
                let places = scratch.places.chunks_exact_mut(taps);
                for (position, places) in windows.clone().zip(places) {
                    geometry.window(position, band.held, places);
                }
                let out = Output {
                    rows: out.len().div_ceil(stride),
                    data: &mut out[first - all.start..],
                    row_stride: stride,
                    vector_stride: 1,
                    bias,
                    blocks: blocks.clone(),
                    order: scratch.order,
                };
                let unpacked = unpacked.as_deref_mut();
                self.product(&scratch.floats, windows.len(), out, scratch, unpacked);
            }
        }
        scratch.unpacked = unpacked;
    }

    /// Codes some pixels of an input row, to their places in the ring.
    fn code_row(
        &self,
        geometry: &Geometry,
        row: usize,
        across: Range<usize>,
        held: usize,
        x: &[f32],
        scratch: &mut Scratch,
    ) {
        let [height, width] = geometry.input;
        let columns = self.cols / geometry.taps();
        let place = row % held * width;
        if across.is_empty() {
            return;
        }
        if matches!(self.weights, Weights::Float(_)) {
            let to = &mut scratch.floats[(place + across.start) * columns..];
            let to = &mut to[..across.len() * columns];
            self.target.vectorize(
                #[inline(always)]
                || bring_together(x, height, row, across, width, to),
            );
            return;
        }
        let mut pixels = core::mem::take(&mut scratch.pixels);
        for first in across.clone().step_by(PIXELS) {
            let part = first..across.end.min(first + PIXELS);
            let to = &mut pixels[..part.len() * columns];
            self.target.vectorize(
                #[inline(always)]
                || bring_together(x, height, row, part, width, to),
            );
            self.code(to, place + first, scratch);
        }
        scratch.pixels = pixels;
    }
}

/// Writes pixels of a row of x `[channel][height][width]` to `[pixel][channel]`.
#[inline(always)]
fn bring_together(
    x: &[f32],
    height: usize,
    row: usize,
    pixels: Range<usize>,
    width: usize,
    to: &mut [f32],
) {
    let channels = to.len() / pixels.len();
    let line = |channel: usize| &x[(channel * height + row) * width..][pixels.start..pixels.end];
    // Four channels together are written at once.
    let fours = channels / 4 * 4;
    for channel in (0..fours).step_by(4) {
        let lines: [&[f32]; 4] = core::array::from_fn(|i| line(channel + i));
        for (i, pixel) in to.chunks_exact_mut(channels).enumerate() {
            if let Some(pixel) = pixel[channel..].first_chunk_mut::<4>() {
                *pixel = lines.map(|line| line[i]);
            }
        }
    }
    for channel in fours..channels {
        for (x, pixel) in line(channel).iter().zip(to.chunks_exact_mut(channels)) {
            pixel[channel] = *x;
        }
    }
}

#[cfg(test)]
mod tests;
