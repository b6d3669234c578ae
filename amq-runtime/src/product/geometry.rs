//! What a convolution's window visits.

use core::ops::Range;

/// What a convolution's window visits; one spatial axis is a height of 1.
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

impl Geometry {
    pub(super) fn positions(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Whether the window at an output position has no border in it.
    pub(super) fn is_inside(&self, position: usize) -> bool {
        let origin = [position / self.output[1], position % self.output[1]];
        [0, 1].into_iter().all(|axis| {
            let first = origin[axis] * self.strides[axis];
            let last = first + self.kernel[axis].saturating_sub(1) * self.dilations[axis];
            first >= self.pads[axis] && last < self.input[axis] + self.pads[axis]
        })
    }

    /// The element of `axis` that a tap falls on from an output position, unless it is border.
    fn place(&self, axis: usize, position: usize, tap: usize) -> Option<usize> {
        let at = position * self.strides[axis] + tap * self.dilations[axis];
        at.checked_sub(self.pads[axis]).filter(|at| *at < self.input[axis])
    }

    /// Copies the window's elements in order `[channel][kernel row][kernel column]`, +0 for the
    /// border.
    pub(super) fn gather(
        &self,
        channels: Range<usize>,
        position: usize,
        x: &[f32],
        patch: &mut [f32],
    ) {
        let [height, width] = self.input;
        let [rows, taps] = self.kernel;
        let [top, left] = [position / self.output[1], position % self.output[1]];
        let whole = self.dilations[1] == 1 && self.place(1, left, taps - 1).is_some();
        let first = self.place(1, left, 0).filter(|_| whole);
        for (channel, patch) in channels.zip(patch.chunks_exact_mut(rows * taps)) {
            for (kernel_row, to) in patch.chunks_exact_mut(taps).enumerate() {
                let Some(row) = self.place(0, top, kernel_row) else {
                    to.fill(0.0);
                    continue;
                };
                let x = &x[(channel * height + row) * width..][..width];
                match first {
                    Some(first) => copy_short(&x[first..][..taps], to),
                    None => {
                        for (tap, to) in to.iter_mut().enumerate() {
                            *to = self.place(1, left, tap).map_or(0.0, |at| x[at]);
                        }
                    }
                }
            }
        }
    }

    /// Taps of a kernel row whose bits are taken together.
    fn piece(&self) -> usize {
        let taps = self.kernel[1];
        if self.dilations[1] == 1 && taps <= 64 { taps } else { 1 }
    }

    /// Most output positions of a row whose pieces lie within 64 bits.
    pub(super) fn reach(&self) -> usize {
        (64 - self.piece()) / self.strides[1] + 1
    }

    /// Copies a plane's bits in windows at positions of one output row, at most `reach` of them, to
    /// `[word][position]`; border bits are as `border`.
    #[inline(always)]
    pub(super) fn gather_bits(
        &self,
        channels: Range<usize>,
        positions: Range<usize>,
        plane: &[u64],
        border: bool,
        patch: &mut [u64],
    ) {
        patch.fill(0);
        let [height, width] = self.input;
        let [top, left] = [positions.start / self.output[1], positions.start % self.output[1]];
        let (count, stride, piece) = (positions.len(), self.strides[1], self.piece());
        let mask = u64::MAX >> (64 - piece);
        let outside = if border { u64::MAX } else { 0 };
        let mut to = 0;
        for channel in channels {
            for kernel_row in 0..self.kernel[0] {
                let row = self.place(0, top, kernel_row);
                for tap in (0..self.kernel[1]).step_by(piece) {
                    // 64 bits of the row, from the first position's.
                    let start = left * stride + tap * self.dilations[1];
                    let skipped = self.pads[1].saturating_sub(start);
                    let first = start.saturating_sub(self.pads[1]);
                    let bits = match row {
                        Some(row) if skipped < 64 && first < width => {
                            let inside = u64::MAX >> (64 - (width - first).min(64)) << skipped;
                            let bits = bits_from(plane, (channel * height + row) * width + first);
                            bits << skipped & inside | outside & !inside
                        }
                        _ => outside,
                    };
                    let (word, shift) = (to / 64, to % 64);
                    let (low, high) = patch[word * count..].split_at_mut(count);
                    for (i, low) in low.iter_mut().enumerate() {
                        *low |= (bits >> (i * stride) & mask) << shift;
                    }
                    if shift + piece > 64 {
                        for (i, high) in high[..count].iter_mut().enumerate() {
                            *high |= (bits >> (i * stride) & mask) >> (64 - shift);
                        }
                    }
                    to += piece;
                }
            }
        }
    }
}

/// 64 bits of a plane, zeros behind its end.
fn bits_from(plane: &[u64], at: usize) -> u64 {
    let (word, shift) = (at / 64, at % 64);
    let next = plane.get(word + 1).copied().unwrap_or(0);
    plane[word] >> shift | next << 1 << (63 - shift)
}

/// Copies a kernel's row; lengths that are common are known where the code is made.
fn copy_short(from: &[f32], to: &mut [f32]) {
    match from.len() {
        1 => to[..1].copy_from_slice(&from[..1]),
        3 => to[..3].copy_from_slice(&from[..3]),
        5 => to[..5].copy_from_slice(&from[..5]),
        7 => to[..7].copy_from_slice(&from[..7]),
        _ => to.copy_from_slice(from),
    }
}
