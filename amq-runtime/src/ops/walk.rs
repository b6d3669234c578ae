//! Walking several tensors together, each with strides of its own.

use alloc::vec::Vec;
use core::{array, mem};

use crate::infer::MAX_RANK;

/// `N` tensors walked in the row-major order of one shape, which has been folded into as few axes as
/// their strides allow.
#[derive(Debug)]
pub(super) struct Walk<const N: usize> {
    /// Size and strides of each axis but the last.
    outer: Vec<(usize, [isize; N])>,
    /// Size of the last axis: the length of a row.
    pub(super) inner: usize,
    /// Strides along a row.
    pub(super) strides: [isize; N],
    starts: [usize; N],
    rows: usize,
}

impl<const N: usize> Walk<N> {
    /// Walks `dims`; `strides` has each tensor's step along each axis, `starts` its first element.
    pub(super) fn new(dims: &[usize], strides: [&[isize]; N], starts: [usize; N]) -> Walk<N> {
        let mut outer: Vec<(usize, [isize; N])> = Vec::with_capacity(dims.len());
        for (axis, &size) in dims.iter().enumerate().filter(|&(_, &size)| size != 1) {
            let steps: [isize; N] = array::from_fn(|k| strides[k][axis]);
            match outer.last_mut() {
                Some((folded, last))
                    if (0..N).all(|k| last[k] == steps[k].wrapping_mul(size as isize)) =>
                {
                    (*folded, *last) = (*folded * size, steps);
                }
                _ => outer.push((size, steps)),
            }
        }
        let (inner, strides) = outer.pop().unwrap_or((1, [0; N]));
        let rows = if inner == 0 { 0 } else { outer.iter().map(|axis| axis.0).product() };
        Walk { outer, inner, strides, starts, rows }
    }

    /// Where each tensor's part of each row starts.
    #[inline(always)]
    pub(super) fn rows(&self) -> Rows<'_, N> {
        let at = self.starts.map(|start| start as isize);
        Rows { walk: self, counters: [0; MAX_RANK], at, left: self.rows }
    }

    /// The rows from a given one on.
    fn rows_from(&self, row: usize) -> Rows<'_, N> {
        let mut rows = self.rows();
        rows.left = self.rows.saturating_sub(row);
        let mut left = row;
        for ((size, steps), counter) in self.outer.iter().zip(&mut rows.counters).rev() {
            *counter = left % size;
            left /= size;
            (0..N).for_each(|k| rows.at[k] += steps[k] * *counter as isize);
        }
        rows
    }

    /// Where each tensor's part of a row starts.
    pub(super) fn start_of(&self, row: usize) -> [usize; N] {
        self.rows_from(row).at.map(|at| at as usize)
    }
}

/// Iterator over the rows of a [`Walk`].
pub(super) struct Rows<'a, const N: usize> {
    walk: &'a Walk<N>,
    counters: [usize; MAX_RANK],
    at: [isize; N],
    left: usize,
}

impl<const N: usize> Iterator for Rows<'_, N> {
    type Item = [usize; N];

    #[inline(always)]
    fn next(&mut self) -> Option<[usize; N]> {
        self.left = self.left.checked_sub(1)?;
        let row = self.at.map(|at| at as usize);
        for ((size, steps), counter) in self.walk.outer.iter().zip(&mut self.counters).rev() {
            *counter += 1;
            if *counter < *size {
                (0..N).for_each(|k| self.at[k] += steps[k]);
                break;
            }
            *counter = 0;
            (0..N).for_each(|k| self.at[k] -= steps[k] * (*size as isize - 1));
        }
        Some(row)
    }
}

/// Steps of a row-major tensor along its axes.
pub(super) fn strides(dims: &[usize]) -> Vec<isize> {
    let mut step = 1isize;
    let mut strides: Vec<isize> = dims
        .iter()
        .rev()
        .map(|&size| {
            let this = step;
            // No more than the checked number of bytes, as `Shape::new` counts them.
            step = step.saturating_mul(size.max(1) as isize);
            this
        })
        .collect();
    strides.reverse();
    strides
}

/// Steps of a tensor of shape `dims` along the axes of the shape that it is broadcast to.
pub(super) fn broadcast_strides(dims: &[usize], to: &[usize]) -> Vec<isize> {
    let lead = to.len().saturating_sub(dims.len());
    let own = strides(dims);
    let step = |axis: usize| match axis.checked_sub(lead) {
        Some(i) if dims[i] != 1 => own[i],
        _ => 0,
    };
    (0..to.len()).map(step).collect()
}

/// Copies a row of x, from `start` in steps of `stride`, to `out`.
#[inline(always)]
pub(super) fn copy_row<T: Copy>(x: &[T], start: usize, stride: isize, out: &mut [T]) {
    match stride {
        1 => out.copy_from_slice(&x[start..start + out.len()]),
        0 => out.fill(x[start]),
        _ => {
            for (i, y) in out.iter_mut().enumerate() {
                *y = x[start.wrapping_add_signed(stride * i as isize)];
            }
        }
    }
}

/// Copies a part of what `walk` goes through in x, from element `from` on, to `out`.
pub(super) fn copy_part<T: Copy>(walk: &Walk<1>, x: &[T], from: usize, mut out: &mut [T]) {
    if out.is_empty() {
        return;
    }
    let mut column = from % walk.inner;
    for [start] in walk.rows_from(from / walk.inner) {
        let count = (walk.inner - column).min(out.len());
        let (row, rest) = mem::take(&mut out).split_at_mut(count);
        copy_row(x, start + column * walk.strides[0] as usize, walk.strides[0], row);
        if rest.is_empty() {
            return;
        }
        (out, column) = (rest, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn contiguous_axes_fold_into_one_row() {
        let dims = [2, 3, 1, 4];
        let walk = Walk::new(&dims, [&strides(&dims), &strides(&dims)], [0, 0]);
        assert_eq!((walk.inner, walk.strides, walk.rows().count()), (24, [1, 1], 1));
        let walk = Walk::new(&dims, [&strides(&dims), &broadcast_strides(&[4], &dims)], [0, 0]);
        assert_eq!((walk.inner, walk.strides, walk.rows().count()), (4, [1, 1], 6));
        assert_eq!(Walk::new(&[2, 0], [&[0, 1]], [0]).rows().count(), 0);
        assert_eq!(Walk::new(&[], [&[]], [7]).rows().collect::<Vec<_>>(), [[7]]);
    }

    proptest! {
        #[test]
        fn a_walk_visits_what_nested_loops_visit(
            axes in prop::collection::vec((1usize..4, -3isize..4), 0..5),
        ) {
            let dims: Vec<usize> = axes.iter().map(|a| a.0).collect();
            let steps: Vec<isize> = axes.iter().map(|a| a.1).collect();
            let reach = axes.iter().map(|a| (a.0 as isize - 1) * a.1.min(0)).sum::<isize>();
            let start = reach.unsigned_abs();
            let walk = Walk::new(&dims, [&steps], [start]);
            let mut visited = Vec::new();
            for [at] in walk.rows() {
                for i in 0..walk.inner {
                    visited.push(at as isize + i as isize * walk.strides[0]);
                }
            }
            let count: usize = dims.iter().product();
            let expected: Vec<isize> = (0..count)
                .map(|mut flat| {
                    let mut at = start as isize;
                    for (&size, &step) in dims.iter().zip(&steps).rev() {
                        at += (flat % size) as isize * step;
                        flat /= size;
                    }
                    at
                })
                .collect();
            prop_assert_eq!(&visited, &expected);
            if steps.iter().all(|&step| step >= 0) && count > 0 {
                let x: Vec<isize> = (0..=*expected.iter().max().unwrap_or(&0)).collect();
                for from in 0..count {
                    let mut part = vec![0; count - from];
                    copy_part(&walk, &x, from, &mut part);
                    prop_assert_eq!(&part, &expected[from..]);
                }
            }
        }
    }
}
