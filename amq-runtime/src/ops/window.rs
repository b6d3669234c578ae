//! Where windows that move along an axis are: what convolution and pooling share.

use amq_format::graph::Window;

/// The elements of a window at `position` that fall on the `size` entries from `-before`: the entry
/// (from the axis' first) of the first such element, and their number.
#[inline(always)]
pub(super) fn inside(window: &Window, position: usize, before: usize, size: usize) -> (i64, usize) {
    let start = position as i64 * window.stride as i64 - window.begin as i64;
    let (low, high) = (-(before as i64), size as i64 - before as i64);
    let dilation = window.dilation as i64;
    let skipped = ((low - start).max(0) + dilation - 1) / dilation;
    let first = start + skipped * dilation;
    let fitting = ((high - first).max(0) + dilation - 1) / dilation;
    let count = fitting.min(window.kernel as i64 - skipped).max(0);
    (first, count as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use amq_format::graph::{AutoPad, Dim};

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
            let padded = w.padded(5, 5);
            assert_eq!((padded.begin, padded.end), pads);
        }
    }

    #[test]
    fn elements_inside_are_those_that_a_search_finds() {
        for w in [window(3, 2, 1, 2, 0), window(3, 1, 2, 3, 3), window(2, 3, 5, 0, 4)] {
            for position in 0..6 {
                let start = (position * w.stride) as i64 - w.begin as i64;
                let entries = (0..w.kernel).map(|k| start + (k * w.dilation) as i64);
                let found: Vec<i64> = entries.filter(|e| (0..7).contains(e)).collect();
                let (first, count) = inside(&w, position, 0, 7);
                assert_eq!(count, found.len());
                assert!(found.first().is_none_or(|&e| e == first));
            }
        }
    }
}
