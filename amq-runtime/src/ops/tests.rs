//! Operators against definitions written another way: one element at a time, by its indices.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::slice::from_ref;

use amq_format::graph::*;
use proptest::prelude::*;

use super::testing::{Tensor, as_f32, floats, integers, run};
use crate::infer::Fact;
use crate::view::Buffer;

mod places;
mod sums;

fn dims(sizes: &[i64]) -> Vec<Dim> {
    sizes.iter().map(|&size| Dim::from(size)).collect()
}

/// All index vectors of a shape, in row-major order.
fn indices(dims: &[usize]) -> Vec<Vec<usize>> {
    let mut all = Vec::from([Vec::new()]);
    for &size in dims {
        all = all
            .iter()
            .flat_map(|prefix| {
                (0..size).map(move |i| prefix.iter().copied().chain([i]).collect::<Vec<_>>())
            })
            .collect();
    }
    all
}

/// The element at an index vector, broadcast from the right.
fn at(tensor: &Tensor, index: &[usize]) -> f32 {
    let (dims, _) = tensor;
    let own = &index[index.len() - dims.len()..];
    let flat = own
        .iter()
        .zip(dims)
        .fold(0, |flat, (&i, &size)| flat * size + if size == 1 { 0 } else { i });
    as_f32(tensor)[flat]
}

/// A slice of axis 0.
fn slice(start: Dim, end: Dim, step: i64) -> Op {
    let (axes, starts, ends) = (Vec::from([0]), Vec::from([start]), Vec::from([end]));
    Op::Slice(Slice { axes, starts, ends, steps: Vec::from([step]) })
}

/// The size of a slice of an axis.
fn sliced(axis: Dim, start: Dim, end: Dim, step: i64) -> Result<Dim, String> {
    let node = Node {
        inputs: Vec::from([1]),
        outputs: Vec::from([2]),
        op: Some(slice(start, end, step)),
        ..Node::default()
    };
    let outputs = crate::infer::infer(&node, &[Some(Fact::f32(Vec::from([axis])))]);
    outputs.map(|outputs| outputs[0].dims[0].clone()).map_err(|error| error.to_string())
}

fn ramp(dims: &[usize]) -> Tensor {
    let count: usize = dims.iter().product();
    floats(dims, (0..count).map(|i| ((i * 37 + 11) % 101) as f32 / 16.0 - 3.0))
}

/// The result of `run`, compared with `f` of each index vector.
fn check(result: Result<Tensor, String>, sizes: &[usize], f: impl Fn(&[usize]) -> f32) {
    let result = result.unwrap();
    assert_eq!(result.0, sizes);
    let expected: Vec<f32> = indices(sizes).iter().map(|index| f(index)).collect();
    assert_eq!(as_f32(&result), expected);
}

/// A shape, and two that broadcast to it.
fn broadcastable() -> impl Strategy<Value = (Vec<usize>, Vec<usize>, Vec<usize>)> {
    prop::collection::vec((1usize..5, any::<[bool; 2]>()), 0..5).prop_flat_map(|axes| {
        let len = axes.len();
        (Just(axes), 0..=len).prop_map(|(axes, cut)| {
            let part = |k: usize| axes.iter().map(move |a| if a.1[k] { a.0 } else { 1 });
            let a: Vec<usize> = part(0).collect();
            let b: Vec<usize> = part(1).skip(cut).collect();
            let whole =
                (0..axes.len()).map(|i| a[i].max(if i >= cut { b[i - cut] } else { 1 })).collect();
            (whole, a, b)
        })
    })
}

proptest! {
    #[test]
    fn pairs_broadcast((whole, a, b) in broadcastable()) {
        let (a, b) = (ramp(&a), ramp(&b));
        let op = |f: BinaryFunction| Op::Binary(Binary { function: f as i32 });
        let tensors = [a.clone(), b.clone()];
        check(run(op(BinaryFunction::Sub), &tensors), &whole, |i| at(&a, i) - at(&b, i));
        check(run(op(BinaryFunction::Max), &tensors), &whole, |i| at(&a, i).max(at(&b, i)));
        let less = run(op(BinaryFunction::Less), &tensors).unwrap();
        let bytes: Vec<u8> =
            indices(&whole).iter().map(|i| u8::from(at(&a, i) < at(&b, i))).collect();
        prop_assert_eq!(&less.1, &Buffer::Bool(bytes));
        check(run(Op::Select(Select {}), &[less.clone(), b.clone(), a.clone()]), &whole, |i| {
            at(&a, i).max(at(&b, i))
        });
        let shape: Vec<i64> = whole.iter().map(|&size| size as i64).collect();
        check(run(Op::Expand(Expand { dims: dims(&shape) }), from_ref(&b)), &whole, |i| at(&b, i));
    }

    #[test]
    fn axes_change_places(
        sizes in prop::collection::vec(1usize..5, 1..5), seed in any::<u64>(),
    ) {
        let mut perm: Vec<u32> = (0..sizes.len() as u32).collect();
        perm.sort_by_key(|&axis| (seed >> (axis * 8)) & 0xff);
        let x = ramp(&sizes);
        let whole: Vec<usize> = perm.iter().map(|&axis| sizes[axis as usize]).collect();
        check(run(Op::Transpose(Transpose { perm: perm.clone() }), from_ref(&x)), &whole, |i| {
            let mut source = alloc::vec![0; i.len()];
            perm.iter().zip(i).for_each(|(&axis, &i)| source[axis as usize] = i);
            at(&x, &source)
        });
    }

    #[test]
    fn slices_take_what_a_loop_takes(
        size in 1i64..8, start in -10i64..10, end in -10i64..10, step in -3i64..4,
    ) {
        prop_assume!(step != 0);
        // As ONNX says: only an end may lie before the axis, and only for a negative step.
        let clamp = |bound: i64, low: i64| {
            let bound = if bound < 0 { bound + size } else { bound };
            if step > 0 { bound.clamp(0, size) } else { bound.clamp(low, size - 1) }
        };
        let (mut taken, mut i, end_at) = (Vec::new(), clamp(start, 0), clamp(end, -1));
        while (step > 0 && i < end_at) || (step < 0 && i > end_at) {
            taken.push(i as usize);
            i += step;
        }
        let x = ramp(&[2, size as usize, 3]);
        let op = Slice {
            axes: Vec::from([1]), starts: dims(&[start]), ends: dims(&[end]),
            steps: Vec::from([step]),
        };
        check(run(Op::Slice(op), from_ref(&x)), &[2, taken.len(), 3], |i| {
            at(&x, &[i[0], taken[i[1]], i[2]])
        });
    }

    #[test]
    fn borders_are_those_of_numpy(
        size in 2i64..5, begin in -1i64..9, end in -1i64..9, mode in 0i32..4,
    ) {
        prop_assume!(size + begin.min(0) + end.min(0) > 0);
        let x = ramp(&[3, size as usize]);
        let op = Pad { mode, begins: dims(&[1, begin]), ends: dims(&[0, end]) };
        let whole = [4, (size + begin + end) as usize];
        // The kept part, extended one entry at a time.
        let (low, high) = ((-begin).max(0), size - (-end).max(0));
        let n = high - low;
        let source = |mut i: i64, n: i64| -> Option<i64> {
            loop {
                if (0..n).contains(&i) {
                    return Some(i);
                }
                i = match PadMode::try_from(mode).unwrap() {
                    PadMode::Constant => return None,
                    PadMode::Edge => i.clamp(0, n - 1),
                    PadMode::Wrap => if i < 0 { i + n } else { i - n },
                    PadMode::Reflect if n == 1 => 0,
                    PadMode::Reflect => if i < 0 { -i } else { 2 * (n - 1) - i },
                }
            }
        };
        let value = floats(&[], [9.5]);
        check(run(Op::Pad(op), &[x.clone(), value]), &whole, |i| {
            let row = source(i[0] as i64 - 1, 3);
            let column = source(i[1] as i64 - begin.max(0), n).map(|column| column + low);
            match (row, column) {
                (Some(row), Some(column)) => at(&x, &[row as usize, column as usize]),
                _ => 9.5,
            }
        });
    }

    #[test]
    fn softmax_is_close_to_its_definition(
        sizes in prop::collection::vec(1usize..40, 1..4), axis in 0usize..3, log: bool,
    ) {
        let axis = axis % sizes.len();
        let x = ramp(&sizes);
        let y = run(Op::Softmax(Softmax { axis: axis as u32, log }), from_ref(&x)).unwrap();
        for i in indices(&sizes) {
            let term = |k: usize| {
                let mut i = i.clone();
                i[axis] = k;
                f64::from(at(&x, &i)).exp()
            };
            let sum: f64 = (0..sizes[axis]).map(term).sum();
            let expected = term(i[axis]) / sum;
            let expected = if log { expected.ln() } else { expected };
            prop_assert!((f64::from(at(&y, &i)) - expected).abs() < 2e-6);
        }
    }

    #[test]
    fn softmax_does_not_depend_on_the_layout(rows in 1usize..40, columns in 2usize..40, log: bool) {
        let x = ramp(&[rows, columns]);
        let turn = || Op::Transpose(Transpose { perm: Vec::from([1, 0]) });
        let down = run(Op::Softmax(Softmax { axis: 0, log }), from_ref(&x)).unwrap();
        let turned = run(turn(), &[x]).unwrap();
        let across = run(Op::Softmax(Softmax { axis: 1, log }), &[turned]).unwrap();
        prop_assert_eq!(run(turn(), &[across]).unwrap(), down);
    }

    #[test]
    fn products_are_chains(m in 1usize..15, n in 0usize..23, p in 1usize..90) {
        let (a, b) = (ramp(&[2, 1, m, n]), ramp(&[3, n, p]));
        check(run(Op::MatMul(MatMul {}), &[a.clone(), b.clone()]), &[2, 3, m, p], |i| {
            let term = |k| (at(&a, &[i[0], 0, i[2], k]), at(&b, &[i[1], k, i[3]]));
            (0..n).map(term).fold(0.0, |sum, (a, b)| f32::mul_add(a, b, sum))
        });
    }

    #[test]
    fn pools_are_those_of_a_search(
        input in 1usize..9, kernel in 1u64..4, stride in 1u64..4, dilation in 1u64..3,
        pads in (0u64..3, 0u64..3), ceil_mode: bool, count_include_pad: bool, average: bool,
    ) {
        let extent = (kernel - 1) * dilation + 1;
        let padded = input as u64 + pads.0 + pads.1;
        prop_assume!(pads.0 < extent && pads.1 < extent && extent <= padded);
        let kind = if average { PoolKind::Average } else { PoolKind::Max };
        let op = Pool {
            kind: kind as i32, kernel: Vec::from([1, kernel]), strides: Vec::from([1, stride]),
            dilations: Vec::from([1, dilation]), pads: Vec::from([0, pads.0, 0, pads.1]),
            auto_pad: AutoPad::Explicit as i32, ceil_mode, count_include_pad,
        };
        let x = ramp(&[1, 2, 2, input]);
        let result = run(Op::Pool(op.clone()), from_ref(&x));
        // An average that counts the border is never refused.
        let counts_border = average && count_include_pad;
        let (kind, count_include_pad) = (PoolKind::Average as i32, true);
        let same_shape = run(Op::Pool(Pool { kind, count_include_pad, ..op }), from_ref(&x));
        let mut expected = Vec::new();
        for i in indices(&same_shape.unwrap().0) {
            let start = i[3] as i64 * stride as i64 - pads.0 as i64;
            let places = (0..kernel).map(|k| start + (k * dilation) as i64);
            let places: Vec<i64> = places.collect();
            let real: Vec<f32> = places
                .iter()
                .filter(|&&place| (0..input as i64).contains(&place))
                .map(|&place| at(&x, &[i[0], i[1], i[2], place as usize]))
                .collect();
            if real.is_empty() && !counts_border {
                prop_assert!(result.unwrap_err().contains("covers no element of x"));
                return Ok(());
            }
            let end = (input as u64 + pads.1) as i64;
            expected.push(if average {
                let within = places.iter().filter(|&&place| place < end).count();
                let count = if counts_border { within } else { real.len() };
                real.iter().sum::<f32>() / count as f32
            } else {
                real.iter().copied().fold(f32::NEG_INFINITY, f32::max)
            });
        }
        let result = result.unwrap();
        prop_assert_eq!(as_f32(&result), expected);
    }
}

/// Elements at -1 and 1 of an axis of one: ONNX does not say what they give, and where onnxruntime
/// answers 0 or the least float, ONNX's reference answers NaN.
#[test]
fn windows_without_an_element_are_refused() {
    let pool = |kind: PoolKind, count_include_pad: bool| {
        let op = Pool {
            kind: kind as i32,
            kernel: Vec::from([2]),
            strides: Vec::from([1]),
            dilations: Vec::from([2]),
            pads: Vec::from([1, 1]),
            auto_pad: AutoPad::Explicit as i32,
            ceil_mode: false,
            count_include_pad,
        };
        run(Op::Pool(op), &[ramp(&[1, 1, 1])])
    };
    for kind in [PoolKind::Max, PoolKind::Average] {
        let error = pool(kind, false).unwrap_err();
        assert_eq!(error, "window 0 along axis 2 covers no element of x");
    }
    assert_eq!(as_f32(&pool(PoolKind::Average, true).unwrap()), [0.0]);
}

#[test]
fn vectors_are_rows_and_columns_of_products() {
    let (v, m) = (ramp(&[3]), ramp(&[3, 3]));
    let dot = |f: &dyn Fn(usize) -> (f32, f32)| (0..3).map(|k| f(k).0 * f(k).1).sum::<f32>();
    let near = |a: f32, b: f32| assert!((a - b).abs() < 1e-4, "{a} {b}");
    let product = |a: &Tensor, b: &Tensor| run(Op::MatMul(MatMul {}), &[a.clone(), b.clone()]);
    let (dims, _) = product(&v, &v).unwrap();
    assert!(dims.is_empty());
    let row = product(&v, &m).unwrap();
    let column = product(&m, &v).unwrap();
    assert_eq!((row.0.as_slice(), column.0.as_slice()), (&[3][..], &[3][..]));
    for i in 0..3 {
        near(as_f32(&row)[i], dot(&|k| (at(&v, &[k]), at(&m, &[k, i]))));
        near(as_f32(&column)[i], dot(&|k| (at(&m, &[i, k]), at(&v, &[k]))));
    }
    assert!(product(&ramp(&[2]), &m).is_err());
}

#[test]
fn entries_are_looked_up_from_either_end() {
    let x = ramp(&[2, 3, 2]);
    let index = integers(&[2, 2], [0, -1, 2, -3]);
    let from = [0, 2, 2, 0];
    check(run(Op::Gather(Gather { axis: 1 }), &[x.clone(), index]), &[2, 2, 2, 2], |i| {
        at(&x, &[i[0], from[i[1] * 2 + i[2]], i[3]])
    });
    for wrong in [3, -4, i64::MIN, i64::MAX] {
        let error = run(Op::Gather(Gather { axis: 1 }), &[x.clone(), integers(&[], [wrong])]);
        assert!(error.unwrap_err().contains(&alloc::format!("index {wrong} ")));
    }
}

#[test]
fn tensors_stand_one_after_the_other() {
    let (a, b, none) = (ramp(&[2, 3, 2]), ramp(&[2, 1, 2]), floats(&[2, 0, 2], []));
    let op = Op::Concat(Concat { axis: 1 });
    check(run(op.clone(), &[a.clone(), none, b.clone()]), &[2, 4, 2], |i| {
        if i[1] < 3 { at(&a, i) } else { at(&b, &[i[0], 0, i[2]]) }
    });
    assert!(run(op.clone(), &[a, ramp(&[1, 1, 2])]).is_err());
    assert!(run(op, &[b.clone(), integers(&[2, 1, 2], [0; 4])]).is_err());
    // Stacked along the last axis: one element of each at a time.
    let (c, op) = (ramp(&[2, 1, 1]), Op::Concat(Concat { axis: 2 }));
    check(run(op, &[c.clone(), b.clone(), c.clone()]), &[2, 1, 4], |i| match i[2] {
        1 | 2 => at(&b, &[i[0], 0, i[2] - 1]),
        _ => at(&c, &[i[0], 0, 0]),
    });
}

#[test]
fn integers_divide_towards_zero_and_not_by_zero() {
    let op = |f: BinaryFunction| Op::Binary(Binary { function: f as i32 });
    let pair =
        |a: &[i64], b: &[i64]| [integers(&[a.len()], a.to_vec()), integers(&[b.len()], b.to_vec())];
    let div = run(op(BinaryFunction::Div), &pair(&[7, -7, i64::MIN], &[2, 2, -1])).unwrap();
    assert_eq!(div.1, Buffer::I64(Vec::from([3, -3, i64::MIN])));
    assert!(run(op(BinaryFunction::Div), &pair(&[1], &[0])).unwrap_err().contains("by zero"));
    let pow = run(op(BinaryFunction::Pow), &pair(&[3, -2, 2, -1, -1], &[4, 3, -1, -3, -2]));
    assert_eq!(pow.unwrap().1, Buffer::I64(Vec::from([81, -8, 0, -1, 1])));
    let mixed = [integers(&[1], [1]), floats(&[1], [1.0])];
    assert!(run(op(BinaryFunction::Add), &mixed).unwrap_err().contains("one type"));
}

#[test]
fn numbers_are_cast_and_saturate() {
    let x = floats(&[5], [-1.9, 0.0, 3e20, f32::NAN, 200.0]);
    let cast = |to: DataType| run(Op::Cast(Cast { to: to as i32 }), from_ref(&x)).unwrap().1;
    assert_eq!(cast(DataType::I32), Buffer::I32(Vec::from([-1, 0, i32::MAX, 0, 200])));
    assert_eq!(cast(DataType::I8), Buffer::I8(Vec::from([-1, 0, 127, 0, 127])));
    assert_eq!(cast(DataType::Bool), Buffer::Bool(Vec::from([1, 0, 1, 1, 1])));
}

#[test]
fn nan_wins_minima_and_maxima() {
    let x = floats(&[2, 3], [1.0, f32::NAN, 2.0, 4.0, 5.0, 6.0]);
    for kind in [ReduceKind::Max, ReduceKind::Min] {
        for axis in [0, 1] {
            let op = Reduce { kind: kind as i32, axes: Vec::from([axis]), keep_dims: false };
            let y = run(Op::Reduce(op), from_ref(&x)).unwrap();
            assert_eq!(as_f32(&y).iter().filter(|y| y.is_nan()).count(), 1);
        }
    }
}

/// What onnxruntime 1.32.0 takes of `[0, 1, ..]`, with each bound as a start and, for each of those, with
/// each as an end. A start before the axis is entry 0 whatever the step.
#[test]
fn slices_take_what_onnxruntime_takes() {
    const BOUNDS: [i64; 6] = [-9, -2, -1, 0, 1, 9];
    let nothing = ["-"; 36].join(" ");
    let empty = [1, 2, -1, -2].map(|step| (0, step, nothing.as_str()));
    let taken = [
        (1, 1, "- - - - 0 0 - - - - 0 0 - - - - 0 0 - - - - 0 0 - - - - - - - - - - - -"),
        (1, 2, "- - - - 0 0 - - - - 0 0 - - - - 0 0 - - - - 0 0 - - - - - - - - - - - -"),
        (1, -1, "0 0 - - - - 0 0 - - - - 0 0 - - - - 0 0 - - - - 0 0 - - - - 0 0 - - - -"),
        (1, -2, "0 0 - - - - 0 0 - - - - 0 0 - - - - 0 0 - - - - 0 0 - - - - 0 0 - - - -"),
        (2, 1, "- - 0 - 0 01 - - 0 - 0 01 - - - - - 1 - - 0 - 0 01 - - - - - 1 - - - - - -"),
        (2, 2, "- - 0 - 0 0 - - 0 - 0 0 - - - - - 1 - - 0 - 0 0 - - - - - 1 - - - - - -"),
        (2, -1, "0 - - - - - 0 - - - - - 10 1 - 1 - - 0 - - - - - 10 1 - 1 - - 10 1 - 1 - -"),
        (2, -2, "0 - - - - - 0 - - - - - 1 1 - 1 - - 0 - - - - - 1 1 - 1 - - 1 1 - 1 - -"),
        (3, 1, "- 0 01 - 0 012 - - 1 - - 12 - - - - - 2 - 0 01 - 0 012 - - 1 - - 12 - - - - - -"),
        (3, 2, "- 0 0 - 0 02 - - 1 - - 1 - - - - - 2 - 0 0 - 0 02 - - 1 - - 1 - - - - - -"),
        (3, -1, "0 - - - - - 10 - - 1 - - 210 2 - 21 2 - 0 - - - - - 10 - - 1 - - 210 2 - 21 2 -"),
        (3, -2, "0 - - - - - 1 - - 1 - - 20 2 - 2 2 - 0 - - - - - 1 - - 1 - - 20 2 - 2 2 -"),
    ];
    for (size, step, expected) in empty.into_iter().chain(taken) {
        let x = integers(&[size as usize], 0..size);
        let bounds = BOUNDS.iter().flat_map(|&start| BOUNDS.map(|end| (start, end)));
        for ((start, end), expected) in bounds.zip(expected.split(' ')) {
            let y = run(slice(start.into(), end.into(), step), from_ref(&x)).unwrap();
            let digits = expected.chars().filter_map(|digit| digit.to_digit(10));
            let expected: Vec<i64> = digits.map(i64::from).collect();
            assert_eq!(
                y,
                integers(&[expected.len()], expected),
                "[{start}:{end}:{step}] of {size}"
            );
        }
    }
}

#[test]
fn slices_reach_the_ends() {
    let x = ramp(&[5]);
    for (start, end, step, taken) in [
        (0, i64::MAX, 1, &[0, 1, 2, 3, 4][..]),
        (i64::MIN, i64::MAX, 2, &[0, 2, 4]),
        (i64::MAX, i64::MIN, -2, &[4, 2, 0]),
        (-1, i64::MIN, -1, &[4, 3, 2, 1, 0]),
        (3, i64::MAX, i64::MAX, &[3]),
        (i64::MIN, i64::MIN, 1, &[]),
        (i64::MIN, i64::MIN, -1, &[0]),
    ] {
        let op = slice(start.into(), end.into(), step);
        check(run(op, from_ref(&x)), &[taken.len()], |i| at(&x, &[taken[i[0]]]));
    }
}

#[test]
fn slices_of_named_axes_keep_the_names() {
    let infer = |start: Dim, end: Dim, step: i64| {
        sliced(Dim::named("t"), start, end, step).map(|size| size.to_string())
    };
    let n = |size: i64| Dim::from(size);
    let name = Dim::named("t");
    assert_eq!(infer(n(0), n(i64::MAX), 1).unwrap(), "t");
    assert_eq!(infer(n(-1), n(i64::MAX), 1).unwrap(), "1");
    assert_eq!(infer(n(1), name.clone(), 1).unwrap(), "t + -1");
    assert_eq!(infer(n(-1), n(i64::MIN), -1).unwrap(), "t");
    assert_eq!(infer(name.add(&n(-1)).unwrap(), name.clone(), 1).unwrap(), "1");
    let shorter = name.add(&n(-1)).unwrap();
    for start in [-1, i64::MAX] {
        assert_eq!(sliced(shorter.clone(), n(start), n(i64::MIN), -1).unwrap(), shorter);
    }
    let unknown = name.add(&n(-2)).unwrap();
    assert!(infer(unknown, name, 1).unwrap_err().contains("may be negative"));
}

/// Sizes with names and numbers put in later are those of numbers: named axes are never empty,
/// expressions may be.
#[test]
fn slices_of_named_axes_are_those_of_their_sizes() {
    let bounds = [i64::MIN, -9, -2, -1, 0, 1, 9, i64::MAX];
    let name = Dim::named("t");
    for axis in [name.clone(), name.add(&(-1).into()).unwrap(), name.floor_div(&2.into()).unwrap()]
    {
        for (start, end) in bounds.iter().flat_map(|&start| bounds.map(|end| (start, end))) {
            for step in [1, 2, -1, -2] {
                let taken = |axis| sliced(axis, start.into(), end.into(), step).unwrap();
                for t in 1..5 {
                    let named = |dim: &Dim| Dim::from(dim.eval(&|_| Some(t)).unwrap());
                    let (found, expected) = (named(&taken(axis.clone())), taken(named(&axis)));
                    assert_eq!(found, expected, "[{start}:{end}:{step}] of {axis}, t = {t}");
                }
            }
        }
    }
}

/// Any attributes, many of them wrong.
fn any_op() -> impl Strategy<Value = Op> {
    let number = prop_oneof![Just(0), Just(1), Just(2), Just(3), Just(u64::MAX), any::<u64>()];
    let numbers = prop::collection::vec(number, 0..5);
    let kind = 0i32..4;
    (0usize..14, numbers.clone(), numbers.clone(), numbers, kind, any::<bool>()).prop_map(
        |(op, a, b, c, kind, flag)| {
            let axes = |v: &[u64]| v.iter().map(|&n| n as u32).collect::<Vec<_>>();
            let sizes = |v: &[u64]| v.iter().map(|&n| Dim::from(n as i64)).collect::<Vec<_>>();
            let axis = a.first().map_or(0, |&axis| axis as u32);
            let groups = a.first().copied().unwrap_or(1);
            let auto_pad = kind % 3;
            match op {
                0 => Op::Linear(Linear { activations: 0 }),
                1 => Op::MatMul(MatMul {}),
                2 => {
                    let (strides, dilations, pads) = (a, b, c);
                    Op::Conv(Conv { strides, dilations, pads, auto_pad, groups, activations: 0 })
                }
                3 => Op::Pool(Pool {
                    kind: kind % 2,
                    kernel: a.clone(),
                    strides: b.clone(),
                    dilations: a.iter().map(|_| 1).collect(),
                    pads: [&b[..], &c[..]].concat(),
                    auto_pad,
                    ceil_mode: flag,
                    count_include_pad: flag,
                }),
                4 => Op::Gather(Gather { axis }),
                5 => Op::Binary(Binary { function: kind }),
                6 => Op::Select(Select {}),
                7 => Op::Reduce(Reduce { kind, axes: axes(&a), keep_dims: flag }),
                8 => Op::Softmax(Softmax { axis, log: flag }),
                9 => Op::Concat(Concat { axis }),
                10 => Op::Slice(Slice {
                    axes: axes(&a),
                    starts: sizes(&b),
                    ends: sizes(&c),
                    steps: a.iter().map(|&n| (n as i64).wrapping_sub(2)).collect(),
                }),
                11 => Op::Reshape(Reshape { dims: sizes(&a) }),
                12 => Op::Transpose(Transpose { perm: axes(&a) }),
                _ => Op::Pad(Pad { mode: kind, begins: sizes(&a), ends: sizes(&b) }),
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn nothing_makes_a_rule_or_a_plan_panic(
        op in any_op(), shapes in prop::collection::vec(prop::collection::vec(0usize..4, 0..5), 0..4),
    ) {
        let inputs: Vec<Tensor> = shapes.iter().map(|dims| ramp(dims)).collect();
        // Results of up to a million elements are also computed.
        let _ = run(op, &inputs);
    }
}
