//! Indices, sequences, windows and places between entries, against definitions written another way.

use alloc::vec::Vec;

use amq_format::graph::{
    Cumulative, CumulativeKind, Dim, Fold, Fourier, GatherElements, GatherNd, GridSample,
    Interpolation, Op, Placement, Resize, ReverseSequence, ScatterElements, ScatterKind, ScatterNd,
};

use crate::ops::testing::{Tensor, as_f32, floats, integers, run};

/// Numbers that follow each other without order.
fn noise(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + 11) % 101) as f32 / 16.0 - 3.0).collect()
}

fn grid(rows: usize, columns: usize) -> Tensor {
    floats(&[rows, columns], noise(rows * columns))
}

#[test]
fn elements_are_gathered_and_scattered_where_indices_say() {
    let (x, indices) = (grid(3, 5), [2i64, -3, 1, 0, -1, 1, 1, 2, -2, 0]);
    let row = |i: i64| i.rem_euclid(3) as usize;
    let index = integers(&[2, 5], indices);
    let y = run(Op::GatherElements(GatherElements { axis: 0 }), &[x.clone(), index.clone()]);
    let expected: Vec<f32> = (0..10).map(|at| as_f32(&x)[row(indices[at]) * 5 + at % 5]).collect();
    assert_eq!(as_f32(&y.unwrap()), expected);

    let updates = grid(2, 5);
    for kind in [ScatterKind::Replace, ScatterKind::Add, ScatterKind::Max] {
        let mut expected = as_f32(&x).to_vec();
        for (at, (&index, &new)) in indices.iter().zip(as_f32(&updates)).enumerate() {
            let to = row(index) * 5 + at % 5;
            expected[to] = match kind {
                ScatterKind::Add => expected[to] + new,
                ScatterKind::Max => expected[to].max(new),
                _ => new,
            };
        }
        let op = Op::ScatterElements(ScatterElements { axis: 0, kind: kind.into() });
        let y = run(op, &[x.clone(), index.clone(), updates.clone()]).unwrap();
        assert_eq!(as_f32(&y), expected);
    }
    let far = integers(&[1, 1], [3]);
    assert!(run(Op::GatherElements(GatherElements { axis: 0 }), &[x, far]).is_err());
}

#[test]
fn tuples_of_indices_choose_parts() {
    let x = floats(&[2, 3, 2], noise(12));
    let index = integers(&[2, 2], [1, -1, 0, 0]);
    let y = run(Op::GatherNd(GatherNd { batch_axes: 0 }), &[x.clone(), index.clone()]).unwrap();
    assert_eq!(as_f32(&y), [&as_f32(&x)[10..], &as_f32(&x)[..2]].concat());
    let batched = integers(&[2, 1], [2, 0]);
    let y = run(Op::GatherNd(GatherNd { batch_axes: 1 }), &[x.clone(), batched]).unwrap();
    assert_eq!(as_f32(&y), [&as_f32(&x)[4..6], &as_f32(&x)[6..8]].concat());
    let updates = floats(&[2, 2], [1.0, 2.0, 3.0, 4.0]);
    let op = Op::ScatterNd(ScatterNd { kind: ScatterKind::Replace.into() });
    let y = run(op, &[x.clone(), index, updates]).unwrap();
    assert_eq!(as_f32(&y), [&[3.0, 4.0], &as_f32(&x)[2..10], &[1.0, 2.0]].concat());
}

#[test]
fn totals_and_reversed_sequences_go_along_an_axis() {
    let x = grid(2, 4);
    for (exclusive, reverse) in [(false, false), (true, false), (false, true), (true, true)] {
        let kind = CumulativeKind::Sum.into();
        let op = Op::Cumulative(Cumulative { kind, axis: 1, exclusive, reverse });
        let y = run(op, core::slice::from_ref(&x)).unwrap();
        for (x, y) in as_f32(&x).chunks(4).zip(as_f32(&y).chunks(4)) {
            for (i, y) in y.iter().enumerate() {
                let counts = |j: usize| {
                    let before = if reverse { j > i } else { j < i };
                    before || (j == i && !exclusive)
                };
                let expected: f32 = (0..4).filter(|&j| counts(j)).map(|j| x[j]).sum();
                assert_eq!(*y, expected, "{i}, {exclusive}, {reverse}");
            }
        }
    }
    // Time before sequences and behind them.
    let x = floats(&[3, 2], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let op = Op::ReverseSequence(ReverseSequence { time_axis: 0, batch_axis: 1 });
    let y = run(op, &[x.clone(), integers(&[2], [2, 3])]).unwrap();
    assert_eq!(as_f32(&y), [3.0, 6.0, 1.0, 4.0, 5.0, 2.0]);
    let op = Op::ReverseSequence(ReverseSequence { time_axis: 1, batch_axis: 0 });
    let y = run(op, &[x, integers(&[3], [2, 0, 1])]).unwrap();
    assert_eq!(as_f32(&y), [2.0, 1.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn windows_are_folded_where_they_overlap() {
    let (kernel, strides) = ([2usize, 3], [1usize, 2]);
    let (dilations, pads) = ([2usize, 1], [1usize, 1]);
    let (positions, sizes) = ([3, 4], [4, 6]);
    let x = floats(&[1, 3, 4, 12], noise(144));
    let mut expected = [0.0f32; 48];
    for at in 0..144 {
        let (rest, column, row) = (at % 12, at / 12 % 4, at / 48);
        let (k, l, channel) = (rest % 3, rest / 3 % 2, rest / 6);
        let y = (row * strides[0] + l * dilations[0]).checked_sub(pads[0]);
        let x_at = (column * strides[1] + k * dilations[1]).checked_sub(pads[1]);
        if let (Some(y), Some(x_at)) = (y, x_at)
            && y < sizes[0]
            && x_at < sizes[1]
        {
            expected[(channel * sizes[0] + y) * sizes[1] + x_at] += as_f32(&x)[at];
        }
    }
    assert_eq!(positions.iter().product::<usize>(), 12);
    let op = Fold {
        kernel: kernel.map(|k| k as u64).to_vec(),
        strides: strides.map(|s| s as u64).to_vec(),
        dilations: dilations.map(|d| d as u64).to_vec(),
        pads: pads.map(|p| p as u64).to_vec(),
        sizes: sizes.map(|s| Dim::from(s as i64)).to_vec(),
    };
    let y = run(Op::Fold(op), &[x]).unwrap();
    for (y, expected) in as_f32(&y).iter().zip(expected) {
        assert!((y - expected).abs() < 1e-4, "{y} {expected}");
    }
}

#[test]
fn spectra_are_sums_of_turned_points() {
    for points in [1, 2, 3, 5, 8, 12, 20] {
        let x = floats(&[2, points, 2], noise(4 * points));
        let op = |inverse| Fourier {
            points: [Dim::from(points as i64)].to_vec(),
            inverse,
            onesided: false,
        };
        let y = run(Op::Fourier(op(false)), core::slice::from_ref(&x)).unwrap();
        for (x, y) in as_f32(&x).chunks(2 * points).zip(as_f32(&y).chunks(2 * points)) {
            for k in 0..points {
                let (mut re, mut im) = (0.0f64, 0.0f64);
                for j in 0..points {
                    let angle = -2.0 * core::f64::consts::PI * (j * k) as f64 / points as f64;
                    let (a, b) = (f64::from(x[2 * j]), f64::from(x[2 * j + 1]));
                    re += a * angle.cos() - b * angle.sin();
                    im += a * angle.sin() + b * angle.cos();
                }
                assert!((re - f64::from(y[2 * k])).abs() < 1e-3, "{points}, {k}");
                assert!((im - f64::from(y[2 * k + 1])).abs() < 1e-3, "{points}, {k}");
            }
        }
        let back = run(Op::Fourier(op(true)), &[y]).unwrap();
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-4;
        assert!(as_f32(&x).iter().zip(as_f32(&back)).all(near), "{points}");
    }
}

#[test]
fn entries_between_are_weighted() {
    let resize = |mode: Interpolation, size: i64| Resize {
        mode: mode.into(),
        placement: Placement::HalfPixel.into(),
        axes: [1].to_vec(),
        sizes: [Dim::from(size)].to_vec(),
        cubic: -0.5,
        ..Resize::default()
    };
    let x = floats(&[1, 2, 1], [1.0, 2.0]);
    let y = run(Op::Resize(resize(Interpolation::Linear, 4)), core::slice::from_ref(&x)).unwrap();
    assert_eq!(as_f32(&y), [1.0, 1.25, 1.75, 2.0]);
    let y = run(Op::Resize(resize(Interpolation::Nearest, 4)), &[x]).unwrap();
    assert_eq!(as_f32(&y), [1.0, 1.0, 2.0, 2.0]);
    // A cubic with the coefficient -0.5 keeps parabolas where it does not reach the ends.
    let square = floats(&[1, 8, 1], (0..8).map(|i| (i * i) as f32));
    let y = run(Op::Resize(resize(Interpolation::Cubic, 16)), &[square]).unwrap();
    for i in 4..12 {
        let at = (i as f32 + 0.5) / 2.0 - 0.5;
        assert!((as_f32(&y)[i] - at * at).abs() < 1e-4, "{i}");
    }

    // A scale near 0 asks for more entries than there are.
    let scales = [1e-30].to_vec();
    let far = Resize { antialias: true, scales, ..resize(Interpolation::Linear, 4) };
    let error = run(Op::Resize(far), &[floats(&[1, 2, 1], [1.0, 2.0])]).unwrap_err();
    assert!(error.contains("entries for each of 4"), "{error}");

    let x = floats(&[1, 1, 2, 3], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let points = floats(&[1, 1, 3, 2], [-1.0, -1.0, 1.0, 1.0, 0.5, 0.0]);
    let op = GridSample { mode: Interpolation::Linear.into(), padding: 0, align_corners: true };
    let y = run(Op::GridSample(op), &[x, points]).unwrap();
    assert_eq!(as_f32(&y), [1.0, 6.0, 4.0]);
}
