//! Float products of windows that are brought together in a panel: lanes are neighbouring windows.
//!
//! Each result is one chain, `fma(w_j, x_j, sum)` over the columns in ascending order from +0. A panel
//! holds some of the columns; the next one goes on from the sums so far.

use core::ops::Range;

use super::float::{BLOCKS, Column, Weights};
use super::lanes::Lanes;
use super::{BLOCK, Target, Work};

/// Windows that lanes hold.
pub(crate) const LANES: usize = 16;

/// Places of a panel, of [`LANES`] windows each.
pub(crate) const PLACES: usize = 3;

/// Windows that are so few that rows fill lanes better.
pub(crate) const TAIL: usize = 4;

/// Results at the edges of planes, on their way: of the rows and windows of a tile.
const EDGE: usize = 8 * PLACES * LANES;

/// A column of a panel.
pub(crate) type Places = [[f32; LANES]; PLACES];

/// A product of the windows of a panel with rows of weights.
pub(crate) struct Panel<'a> {
    pub(crate) weights: &'a Weights,
    /// The blocks of rows that are computed; the first is written to row 0.
    pub(crate) blocks: Range<usize>,
    /// The first column that the panel holds; before it stand those of earlier panels.
    pub(crate) column: usize,
    /// Those columns.
    pub(crate) x: &'a [Places],
    /// Windows that there are, at most those of all places.
    pub(crate) windows: usize,
    /// What is added to the results of each row of the weights.
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) rows: usize,
    pub(crate) row_stride: usize,
    /// Row r of window v is at `r * row_stride + v`.
    pub(crate) out: &'a mut [f32],
}

impl Panel<'_> {
    /// Adds the products with the columns of the panel to `out`.
    pub(crate) fn multiply(self, target: Target) {
        target.run(self);
    }
}

impl Work for Panel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        let mut edge = [0.0; EDGE];
        for block in self.blocks.clone() {
            let Weights { taps, columns, lines } = self.weights;
            let cols = taps * columns;
            let first = block - block % BLOCKS;
            let together = (lines.len() / cols - first).min(BLOCKS);
            let lines = &lines[first * cols + self.column * together..];
            match together {
                4 => self.block::<L, 4>(lanes, lines, block, &mut edge),
                3 => self.block::<L, 3>(lanes, lines, block, &mut edge),
                2 => self.block::<L, 2>(lanes, lines, block, &mut edge),
                _ => self.block::<L, 1>(lanes, lines, block, &mut edge),
            }
        }
    }
}

impl Panel<'_> {
    /// All windows and a block of `T` whose lines lie together, from the panel's first column on.
    #[inline(always)]
    fn block<L: Lanes, const T: usize>(
        &mut self,
        lanes: L,
        lines: &[Column],
        block: usize,
        edge: &mut [f32; EDGE],
    ) {
        let lines = lines.as_chunks::<T>().0;
        if self.windows == 1 {
            return self.tail::<L, T, 1>(lanes, lines, block);
        } else if self.windows <= TAIL {
            return self.tail::<L, T, TAIL>(lanes, lines, block);
        }
        let places = self.windows.div_ceil(LANES);
        if !L::MANY_REGISTERS {
            for place in 0..places {
                self.tile::<L, T, 0, 6, 1>(lanes, lines, block, place, edge);
                self.tile::<L, T, 6, 6, 1>(lanes, lines, block, place, edge);
                self.tile::<L, T, 12, 4, 1>(lanes, lines, block, place, edge);
            }
            return;
        }
        match places {
            3 => self.halves::<L, T, 3>(lanes, lines, block, edge),
            2 => self.halves::<L, T, 2>(lanes, lines, block, edge),
            _ => self.halves::<L, T, 1>(lanes, lines, block, edge),
        }
    }

    #[inline(always)]
    fn halves<L: Lanes, const T: usize, const P: usize>(
        &mut self,
        lanes: L,
        lines: &[[Column; T]],
        block: usize,
        edge: &mut [f32; EDGE],
    ) {
        self.tile::<L, T, 0, 8, P>(lanes, lines, block, 0, edge);
        self.tile::<L, T, 8, 8, P>(lanes, lines, block, 0, edge);
    }

    /// At most `W` windows: lanes are the rows of a block.
    #[inline(always)]
    fn tail<L: Lanes, const T: usize, const W: usize>(
        &mut self,
        lanes: L,
        lines: &[[Column; T]],
        block: usize,
    ) {
        let first = (block - self.blocks.start) * BLOCK;
        let rows = BLOCK.min(self.rows - first);
        let mut values = [[0.0; BLOCK]; W];
        if self.column > 0 {
            for (v, values) in values[..self.windows].iter_mut().enumerate() {
                for (r, value) in values[..rows].iter_mut().enumerate() {
                    *value = self.out[(first + r) * self.row_stride + v];
                }
            }
        }
        let mut sums = [lanes.splat(0.0); W];
        for (sum, values) in sums.iter_mut().zip(&values) {
            *sum = lanes.load(values);
        }
        for (lines, [x, ..]) in lines.iter().zip(self.x) {
            let weights = lanes.load(&lines[block % BLOCKS].0);
            for w in 0..W {
                sums[w] = lanes.fma(weights, lanes.splat(x[w]), sums[w]);
            }
        }
        if self.is_last() {
            let mut bias = [-0.0; BLOCK];
            if let Some(all) = self.bias {
                bias[..rows].copy_from_slice(&all[block * BLOCK..][..rows]);
            }
            let bias = lanes.load(&bias);
            for sum in &mut sums {
                *sum = lanes.canonical(lanes.add(*sum, bias));
            }
        }
        for (sum, values) in sums.iter().zip(&mut values) {
            lanes.store(*sum, values);
        }
        for (v, values) in values[..self.windows].iter().enumerate() {
            for (r, value) in values[..rows].iter().enumerate() {
                self.out[(first + r) * self.row_stride + v] = *value;
            }
        }
    }

    /// Whether the panel holds the last column.
    #[inline(always)]
    fn is_last(&self) -> bool {
        self.column + self.x.len() == self.weights.taps * self.weights.columns
    }

    /// Bytes from the lines of a block to those of the next.
    #[inline(always)]
    fn ahead(&self, block: usize) -> usize {
        let cols = self.weights.taps * self.weights.columns;
        let others = BLOCKS - 1;
        size_of::<Column>() * if block % BLOCKS < others { 1 } else { BLOCKS * cols - others }
    }

    /// `R` rows of a block from number `FIRST` on, and `P` places from `place` on.
    #[inline(always)]
    fn tile<L: Lanes, const T: usize, const FIRST: usize, const R: usize, const P: usize>(
        &mut self,
        lanes: L,
        lines: &[[Column; T]],
        block: usize,
        place: usize,
        edge: &mut [f32; EDGE],
    ) {
        let row = (block - self.blocks.start) * BLOCK + FIRST;
        if row >= self.rows {
            return;
        }
        let rows = R.min(self.rows - row);
        let windows = (self.windows - place * LANES).min(P * LANES);
        let whole = rows == R && windows == P * LANES;
        let (first, last) = (self.column == 0, self.is_last());
        let bias: [f32; R] = core::array::from_fn(|r| {
            let bias = self.bias.and_then(|bias| bias.get(block * BLOCK + FIRST + r));
            // Else what changes nothing.
            bias.copied().unwrap_or(-0.0)
        });
        let ahead = self.ahead(block);
        let stride = self.row_stride;
        let out = &mut self.out[row * stride + place * LANES..];
        if !whole && !first {
            let to = edge.chunks_exact_mut(P * LANES).take(rows);
            for (to, from) in to.zip(out.chunks(stride)) {
                to[..windows].copy_from_slice(&from[..windows]);
            }
        }
        let mut to = if whole { out.chunks_mut(stride) } else { edge.chunks_mut(P * LANES) };
        let mut to: [Option<&mut [[f32; LANES]; P]>; R] = core::array::from_fn(|_| {
            to.next().and_then(|to| to.as_chunks_mut().0.first_chunk_mut())
        });
        let mut sums = [[lanes.splat(0.0); P]; R];
        if !first {
            for (sums, from) in sums.iter_mut().zip(&to) {
                let Some(from) = from else { continue };
                for (sum, from) in sums.iter_mut().zip(from.iter()) {
                    *sum = lanes.load(from);
                }
            }
        }
        for (lines, x) in lines.iter().zip(self.x) {
            let line = &lines[block % BLOCKS];
            if FIRST == 0 && place == 0 {
                lanes.prefetch(core::ptr::from_ref(line).cast::<u8>().wrapping_add(ahead));
            }
            let x = &x[place..place + P];
            let mut windows = [lanes.splat(0.0); P];
            for p in 0..P {
                windows[p] = lanes.load(&x[p]);
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let weight = lanes.splat(line.0[FIRST + r]);
                for p in 0..P {
                    sums[p] = lanes.fma(weight, windows[p], sums[p]);
                }
            }
        }
        if last {
            for (sums, bias) in sums.iter_mut().zip(bias) {
                for sum in sums {
                    *sum = lanes.canonical(lanes.add(*sum, lanes.splat(bias)));
                }
            }
        }
        for (to, sums) in to.iter_mut().zip(sums) {
            let Some(to) = to else { continue };
            for (to, sum) in to.iter_mut().zip(sums) {
                lanes.store(sum, to);
            }
        }
        if !whole {
            let from = edge.chunks_exact(P * LANES).take(rows);
            for (to, from) in out.chunks_mut(stride).zip(from) {
                to[..windows].copy_from_slice(&from[..windows]);
            }
        }
    }
}
