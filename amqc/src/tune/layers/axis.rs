//! Axes that windows move along.

use std::ops::Range;

use amq_format::graph::Window;

/// An axis, with the borders that the window has on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// Entries.
    pub(super) input: usize,
    /// Positions of the window.
    pub(super) output: usize,
    pub(super) window: Window,
}

impl Axis {
    /// The entry that element `tap` of the window at a position lies on; none on the border.
    pub(super) fn entry(&self, position: usize, tap: usize) -> Option<usize> {
        let Window { stride, dilation, begin, .. } = self.window;
        (position * stride + tap * dilation).checked_sub(begin).filter(|&at| at < self.input)
    }

    /// The positions at which element `tap` of the window lies on an entry.
    pub(super) fn inside(&self, tap: usize) -> Range<usize> {
        let Window { stride, dilation, begin, .. } = self.window;
        let first_from = |entry: usize| {
            (begin + entry).saturating_sub(tap * dilation).div_ceil(stride).min(self.output)
        };
        first_from(0)..first_from(self.input)
    }

    /// Elements of the window at a position that lie on entries or on borders.
    pub(super) fn padded(&self, position: usize) -> usize {
        let Window { kernel, stride, dilation, begin, end, .. } = self.window;
        let room = (begin + self.input + end).saturating_sub(position * stride);
        room.div_ceil(dilation).min(kernel)
    }
}
