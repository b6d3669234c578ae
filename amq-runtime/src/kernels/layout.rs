//! How the columns of a matrix are divided, which all products share.

use core::ops::Range;

/// Columns that a 32-bit word of a plane covers; segments are padded to whole words.
pub(crate) const WORD: usize = 32;

/// Columns are divided into taps, each of which meets a vector of its own: the window of a
/// convolution has a tap for each position of the kernel, other products have one. Taps are divided
/// into segments, whose sums are integers; one or more of them share coefficients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) taps: usize,
    /// Columns of a tap, at least one.
    pub(crate) columns: usize,
    /// Columns of a segment: all of a tap, or a multiple of 32; the last of a tap may have fewer.
    pub(crate) segment: usize,
    /// Segments that share coefficients.
    pub(crate) shared: usize,
    /// Segments of a tap.
    segments: usize,
    /// Groups of a row.
    groups: usize,
}

impl Layout {
    /// The layout of `taps` taps of `columns` columns with groups of `group` columns, unless a group
    /// is neither all columns, nor whole taps, nor a part of a tap that divides it.
    pub(crate) fn new(taps: usize, columns: usize, group: usize) -> Option<Layout> {
        let cols = taps * columns;
        let (segment, shared) = if group >= cols {
            (columns, taps)
        } else if group.is_multiple_of(columns) {
            (columns, group / columns)
        } else if taps == 1 || columns.is_multiple_of(group) {
            (group, 1)
        } else {
            return None;
        };
        let segments = columns.div_ceil(segment);
        let groups = (taps * segments).div_ceil(shared);
        Some(Layout { taps, columns, segment, shared, segments, groups })
    }

    /// Segments of a tap.
    #[inline(always)]
    pub(crate) fn segments(&self) -> usize {
        self.segments
    }

    /// Words of a tap.
    #[inline(always)]
    pub(crate) fn words(&self) -> usize {
        self.columns.div_ceil(WORD)
    }

    /// Pairs of words of a tap. Each segment has its own.
    #[inline(always)]
    pub(crate) fn pairs(&self) -> usize {
        self.pairs_of(self.segments() - 1).end
    }

    /// Columns of a tap that a segment of it has.
    #[inline(always)]
    pub(crate) fn columns_of(&self, segment: usize) -> Range<usize> {
        segment * self.segment..self.columns.min((segment + 1) * self.segment)
    }

    /// Words of a tap that a segment of it has.
    #[inline(always)]
    pub(crate) fn words_of(&self, segment: usize) -> Range<usize> {
        let Range { start, end } = self.columns_of(segment);
        start / WORD..end.div_ceil(WORD)
    }

    /// Pairs of words of a tap that a segment of it has.
    #[inline(always)]
    pub(crate) fn pairs_of(&self, segment: usize) -> Range<usize> {
        let start = segment * self.segment.div_ceil(2 * WORD);
        start..start + self.columns_of(segment).len().div_ceil(2 * WORD)
    }

    /// The group whose coefficients a segment of a tap has.
    #[inline(always)]
    pub(crate) fn group(&self, tap: usize, segment: usize) -> usize {
        if self.groups == 1 { 0 } else { (tap * self.segments + segment) / self.shared }
    }

    /// Groups of a row.
    #[inline(always)]
    pub(crate) fn groups(&self) -> usize {
        self.groups
    }
}
