//! Products whose rows, vectors or windows are shared among workers. Each result is computed as it
//! would be alone, so results do not depend on how the work is divided.

use core::ops::Range;

use super::conv::ConvMatrix;
use super::direct::Direct;
use super::geometry::{Geometry, Portion};
use super::hands::Hands;
use super::matrix::Matrix;
use super::scratch::Scratch;
use crate::kernels::{BLOCK, Output};
use crate::workers::Workers;

impl Matrix {
    /// As [`Matrix::multiply`]: several vectors are divided, of one the rows.
    pub(crate) fn share(
        &self,
        x: &[f32],
        vectors: usize,
        bias: Option<&[f32]>,
        out: &mut [f32],
        hands: &mut Hands<'_>,
    ) {
        let parts = hands.parts(vectors.saturating_mul(self.rows).saturating_mul(self.cols));
        // Rows that stay in the file are packed in memory of one worker.
        if parts == 1 || vectors == 1 && self.in_file.is_some() {
            return self.multiply(x, vectors, bias, out, hands.scratch);
        }
        if vectors == 1 {
            self.code_one(x, hands.scratch);
            let scratch = &*hands.scratch;
            return self.share_rows(x, 0..self.blocks(), bias, out, scratch, hands.workers, parts);
        }
        // In proportion to the workers.
        let helpers = parts / 2;
        let count = vectors - vectors * helpers / parts;
        let (x, later_x) = x.split_at(count * self.cols);
        let (out, later_out) = out.split_at_mut(count * self.rows);
        hands.join(
            helpers,
            |mut hands| self.share(x, count, bias, out, &mut hands),
            |mut hands| self.share(later_x, vectors - count, bias, later_out, &mut hands),
        );
    }

    /// Multiplies a vector that is coded with some blocks of rows.
    #[expect(clippy::too_many_arguments, reason = "what one product is, and who does it")]
    fn share_rows(
        &self,
        x: &[f32],
        blocks: Range<usize>,
        bias: Option<&[f32]>,
        out: &mut [f32],
        scratch: &Scratch,
        workers: &dyn Workers,
        parts: usize,
    ) {
        let Some(middle) = self.middle(&blocks).filter(|_| parts > 1) else {
            let rows = out.len();
            let order = scratch.order;
            let out =
                Output { data: out, rows, row_stride: 1, vector_stride: rows, bias, blocks, order };
            return self.product(x, 1, out, scratch, None);
        };
        let (first, second) = out.split_at_mut((middle - blocks.start) * BLOCK);
        let helpers = parts / 2;
        workers.join(
            &mut || {
                let blocks = blocks.start..middle;
                self.share_rows(x, blocks, bias, first, scratch, workers, parts - helpers);
            },
            &mut || self.share_rows(x, middle..blocks.end, bias, second, scratch, workers, helpers),
        );
    }

    /// Where blocks are divided: those that lie together are not.
    fn middle(&self, blocks: &Range<usize>) -> Option<usize> {
        let middle = blocks.start + blocks.len() / 2;
        let middle = middle.next_multiple_of(self.blocks_together());
        (middle > blocks.start && middle < blocks.end).then_some(middle)
    }
}

impl ConvMatrix {
    /// Convolves batch items x `[item][channel][height][width]` as [`ConvMatrix::convolve`] does:
    /// items are divided, of one the groups, of one the windows, of few the output channels.
    pub(crate) fn share(
        &self,
        geometry: &Geometry,
        x: &[f32],
        bias: Option<&[f32]>,
        out: &mut [f32],
        hands: &mut Hands<'_>,
    ) {
        let positions = geometry.positions();
        let [groups, rows, columns] = self.shape();
        let item = groups * rows * positions;
        if out.is_empty() || columns == 0 {
            return out.fill(0.0);
        }
        let from = geometry.channels * geometry.input[0] * geometry.input[1];
        let items = out.len() / item;
        let parts = hands.parts(out.len().saturating_mul(columns));
        if parts == 1 {
            for (i, out) in out.chunks_exact_mut(item).enumerate() {
                self.convolve(geometry, &x[i * from..(i + 1) * from], bias, out, hands.scratch);
            }
            return;
        }
        if items == 1 {
            return match self {
                ConvMatrix::Direct(direct) => {
                    share_direct(direct, geometry, x, 0..direct.rows(), bias, out, hands);
                }
                ConvMatrix::Groups(groups) => {
                    self.reserve(geometry, hands.scratch);
                    share_groups(groups, geometry, x, bias, out, hands);
                }
            };
        }
        let helpers = parts / 2;
        let count = items - items * helpers / parts;
        let (x, later_x) = x.split_at(count * from);
        let (out, later_out) = out.split_at_mut(count * item);
        hands.join(
            helpers,
            |mut hands| self.share(geometry, x, bias, out, &mut hands),
            |mut hands| self.share(geometry, later_x, bias, later_out, &mut hands),
        );
    }
}

/// Convolves one item to some of its output channels, directly.
fn share_direct(
    direct: &Direct,
    geometry: &Geometry,
    x: &[f32],
    rows: Range<usize>,
    bias: Option<&[f32]>,
    out: &mut [f32],
    hands: &mut Hands<'_>,
) {
    let [_, _, columns] = direct.shape();
    let parts = hands.parts(out.len().saturating_mul(columns));
    if parts == 1 || rows.len() == 1 {
        return direct.convolve(geometry, x, rows, bias, out, hands.scratch);
    }
    let middle = rows.start + rows.len().div_ceil(2);
    let (out, later) = out.split_at_mut((middle - rows.start) * geometry.positions());
    hands.join(
        parts / 2,
        |mut hands| share_direct(direct, geometry, x, rows.start..middle, bias, out, &mut hands),
        |mut hands| share_direct(direct, geometry, x, middle..rows.end, bias, later, &mut hands),
    );
}

/// Convolves one item's channels of some groups.
fn share_groups(
    groups: &[Matrix],
    geometry: &Geometry,
    x: &[f32],
    bias: Option<&[f32]>,
    out: &mut [f32],
    hands: &mut Hands<'_>,
) {
    let Some(first) = groups.first() else { return };
    let parts = hands.parts(out.len().saturating_mul(first.cols));
    if groups.len() == 1 {
        let workers = hands.helpers.len() + 1;
        if parts == workers && geometry.divides(workers) {
            return first.share_windows(geometry, x, bias, out, hands);
        }
        return first.share_channels(geometry, x, 0..first.blocks(), bias, out, hands);
    }
    let each = first.rows * geometry.positions();
    let from = x.len() / groups.len();
    if parts == 1 {
        for (i, (matrix, out)) in groups.iter().zip(out.chunks_exact_mut(each)).enumerate() {
            let x = &x[i * from..(i + 1) * from];
            let bias = bias.map(|bias| &bias[i * first.rows..][..first.rows]);
            matrix.convolve(geometry, x, matrix.whole(geometry), bias, out, hands.scratch);
        }
        return;
    }
    let count = groups.len().div_ceil(2);
    let (groups, later) = groups.split_at(count);
    let (x, later_x) = x.split_at(count * from);
    let (out, later_out) = out.split_at_mut(count * each);
    let (bias, later_bias) = bias.map(|bias| bias.split_at(count * first.rows)).unzip();
    hands.join(
        parts / 2,
        |mut hands| share_groups(groups, geometry, x, bias, out, &mut hands),
        |mut hands| share_groups(later, geometry, later_x, later_bias, later_out, &mut hands),
    );
}

impl Matrix {
    /// Convolves the channels of one group to those output channels that are some blocks of rows.
    fn share_channels(
        &self,
        geometry: &Geometry,
        x: &[f32],
        blocks: Range<usize>,
        bias: Option<&[f32]>,
        out: &mut [f32],
        hands: &mut Hands<'_>,
    ) {
        let parts = hands.parts(out.len().saturating_mul(self.cols));
        let Some(middle) = self.middle(&blocks).filter(|_| parts > 1) else {
            let part = Portion { blocks, ..self.whole(geometry) };
            return self.convolve(geometry, x, part, bias, out, hands.scratch);
        };
        let rows = (middle - blocks.start) * BLOCK;
        let (out, later) = out.split_at_mut(rows * geometry.positions());
        hands.join(
            parts / 2,
            |mut hands| {
                self.share_channels(geometry, x, blocks.start..middle, bias, out, &mut hands)
            },
            |mut hands| {
                self.share_channels(geometry, x, middle..blocks.end, bias, later, &mut hands)
            },
        );
    }

    /// Convolves the channels of one group. Each worker has lines of windows, so that it codes only the
    /// pixels that they reach. Those of the helpers are put among the others in the end.
    fn share_windows(
        &self,
        geometry: &Geometry,
        x: &[f32],
        bias: Option<&[f32]>,
        out: &mut [f32],
        hands: &mut Hands<'_>,
    ) {
        let workers = hands.helpers.len() + 1;
        self.share_lines(geometry, x, 0..workers, workers, bias, Some(&mut *out), hands);
        let positions = geometry.positions();
        gather(out, 0..self.rows, positions, hands.helpers, hands.workers, workers);
    }

    /// The lines of some of `all` workers: of the first in out, of the others in their scratch.
    #[expect(clippy::too_many_arguments, reason = "what one convolution is, and who does it")]
    fn share_lines(
        &self,
        geometry: &Geometry,
        x: &[f32],
        workers: Range<usize>,
        all: usize,
        bias: Option<&[f32]>,
        out: Option<&mut [f32]>,
        hands: &mut Hands<'_>,
    ) {
        if workers.len() > 1 {
            let middle = workers.start + workers.len().div_ceil(2);
            let [first, second] = [workers.start..middle, middle..workers.end];
            return hands.join(
                second.len(),
                |mut hands| self.share_lines(geometry, x, first, all, bias, out, &mut hands),
                |mut hands| self.share_lines(geometry, x, second, all, bias, None, &mut hands),
            );
        }
        let start = |worker: usize| worker * geometry.lines() / all;
        let lines = start(workers.start)..start(workers.end);
        let windows = geometry.windows(&lines);
        let whole = self.whole(geometry);
        let scratch = &mut *hands.scratch;
        if let Some(out) = out {
            return self.convolve(geometry, x, Portion { lines, ..whole }, bias, out, scratch);
        }
        let mut results = core::mem::take(&mut scratch.results);
        let part = Portion { lines, stride: windows.len(), ..whole };
        let room = &mut results[..self.rows * windows.len()];
        self.convolve(geometry, x, part, bias, room, scratch);
        (scratch.results, scratch.windows) = (results, windows);
    }
}

/// Puts what helpers hold into some rows of the results `[row][window]`.
fn gather(
    out: &mut [f32],
    rows: Range<usize>,
    positions: usize,
    helpers: &[Scratch],
    workers: &dyn Workers,
    parts: usize,
) {
    if parts > 1 && rows.len() > 1 {
        let middle = rows.start + rows.len().div_ceil(2);
        let (first, second) = out.split_at_mut((middle - rows.start) * positions);
        return workers.join(
            &mut || {
                gather(first, rows.start..middle, positions, helpers, workers, parts - parts / 2)
            },
            &mut || gather(second, middle..rows.end, positions, helpers, workers, parts / 2),
        );
    }
    for (row, out) in rows.zip(out.chunks_exact_mut(positions)) {
        for Scratch { results, windows, .. } in helpers {
            let each = windows.len();
            out[windows.clone()].copy_from_slice(&results[row * each..][..each]);
        }
    }
}
