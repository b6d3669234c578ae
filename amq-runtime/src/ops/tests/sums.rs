//! The order of sums, maxima and minima, as docs/format.md states it, to the bit.
//!
//! Each test also counts how often another order would have given other bits: were that never, it
//! would hold nothing.

use alloc::vec::Vec;
use core::ops::Range;
use core::slice::from_ref;

use amq_format::graph::*;
use proptest::prelude::*;

use super::indices;
use crate::kernels::math;
use crate::ops::testing::{Tensor, as_f32, floats, run};

/// Numbers of many magnitudes, so that a sum's bits tell its order.
fn noise(dims: &[usize]) -> Tensor {
    let mut state = dims.iter().fold(7u64, |state, &size| state * 31 + size as u64);
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let sign = (state >> 63) << 31;
        let exponent = 120 + (state >> 59 & 15);
        f32::from_bits((sign | exponent << 23 | state >> 32 & 0x007f_ffff) as u32)
    };
    floats(dims, (0..dims.iter().product()).map(|_| next()))
}

/// Zeros of both signs, and some numbers and NaNs among them.
fn ties(dims: &[usize]) -> Tensor {
    let mut state = 3u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match state >> 16 & 511 {
            0 => f32::NAN,
            1 => -1.0,
            2 => 1.0,
            i if i % 2 == 0 => 0.0,
            _ => -0.0,
        }
    };
    floats(dims, (0..dims.iter().product()).map(|_| next()))
}

fn bits(x: f32) -> u32 {
    if x.is_nan() { 0x7fc0_0000 } else { x.to_bits() }
}

/// A step of a sum, a maximum or a minimum, and what it begins from.
#[derive(Clone, Copy)]
struct Step {
    begin: f32,
    combine: fn(f32, f32) -> f32,
}

const SUM: Step = Step { begin: 0.0, combine: |a, b| a + b };
/// Of equal numbers the second, and NaN whatever the other is.
const MAX: Step = Step {
    begin: f32::NEG_INFINITY,
    combine: |a, b| match a.partial_cmp(&b) {
        Some(core::cmp::Ordering::Greater) => a,
        Some(_) => b,
        None => f32::NAN,
    },
};
const MIN: Step = Step {
    begin: f32::INFINITY,
    combine: |a, b| match a.partial_cmp(&b) {
        Some(core::cmp::Ordering::Less) => a,
        Some(_) => b,
        None => f32::NAN,
    },
};

const PRODUCT: Step = Step { begin: 1.0, combine: |a, b| a * b };

impl Step {
    fn of(kind: ReduceKind) -> Step {
        match kind {
            ReduceKind::Sum | ReduceKind::Mean => SUM,
            ReduceKind::Max => MAX,
            ReduceKind::Min => MIN,
            ReduceKind::Product => PRODUCT,
        }
    }

    fn one_by_one(self, x: &[f32]) -> f32 {
        x.iter().fold(self.begin, |all, &x| (self.combine)(all, x))
    }

    /// Element j in lane j mod 16, then lane i with lane i + 8, 4, 2 and 1.
    fn in_lanes(self, x: &[f32]) -> f32 {
        let mut lanes = [self.begin; 16];
        for (j, &x) in x.iter().enumerate() {
            lanes[j % 16] = (self.combine)(lanes[j % 16], x);
        }
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                lanes[i] = (self.combine)(lanes[i], lanes[i + half]);
            }
        }
        lanes[0]
    }
}

/// The elements that are reduced to each result, in row-major order.
fn groups(x: &Tensor, axes: &[u32]) -> Vec<Vec<f32>> {
    let (dims, _) = x;
    let reduced = |axis: &usize| axes.contains(&(*axis as u32));
    let part = |of: &[usize], keep: bool| -> Vec<usize> {
        (0..dims.len()).filter(|axis| reduced(axis) != keep).map(|axis| of[axis]).collect()
    };
    let kept = indices(&part(dims, true));
    let mut groups = alloc::vec![Vec::new(); kept.len()];
    for (index, &element) in indices(dims).iter().zip(as_f32(x)) {
        let group = kept.iter().position(|kept| *kept == part(index, true));
        groups[group.unwrap()].push(element);
    }
    groups
}

/// Reduces, compares all results with `order`, and gives how many would differ with `other`.
fn check_reduce(
    kind: ReduceKind,
    x: &Tensor,
    axes: &[u32],
    order: fn(Step, &[f32]) -> f32,
    other: fn(Step, &[f32]) -> f32,
) -> usize {
    let op = |keep_dims| Op::Reduce(Reduce { kind: kind as i32, axes: axes.to_vec(), keep_dims });
    let y = run(op(false), from_ref(x)).unwrap();
    let kept = run(op(true), from_ref(x)).unwrap();
    let all_bits = |y: &Tensor| as_f32(y).iter().map(|&y| bits(y)).collect::<Vec<_>>();
    assert_eq!(all_bits(&y), all_bits(&kept));
    let reduced = |axis: usize| axes.contains(&(axis as u32));
    let sizes = x.0.iter().enumerate();
    let with_ones: Vec<usize> =
        sizes.clone().map(|(axis, &size)| if reduced(axis) { 1 } else { size }).collect();
    let without: Vec<usize> =
        sizes.filter(|(axis, _)| !reduced(*axis)).map(|(_, &size)| size).collect();
    assert_eq!((&kept.0, &y.0), (&with_ones, &without));
    let groups = groups(x, axes);
    assert_eq!(as_f32(&y).len(), groups.len());
    let finish = |group: &[f32], result: f32| match kind {
        ReduceKind::Mean => result / group.len() as f32,
        _ => result,
    };
    let mut differ = 0;
    for (&y, group) in as_f32(&y).iter().zip(&groups) {
        let expected = finish(group, order(Step::of(kind), group));
        assert_eq!(bits(y), bits(expected), "{kind:?} of {:?} over {axes:?}: {y}", x.0);
        differ += usize::from(bits(finish(group, other(Step::of(kind), group))) != bits(y));
    }
    differ
}

const KINDS: [ReduceKind; 4] =
    [ReduceKind::Sum, ReduceKind::Mean, ReduceKind::Max, ReduceKind::Min];

/// A shape of each size, and axes of it.
type Case = (fn(usize) -> Vec<usize>, &'static [u32]);

/// As many shapes as there are sizes; maxima and minima over ties, sums over many magnitudes.
fn check_reductions(
    sizes: Range<usize>,
    shapes: &[Case],
    order: fn(Step, &[f32]) -> f32,
    other: fn(Step, &[f32]) -> f32,
) {
    for (shape, axes) in shapes {
        for kind in KINDS {
            let sum = matches!(kind, ReduceKind::Sum | ReduceKind::Mean);
            let mut differ = 0;
            for size in sizes.clone() {
                let x = if sum { noise(&shape(size)) } else { ties(&shape(size)) };
                differ += check_reduce(kind, &x, axes, order, other);
            }
            assert!(differ > 10, "{kind:?} over {axes:?}: {differ} results tell the order");
        }
    }
}

#[test]
fn reductions_over_the_last_axes_are_in_lanes() {
    let shapes: [Case; 4] = [
        (|n| Vec::from([3, n]), &[1]),
        (|n| Vec::from([37, n]), &[1]),
        (|n| Vec::from([2, n, 7]), &[1, 2]),
        (|n| Vec::from([n, 3]), &[0, 1]),
    ];
    check_reductions(1..50, &shapes, Step::in_lanes, Step::one_by_one);
}

#[test]
fn reductions_over_other_axes_are_one_by_one() {
    let shapes: [Case; 4] = [
        (|n| Vec::from([n, 3]), &[0]),
        (|n| Vec::from([2, n, 2]), &[1]),
        (|n| Vec::from([n, 2, 5]), &[0, 2]),
        // The order does not follow from the sizes: an axis of size 1 stays, and is the last.
        (|n| Vec::from([3, n, 1]), &[1]),
    ];
    check_reductions(1..50, &shapes, Step::one_by_one, Step::in_lanes);
}

proptest! {
    #[test]
    fn the_axes_decide_the_order(
        sizes in prop::collection::vec(1usize..20, 1..4), mask in 0u32..8,
    ) {
        let rank = sizes.len();
        let axes: Vec<u32> = (0..rank as u32).filter(|axis| mask >> axis & 1 == 1).collect();
        let last = axes.iter().rev().enumerate().all(|(i, &axis)| axis as usize == rank - 1 - i);
        let order = if last { Step::in_lanes } else { Step::one_by_one };
        check_reduce(ReduceKind::Sum, &noise(&sizes), &axes, order, order);
        check_reduce(ReduceKind::Max, &noise(&sizes), &axes, order, order);
    }
}

#[test]
fn reductions_over_no_axes_begin_as_others_do() {
    let x = floats(&[3], [-0.0, 0.0, 2.5]);
    for (kind, first) in [(ReduceKind::Sum, 0.0), (ReduceKind::Max, -0.0)] {
        let op = Reduce { kind: kind as i32, axes: Vec::new(), keep_dims: false };
        let y = run(Op::Reduce(op), from_ref(&x)).unwrap();
        // -0 joins +0, and in a maximum beats -infinity.
        assert_eq!(
            as_f32(&y).iter().map(|&y| bits(y)).collect::<Vec<_>>(),
            [bits(first), bits(0.0), bits(2.5)]
        );
    }
}

/// Softmax of a row, or its logarithm, with a sum in some order.
fn softmax(x: &[f32], log: bool, sum: fn(Step, &[f32]) -> f32) -> Vec<f32> {
    let most = MAX.in_lanes(x);
    let powers: Vec<f32> = x.iter().map(|x| math::exp(x - most)).collect();
    let sum = sum(SUM, &powers);
    if log {
        x.iter().map(|x| (x - most) - math::ln(sum)).collect()
    } else {
        powers.iter().map(|power| power / sum).collect()
    }
}

#[test]
fn softmax_sums_in_lanes_along_any_axis() {
    for log in [false, true] {
        for axis in [0, 1, 2] {
            let mut differ = 0;
            for size in (1..50).chain([200]) {
                let mut dims = [3, 2, 3];
                dims[axis] = size;
                let x = noise(&dims);
                // Exponents near each other, so that many powers count.
                let x = floats(&dims, as_f32(&x).iter().map(|x| x / 64.0));
                let op = Softmax { axis: axis as u32, log };
                let y = run(Op::Softmax(op), from_ref(&x)).unwrap();
                let rows = groups(&x, &[axis as u32]);
                for (row, y) in rows.iter().zip(groups(&y, &[axis as u32])) {
                    let expected = softmax(row, log, Step::in_lanes);
                    for (y, expected) in y.iter().zip(&expected) {
                        assert_eq!(bits(*y), bits(*expected), "{dims:?} along {axis}");
                    }
                    differ += usize::from(softmax(row, log, Step::one_by_one) != y);
                }
            }
            assert!(differ > 20, "along {axis}, log {log}: {differ} rows tell the order");
        }
    }
}

#[test]
fn means_of_windows_are_one_by_one() {
    let op = Pool {
        kind: PoolKind::Average as i32,
        kernel: Vec::from([3, 5]),
        strides: Vec::from([1, 2]),
        dilations: Vec::from([2, 1]),
        pads: Vec::from([1, 0, 2, 3]),
        auto_pad: AutoPad::Explicit as i32,
        ceil_mode: false,
        count_include_pad: false,
    };
    let x = noise(&[2, 3, 12, 17]);
    let y = run(Op::Pool(op), from_ref(&x)).unwrap();
    assert_eq!(y.0, [2, 3, 11, 8]);
    let mut differ = 0;
    for (index, &y) in indices(&y.0).iter().zip(as_f32(&y)) {
        let rows = (0..3).map(|i| index[2] + 2 * i).filter(|i| (1..13).contains(i)).map(|i| i - 1);
        let rows: Vec<usize> = rows.collect();
        let columns: Vec<usize> = (0..5).map(|j| 2 * index[3] + j).filter(|&j| j < 17).collect();
        let element =
            |i: usize, j: usize| as_f32(&x)[((index[0] * 3 + index[1]) * 12 + i) * 17 + j];
        let along = |i: &usize| columns.iter().map(|&j| element(*i, j)).collect::<Vec<_>>();
        let ascending: Vec<f32> = rows.iter().flat_map(along).collect();
        let down = |j: &usize| rows.iter().map(|&i| element(i, *j)).collect::<Vec<_>>();
        let other: Vec<f32> = columns.iter().flat_map(down).collect();
        let count = ascending.len() as f32;
        assert_eq!(bits(y), bits(SUM.one_by_one(&ascending) / count), "{index:?}");
        differ += usize::from(bits(SUM.one_by_one(&other) / count) != bits(y));
    }
    assert!(differ > 20, "{differ} means tell the order");
}
