//! Float products of windows that lie side by side: lanes are neighbouring windows of a row.
//!
//! Each result is one chain, `fma(w_j, x_j, sum)` over the columns in ascending order from +0.

use super::lanes::Lanes;
use super::{Target, Work};

/// Windows that lanes hold.
pub(crate) const LANES: usize = 16;

/// A product of each window with the same rows of weights.
pub(crate) struct Windows<'a> {
    /// `[row][column]`
    pub(crate) weights: &'a [f32],
    /// Where window 0 reads for each column.
    pub(crate) offsets: &'a [usize],
    /// Window (i, j) reads `i * pitch + j` behind window 0, and [`LANES`] elements from there may be
    /// read too.
    pub(crate) x: &'a [f32],
    pub(crate) pitch: usize,
    /// Height and width of the windows' grid; neither is 0.
    pub(crate) grid: [usize; 2],
    /// `[row][grid row][grid column]`
    pub(crate) out: &'a mut [f32],
}

impl Windows<'_> {
    /// Computes all of `out`.
    pub(crate) fn multiply(self, target: Target) {
        target.run(self);
    }
}

impl Work for Windows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        // Weights are read once for all windows of a call, windows once for all its rows.
        if self.weights.len() == self.offsets.len() {
            self.multiply_by::<L, 1, 4>(lanes);
        } else if L::MANY_REGISTERS {
            self.multiply_by::<L, 4, 4>(lanes);
        } else {
            self.multiply_by::<L, 2, 2>(lanes);
        }
    }
}

impl Windows<'_> {
    /// Takes `R` rows and `P` places at a time, then what is left of each by itself. A place holds
    /// [`LANES`] windows of a grid row, the last of a row moved back so that it ends with it.
    #[inline(always)]
    fn multiply_by<L: Lanes, const R: usize, const P: usize>(&mut self, lanes: L) {
        let [height, width] = self.grid;
        let across = width.div_ceil(LANES);
        let pitch = self.pitch;
        // Where the next place reads and writes, from its grid row and its number there.
        let (mut row, mut part) = (0, 0);
        let mut next = || {
            let column = (part * LANES).min(width.saturating_sub(LANES));
            let place = (row * pitch + column, row * width + column);
            part += 1;
            if part == across {
                (row, part) = (row + 1, 0);
            }
            place
        };
        let places = height * across;
        for _ in 0..places / P {
            let (mut from, mut to) = ([0; P], [0; P]);
            for p in 0..P {
                (from[p], to[p]) = next();
            }
            self.multiply_rows::<L, R, P>(lanes, from, to);
        }
        for _ in 0..places % P {
            let (from, to) = next();
            self.multiply_rows::<L, R, 1>(lanes, [from], [to]);
        }
    }

    /// All rows of weights with the windows at `P` places.
    #[inline(always)]
    fn multiply_rows<L: Lanes, const R: usize, const P: usize>(
        &mut self,
        lanes: L,
        from: [usize; P],
        to: [usize; P],
    ) {
        let cols = self.offsets.len();
        let mut out = self.out.chunks_exact_mut(self.grid[0] * self.grid[1]);
        let mut rows = self.weights;
        while let Some((weights, rest)) = rows.split_at_checked(R * cols) {
            let weights: [&[f32]; R] = core::array::from_fn(|r| &weights[r * cols..][..cols]);
            let sums = dot(lanes, weights, self.offsets, self.x, from);
            for (out, sums) in out.by_ref().take(R).zip(sums) {
                write(lanes, out, to, sums);
            }
            rows = rest;
        }
        for (weights, out) in rows.chunks_exact(cols).zip(out) {
            let [sums] = dot(lanes, [weights], self.offsets, self.x, from);
            write(lanes, out, to, sums);
        }
    }
}

#[inline(always)]
fn dot<L: Lanes, const R: usize, const P: usize>(
    lanes: L,
    weights: [&[f32]; R],
    offsets: &[usize],
    x: &[f32],
    from: [usize; P],
) -> [[L::F; P]; R] {
    let mut sums = [[lanes.splat(0.0); P]; R];
    for (j, &offset) in offsets.iter().enumerate() {
        let mut windows = [lanes.splat(0.0); P];
        for p in 0..P {
            if let Some(x) = x[offset + from[p]..].first_chunk() {
                windows[p] = lanes.load(x);
            }
        }
        for r in 0..R {
            let weight = lanes.splat(weights[r][j]);
            for p in 0..P {
                sums[r][p] = lanes.fma(weight, windows[p], sums[r][p]);
            }
        }
    }
    sums
}

/// Writes results in ascending order: what a place has beyond its row of the grid, the next rows
/// write over.
#[inline(always)]
fn write<L: Lanes, const P: usize>(lanes: L, out: &mut [f32], to: [usize; P], sums: [L::F; P]) {
    for p in 0..P {
        let sums = lanes.canonical(sums[p]);
        let to = &mut out[to[p]..];
        if let Some(to) = to.first_chunk_mut() {
            lanes.store(sums, to);
        } else {
            let mut values = [0.0; LANES];
            lanes.store(sums, &mut values);
            to.copy_from_slice(&values[..to.len()]);
        }
    }
}
