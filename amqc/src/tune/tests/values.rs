//! Products of two values, and what goes along axes or by index.

use super::*;

#[test]
fn products_of_two_values() {
    let both = |a: &[i64], b: &[i64]| {
        check_after(|build| {
            let build = build.node("Tanh", "h", "t").ints("left", a).ints("right", b);
            let build = build.node("Reshape", "h left", "p").node("Reshape", "t right", "q");
            build.node("MatMul", "p q", "y")
        });
    };
    both(&[4, 5], &[5, 4]);
    both(&[2, 2, 5], &[5, 4]);
    both(&[4, 5], &[2, 5, 2]);
    both(&[2, 1, 2, 5], &[2, 5, 2]);
    both(&[1, 2, 2, 5], &[2, 1, 5, 2]);
    both(&[20], &[20]);
    both(&[4, 5], &[4, 5, 1]);
    both(&[2, 2, 5], &[2, 5, 2]);
    let axes = i64s("axes", &[1], &[0]);
    for product in ["h v", "v t"] {
        check_after(|b| {
            let b = b.initializer(axes.clone()).node_with("Transpose", "h", "t", &[]);
            let b = b.node_with("ReduceSum", "h axes", "v", &[("keepdims", A::I(0))]);
            b.node("MatMul", product, "y")
        });
    }
}

#[test]
fn elements_by_index() {
    let along = |axis: i64, dims: &[i64], indices: &[i64]| {
        let indices = i64s("i", dims, indices);
        check_after(|b| {
            let b = b.initializer(indices.clone());
            b.node_with("GatherElements", "h i", "y", &[("axis", A::I(axis))])
        });
    };
    along(1, &[4, 3], &[4, 0, 0, 1, -1, 2, 3, 3, 3, 0, 1, 2]);
    along(0, &[2, 5], &[3, 0, 0, 1, -1, 2, 3, 0, 1, 2]);
    for (batch, dims, indices) in [
        (0, &[3, 2][..], &[3, 0, 1, 4, 3, 0][..]),
        (0, &[2, 2, 1], &[3, 0, 0, -1]),
        (1, &[4, 1], &[4, 0, 2, 2]),
        (1, &[4, 2, 1], &[4, 0, 2, 2, 1, 0, 3, 3]),
    ] {
        let indices = i64s("i", dims, indices);
        check_after(|b| {
            let b = b.initializer(indices.clone());
            b.node_with("GatherND", "h i", "y", &[("batch_dims", A::I(batch))])
        });
    }
}

#[test]
fn elements_that_are_written() {
    for reduction in ["none", "add"] {
        // Of several that are written to one place, the last stays.
        for (op, dims, indices) in [
            ("ScatterElements", &[2, 5][..], &[3, 0, 1, 1, -1, 3, 0, 0, 2, 2][..]),
            ("ScatterND", &[2, 1], &[3, 1]),
            ("ScatterND", &[2, 1], &[2, 2]),
        ] {
            let indices = i64s("i", dims, indices);
            check_after(|b| {
                let b = b.initializer(indices.clone()).ints("s", &[1]).ints("e", &[3]);
                let b = b.node("Tanh", "h", "t").node("Slice", "t s e", "u");
                b.node_with(op, "h i u", "y", &[("reduction", A::S(reduction))])
            });
        }
    }
}

#[test]
fn sequences_that_are_reversed() {
    for (time, lengths) in [(0, &[4, 2, 1, 3, 4][..]), (1, &[5, 1, 2, 4])] {
        let lengths = i64s("lengths", &[lengths.len() as i64], lengths);
        let axes = [("time_axis", A::I(time)), ("batch_axis", A::I(1 - time))];
        check_after(|b| {
            b.initializer(lengths.clone()).node_with("ReverseSequence", "h lengths", "y", &axes)
        });
    }
}

#[test]
fn running_sums() {
    for axis in [0, 1] {
        for (exclusive, reverse) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let flags = [("exclusive", A::I(exclusive)), ("reverse", A::I(reverse))];
            let axis = i64s("axis", &[], &[axis]);
            check_after(|b| b.initializer(axis.clone()).node_with("CumSum", "h axis", "y", &flags));
        }
    }
}

#[test]
fn spectra() {
    for (shape, length) in [(&[4, 5, 1], 5), (&[4, 5, 1], 8), (&[2, 5, 2], 3), (&[2, 5, 2], 5)] {
        let real = shape[2] == 1;
        for (inverse, onesided) in [(0, 0), (1, 0), (0, 1)] {
            if onesided == 1 && !real {
                continue;
            }
            let flags = [("inverse", A::I(inverse)), ("onesided", A::I(onesided))];
            let length = i64s("length", &[], &[length]);
            check_after(|b| {
                let b = b.initializer(length.clone()).ints("shape", shape);
                let b = b.node("Reshape", "h shape", "r");
                b.node_with("DFT", "r length", "y", &flags)
            });
        }
    }
}

#[test]
fn vectors_of_channels_are_trained() {
    let (scale, shift) = (weight("scale", &[5], 0.9), weight("shift", &[1, 5], 0.9));
    let build = begin().initializer(scale).initializer(shift).node("Sin", "h", "s");
    let build = build.node("Mul", "s scale", "m").node("Sub", "shift m", "y").output("y");
    let mut case = Case::new(&build, None, &[&[4, 6]]);
    let trained = |case: &Case| {
        let names =
            case.params.all.iter().map(|param| case.module.name(param.value.unwrap()).to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(trained(&case)[2..], ["scale", "shift"]);
    check_gradients(&mut case);
    // What prepares data, masks, and what stands elsewhere too, is not.
    let mask = weight("mask", &[4, 5], 0.9);
    let build = Build::new(17).input("raw", "n 6").initializer(weight("mean", &[6], 0.5));
    let build = build.node("Sub", "raw mean", "x").initializer(weight("w", &[6, 5], 0.7));
    let build = build.initializer(mask).initializer(weight("twice", &[1, 6], 0.5));
    let build = build.node("MatMul", "x w", "h").node("Mul", "h mask", "m").node("Tanh", "m", "t");
    let build = build.ints("six", &[4, 6]).ints("none", &[0, 0, 0, 1]);
    let build = build.node("Pad", "t none", "p").node("Mul", "p twice", "q");
    let build = build.node("Add", "raw twice", "r").node("Add", "q r", "y").output("y");
    assert_eq!(trained(&Case::new(&build, None, &[&[4, 6]])), ["w^T"]);
}
