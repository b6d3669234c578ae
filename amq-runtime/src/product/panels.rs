//! Convolutions in float whose windows are brought together in panels.
//!
//! A panel holds neighbouring windows, their elements of a column side by side, so that nothing is
//! turned around: neither the input nor the results, whose channels are planes.

use core::ops::Range;

use super::border::Border;
use super::geometry::{Geometry, Portion};
use super::scratch::Scratch;
use crate::kernels::panels::{LANES, PLACES, Panel, TAIL};
use crate::kernels::windows::REACH;
use crate::kernels::{BLOCK, Target, float};

/// Windows of a panel.
const WINDOWS: usize = LANES * PLACES;

/// Elements of a cache line.
const LINE: usize = 16;

/// Columns of a panel, so that it stays in the first cache.
const COLUMNS: usize = 128;

/// Bytes of weights that stay in the second cache.
const HELD: usize = 512 << 10;

/// Neighbouring windows of a panel, at most [`LANES`] that are used.
#[derive(Clone, Copy, Default)]
struct Run {
    /// Where the first reads, from window 0 on.
    from: usize,
    /// Its number in the panel.
    to: usize,
}

/// Where windows read.
struct Input<'a> {
    /// `[channel]`, planes of `plane` elements.
    x: &'a [f32],
    channels: usize,
    plane: usize,
    /// Elements from a row of windows to the next.
    pitch: usize,
    /// Windows of a row.
    width: usize,
}

/// Whether windows fill most of the lanes.
pub(super) fn suits(geometry: &Geometry) -> bool {
    let positions = geometry.positions();
    positions > TAIL && positions / 3 * 4 >= lanes(positions) * LANES
}

/// Places whose lanes are filled by windows, all but a tail.
fn lanes(windows: usize) -> usize {
    windows / LANES + usize::from(windows % LANES > TAIL)
}

/// Windows of the next panel. A tail has one for itself.
fn next(left: usize) -> usize {
    let places = match lanes(left) {
        0 => return left,
        // One place alone is slow.
        4 => 2,
        places => places.min(PLACES),
    };
    left.min(places * LANES)
}

/// Whether each window is a pixel, so that channels are read as they are.
fn plain(geometry: &Geometry) -> bool {
    geometry.taps() == 1
        && geometry.strides == [1; 2]
        && geometry.pads == [0; 2]
        && geometry.input == geometry.output
}

/// Grows the scratch so that `convolve` allocates nothing.
pub(super) fn reserve(weights: &float::Weights, geometry: &Geometry, scratch: &mut Scratch) {
    let Scratch { budget, floats, panel, .. } = scratch;
    if !plain(geometry) {
        budget.grow(floats, weights.columns * Border::new(geometry).plane() + REACH, 0.0);
    }
    // What a run has beyond a column stands in the next one.
    let columns = (weights.taps * weights.columns).min(COLUMNS);
    budget.grow(panel, (columns + 1) * WINDOWS + LINE, 0.0);
}

/// The elements from a cache line's first on.
fn aligned(x: &mut [f32]) -> &mut [f32] {
    let start = x.as_ptr().align_offset(4 * LINE).min(x.len());
    &mut x[start..]
}

/// Convolves the channels x `[channel][height][width]` of one group to a part of its results, of which
/// the first goes to the first of out, and adds a bias of a row of the weights each.
#[expect(clippy::too_many_arguments, reason = "what one convolution is, and where it works")]
pub(super) fn convolve(
    weights: &float::Weights,
    geometry: &Geometry,
    x: &[f32],
    part: Portion,
    bias: Option<&[f32]>,
    out: &mut [f32],
    scratch: &mut Scratch,
    target: Target,
) {
    let Portion { lines, blocks, stride } = part;
    let (positions, channels) = (geometry.positions(), weights.columns);
    let all = geometry.windows(&lines);
    let cols = weights.taps * channels;
    let border = Border::new(geometry);
    let input = if plain(geometry) {
        Input { x, channels, plane: positions, pitch: positions, width: positions }
    } else {
        let plane = border.plane();
        let copy = &mut scratch.floats[..channels * plane + REACH];
        copy.fill(0.0);
        let size = geometry.input[0] * geometry.input[1];
        for (channel, copy) in copy.chunks_exact_mut(plane).take(channels).enumerate() {
            let x = &x[channel * size..][..size];
            target.vectorize(
                #[inline(always)]
                || border.copy(x, copy),
            );
        }
        Input { x: copy, channels, plane, pitch: border.pitch(), width: geometry.output[1] }
    };
    // Weights that the second cache does not hold meet all windows where they are read.
    let held = blocks.len().saturating_mul(BLOCK * 4).saturating_mul(cols) <= HELD;
    let together = if held { cols } else { COLUMNS };
    for start in (0..cols).step_by(together) {
        let end = cols.min(start + together);
        let mut first = all.start;
        while first < all.end {
            let windows = next(all.end - first);
            let (runs, count) = input.runs(first..first + windows);
            for column in (start..end).step_by(COLUMNS) {
                let columns = column..end.min(column + COLUMNS);
                let places = aligned(&mut scratch.panel);
                target.vectorize(
                    #[inline(always)]
                    || input.bring(geometry, &border, columns.clone(), &runs[..count], places),
                );
                let panel = Panel {
                    weights,
                    blocks: blocks.clone(),
                    column,
                    x: &places.as_chunks().0.as_chunks().0[..columns.len()],
                    windows,
                    bias,
                    rows: out.len().div_ceil(stride),
                    row_stride: stride,
                    out: &mut out[first - all.start..],
                };
                panel.multiply(target);
            }
            first += windows;
        }
    }
}

impl Input<'_> {
    /// The runs of some windows, and how many there are.
    fn runs(&self, windows: Range<usize>) -> ([Run; WINDOWS], usize) {
        let mut runs = [Run::default(); WINDOWS];
        let (mut at, mut count) = (windows.start, 0);
        while at < windows.end {
            let (row, column) = (at / self.width, at % self.width);
            runs[count] = Run { from: row * self.pitch + column, to: at - windows.start };
            count += 1;
            at = windows.end.min(at + LANES.min(self.width - column));
        }
        (runs, count)
    }

    /// Brings runs of some columns together to `[column][window]`.
    #[inline(always)]
    fn bring(
        &self,
        geometry: &Geometry,
        border: &Border,
        columns: Range<usize>,
        runs: &[Run],
        to: &mut [f32],
    ) {
        let channels = self.channels;
        let mut column = columns.start;
        while column < columns.end {
            let (tap, channel) = (column / channels, column % channels);
            let end = columns.end.min((tap + 1) * channels);
            let tap = [tap / geometry.kernel[1], tap % geometry.kernel[1]];
            let x = &self.x[channel * self.plane + border.offset(tap)..];
            for (i, column) in (column..end).enumerate() {
                bring_column(
                    &x[i * self.plane..],
                    runs,
                    &mut to[(column - columns.start) * WINDOWS..],
                );
            }
            column = end;
        }
    }
}

/// What a run has beyond its windows, the next run or column writes over.
#[inline(always)]
fn bring_column(x: &[f32], runs: &[Run], to: &mut [f32]) {
    for run in runs {
        let (x, to) = (&x[run.from..], &mut to[run.to..]);
        if let (Some(x), Some(to)) = (x.first_chunk::<LANES>(), to.first_chunk_mut::<LANES>()) {
            *to = *x;
        } else {
            to.iter_mut().zip(x).for_each(|(to, x)| *to = *x);
        }
    }
}
