//! Windows that move along an axis: what convolution and pooling share.

use alloc::vec::Vec;

use amq_format::graph::{AutoPad, Dim};

use crate::error::{Fault, ensure, fault};
use crate::infer::{Fact, Facts};

/// A window along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Elements in it.
    pub(super) kernel: usize,
    /// Distance from one position to the next.
    pub(super) stride: usize,
    /// Distance between its elements.
    pub(super) dilation: usize,
    /// Border before the first entry.
    pub(super) begin: usize,
    /// Border after the last entry.
    pub(super) end: usize,
    auto_pad: AutoPad,
}

/// The attributes that windows are made of.
pub(super) struct Attributes<'a> {
    pub(super) strides: &'a [u64],
    pub(super) dilations: &'a [u64],
    pub(super) pads: &'a [u64],
    pub(super) auto_pad: AutoPad,
}

impl Attributes<'_> {
    /// One window for each spatial axis, of which there are one or two.
    pub(super) fn windows(&self, kernel: &[u64]) -> Result<Vec<Window>, Fault> {
        let axes = kernel.len();
        ensure!(matches!(axes, 1 | 2), "it has {axes} spatial axes, 1 or 2 are possible");
        let counts = [self.strides.len(), self.dilations.len(), self.pads.len() / 2];
        ensure!(
            counts == [axes; 3] && self.pads.len().is_multiple_of(2),
            "strides, dilations or pads are not those of {axes} spatial axes"
        );
        (0..axes)
            .map(|i| {
                let window = Window {
                    kernel: size("kernel", kernel[i], 1)?,
                    stride: size("stride", self.strides[i], 1)?,
                    dilation: size("dilation", self.dilations[i], 1)?,
                    begin: size("pad", self.pads[i], 0)?,
                    end: size("pad", self.pads[i + axes], 0)?,
                    auto_pad: self.auto_pad,
                };
                let explicit = self.auto_pad == AutoPad::Explicit;
                ensure!(
                    explicit || (window.begin, window.end) == (0, 0),
                    "pads are given beside auto_pad"
                );
                Ok(window)
            })
            .collect()
    }
}

/// A size small enough that products of two of them do not overflow.
fn size(what: &str, value: u64, least: usize) -> Result<usize, Fault> {
    match i32::try_from(value).ok().and_then(|value| usize::try_from(value).ok()) {
        Some(value) if value >= least => Ok(value),
        _ => Err(fault!("{what} is {value}, which is not possible")),
    }
}

impl Window {
    /// Entries from its first element to its last, both included.
    pub(super) fn extent(&self) -> i64 {
        (self.kernel as i64 - 1) * self.dilation as i64 + 1
    }

    /// Number of positions on an axis of size `input`. With `ceil` a last one that does not fit
    /// whole counts, if it starts before the border at the end.
    pub(super) fn positions(&self, input: &Dim, ceil: bool) -> Result<Dim, Fault> {
        let stride = Dim::from(self.stride as i64);
        if self.auto_pad != AutoPad::Explicit {
            return Ok(input.ceil_div(&stride)?);
        }
        let (begin, end) = (self.begin as i64, self.end as i64);
        let room = input.add(&Dim::from(begin + end - self.extent()))?;
        if let Some(room) = room.as_size() {
            let extent = self.extent();
            ensure!(
                room >= 0,
                "a window of {extent} does not fit {input} with pads {begin}, {end}"
            );
        }
        let one = Dim::from(1);
        let whole = room.floor_div(&stride)?.add(&one)?;
        if !ceil {
            return Ok(whole);
        }
        let started = input.add(&Dim::from(begin - 1))?.floor_div(&stride)?.add(&one)?;
        Ok(room.ceil_div(&stride)?.add(&one)?.smaller(&started)?)
    }

    /// This window with the borders that `auto_pad` asks for on an axis of size `input`.
    pub(super) fn with_pads(self, input: usize, positions: usize) -> Window {
        if self.auto_pad == AutoPad::Explicit {
            return self;
        }
        let reach = positions.saturating_sub(1) as i64 * self.stride as i64 + self.extent();
        let total = (reach - input as i64).max(0) as usize;
        let (less, more) = (total / 2, total - total / 2);
        let upper = self.auto_pad == AutoPad::SameUpper;
        let (begin, end) = if upper { (less, more) } else { (more, less) };
        Window { begin, end, ..self }
    }

    /// The elements of the window at `position` that fall on the `size` entries from `-before`:
    /// the entry (from the axis' first) of the first such element, and their number.
    #[inline(always)]
    pub(super) fn inside(&self, position: usize, before: usize, size: usize) -> (i64, usize) {
        let start = position as i64 * self.stride as i64 - self.begin as i64;
        let (low, high) = (-(before as i64), size as i64 - before as i64);
        let dilation = self.dilation as i64;
        let skipped = ((low - start).max(0) + dilation - 1) / dilation;
        let first = start + skipped * dilation;
        let fitting = ((high - first).max(0) + dilation - 1) / dilation;
        let count = fitting.min(self.kernel as i64 - skipped).max(0);
        (first, count as usize)
    }
}

/// The input of a windowed operator: `[N, C, spatial..]`.
pub(super) fn input<'a>(inputs: &Facts<'a>, spatial: usize) -> Result<&'a Fact, Fault> {
    let x = inputs.f32(0)?;
    x.rank("x", spatial + 2)?;
    Ok(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(kernel: usize, stride: usize, dilation: usize, begin: usize, end: usize) -> Window {
        Window { kernel, stride, dilation, begin, end, auto_pad: AutoPad::Explicit }
    }

    #[test]
    fn positions_are_those_that_a_search_finds() {
        for input in 1..9usize {
            for kernel in 1..4 {
                for (stride, dilation, begin, end) in
                    [(1, 1, 0, 0), (2, 1, 1, 0), (2, 2, 1, 1), (3, 1, 0, 2), (3, 1, 2, 2)]
                {
                    let w = window(kernel, stride, dilation, begin, end);
                    let extent = w.extent() as usize;
                    if extent > input + begin + end || begin >= extent || end >= extent {
                        continue;
                    }
                    let padded = input + begin + end;
                    let whole = (0..padded).step_by(stride).filter(|at| at + extent <= padded);
                    let size = Dim::from(input as i64);
                    assert_eq!(
                        w.positions(&size, false),
                        Ok(Dim::from(whole.clone().count() as i64))
                    );
                    let last = whole.max().unwrap();
                    let partial = last + extent < padded && last + stride < input + begin;
                    let expected = last / stride + 1 + usize::from(partial);
                    assert_eq!(w.positions(&size, true), Ok(Dim::from(expected as i64)), "{w:?}");
                }
            }
        }
    }

    #[test]
    fn same_keeps_the_size_of_an_axis() {
        for (auto_pad, pads) in [(AutoPad::SameUpper, (0, 1)), (AutoPad::SameLower, (1, 0))] {
            let w = Window { auto_pad, ..window(2, 1, 1, 0, 0) };
            assert_eq!(w.positions(&Dim::named("t"), false), Ok(Dim::named("t")));
            let padded = w.with_pads(5, 5);
            assert_eq!((padded.begin, padded.end), pads);
        }
    }

    #[test]
    fn elements_inside_are_those_that_a_search_finds() {
        for w in [window(3, 2, 1, 2, 0), window(3, 1, 2, 3, 3), window(2, 3, 5, 0, 4)] {
            for position in 0..6 {
                let start = (position * w.stride) as i64 - w.begin as i64;
                let entries = (0..w.kernel).map(|k| start + (k * w.dilation) as i64);
                let inside: Vec<i64> = entries.filter(|e| (0..7).contains(e)).collect();
                let (first, count) = w.inside(position, 0, 7);
                assert_eq!(count, inside.len());
                assert!(inside.first().is_none_or(|&e| e == first));
            }
        }
    }
}
