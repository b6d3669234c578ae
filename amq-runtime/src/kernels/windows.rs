//! Float products of windows that lie side by side: lanes are neighbouring windows of a row.
//!
//! Each result is one chain, `fma(w_j, x_j, sum)` over the columns in ascending order from +0.

use super::Work;
use super::lanes::Lanes;

/// Windows that lanes hold.
const LANES: usize = 16;

/// Elements from a place on that may be read, whether they are used or not.
pub(crate) const REACH: usize = 32;

/// Rows of the grid that slide over their input together.
const SLIDE: usize = 4;

/// A product of each window with the same rows of weights.
pub(crate) struct Windows<'a> {
    /// `[row][column]`
    pub(crate) weights: &'a [f32],
    /// Where window 0 reads for each column.
    pub(crate) offsets: &'a [usize],
    /// Whether the columns are those of a square whose rows are `pitch` elements apart.
    pub(crate) square: bool,
    /// Window (i, j) reads `i * pitch + j` behind window 0, and [`REACH`] elements from there are
    /// there.
    pub(crate) x: &'a [f32],
    pub(crate) pitch: usize,
    /// Height and width of the windows' grid; neither is 0.
    pub(crate) grid: [usize; 2],
    /// What is added to the results of each row of weights.
    pub(crate) bias: Option<&'a [f32]>,
    /// `[row][grid row][grid column]`; what stands behind these results may be overwritten.
    pub(crate) out: &'a mut [f32],
}

impl Work for Windows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        // Weights are read once for all windows of a call, windows once for all its rows.
        let one = self.weights.len() == self.offsets.len();
        match (one, self.square, self.offsets.len()) {
            (true, true, 9) => self.slide::<L, 3>(lanes),
            (true, true, 25) => self.slide::<L, 5>(lanes),
            (true, ..) => self.multiply_by::<L, 1, 4>(lanes),
            _ if L::MANY_REGISTERS => self.multiply_by::<L, 4, 4>(lanes),
            _ => self.multiply_by::<L, 4, 1>(lanes),
        }
    }
}

impl Windows<'_> {
    /// One row of weights, a square of `K` by `K`: each element is read once for all the windows of
    /// some rows of the grid that hold it.
    #[inline(always)]
    fn slide<L: Lanes, const K: usize>(&mut self, lanes: L) {
        let [height, width] = self.grid;
        let mut weights = [[lanes.splat(0.0); K]; K];
        for (to, weights) in weights.iter_mut().zip(self.weights.chunks_exact(K)) {
            for (to, weight) in to.iter_mut().zip(weights) {
                *to = lanes.splat(*weight);
            }
        }
        for column in (0..width).step_by(LANES) {
            let column = column.min(width.saturating_sub(LANES));
            if height < SLIDE {
                for row in 0..height {
                    self.slide_rows::<L, K, 1>(lanes, &weights, row, column);
                }
                continue;
            }
            for row in (0..height).step_by(SLIDE) {
                let row = row.min(height - SLIDE);
                self.slide_rows::<L, K, SLIDE>(lanes, &weights, row, column);
            }
        }
    }

    /// The windows from a column of the grid on, of `R` rows from `row` on.
    #[inline(always)]
    fn slide_rows<L: Lanes, const K: usize, const R: usize>(
        &mut self,
        lanes: L,
        weights: &[[L::F; K]; K],
        row: usize,
        column: usize,
    ) {
        let from = row * self.pitch + column;
        let mut sums = [lanes.splat(0.0); R];
        // Each sum meets its elements in the order of the columns.
        for i in 0..R + K - 1 {
            let x: Option<&[f32; LANES + 8]> = self.x[from + i * self.pitch..].first_chunk();
            let Some(x) = x else { return };
            for j in 0..K {
                let Some(x) = x[j..].first_chunk() else { return };
                let x = lanes.load(x);
                for r in 0..R {
                    if i >= r && i < r + K {
                        sums[r] = lanes.fma(weights[i - r][j], x, sums[r]);
                    }
                }
            }
        }
        let width = self.grid[1];
        let to = core::array::from_fn(|r| (row + r) * width + column);
        write::<L, R>(lanes, self.out, to, sums, self.bias.map(|bias| bias[0]));
    }

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
        let mut row = 0;
        while let Some((weights, rest)) = rows.split_at_checked(R * cols) {
            let weights: [&[f32]; R] = core::array::from_fn(|r| &weights[r * cols..][..cols]);
            let sums = dot(lanes, weights, self.offsets, self.x, from);
            for (out, sums) in out.by_ref().take(R).zip(sums) {
                write(lanes, out, to, sums, self.bias.map(|bias| bias[row]));
                row += 1;
            }
            rows = rest;
        }
        for (weights, out) in rows.chunks_exact(cols).zip(out) {
            let [sums] = dot(lanes, [weights], self.offsets, self.x, from);
            write(lanes, out, to, sums, self.bias.map(|bias| bias[row]));
            row += 1;
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

/// Writes results with their bias in ascending order: what a place has beyond its row of the grid,
/// the next rows write over.
#[inline(always)]
fn write<L: Lanes, const P: usize>(
    lanes: L,
    out: &mut [f32],
    to: [usize; P],
    sums: [L::F; P],
    bias: Option<f32>,
) {
    for p in 0..P {
        let sums = match bias {
            Some(bias) => lanes.add(sums[p], lanes.splat(bias)),
            None => sums[p],
        };
        let sums = lanes.canonical(sums);
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
