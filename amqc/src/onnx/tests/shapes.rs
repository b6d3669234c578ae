//! Shapes that the graph computes, and views made with them.

use super::*;

/// The recurrent exports' idiom: an initial state of the input's batch size.
#[test]
fn shape_arithmetic_leaves_no_operators() {
    let text = Build::new(17)
        .input("x", "seq batch 4")
        .initializer(i64s("one", &[], &[1]))
        .ints("zero", &[0])
        .ints("layers", &[2])
        .ints("hidden", &[8])
        .node("Shape", "x", "shape")
        .node_with("Gather", "shape one", "batch", &[("axis", A::I(0))])
        .node("Unsqueeze", "batch zero", "batch1")
        .node_with("Concat", "layers batch1 hidden", "state", &[("axis", A::I(0))])
        .node_with("ConstantOfShape", "state", "h0", &[("value", A::T(f32s("", &[1], &[0.5])))])
        .output("h0")
        .text();
    assert_eq!(
        text,
        "input %x: f32[seq, batch, 4]\n\
         constant %ConstantOfShape_4/value: f32[] = 0.5\n\
         %h0 = Expand([2, batch, 8]) %ConstantOfShape_4/value : f32[2, batch, 8]  # ConstantOfShape_4\n\
         output %h0: f32[2, batch, 8]\n"
    );
}

#[test]
fn a_guard_against_minus_one_is_decided() {
    let text = Build::new(17)
        .input("x", "1 1 4")
        .input("like", "n 2 4")
        .ints("minus", &[-1])
        .node("Shape", "like", "shape")
        .node("Equal", "shape minus", "equal")
        .node_with("ConstantOfShape", "three", "ones", &[("value", A::T(i64s("", &[1], &[1])))])
        .ints("three", &[3])
        .node("Where", "equal ones shape", "chosen")
        .node("Expand", "x chosen", "y")
        .output("y")
        .ops();
    assert_eq!(
        text,
        "%y = Expand([n, 2, 4]) %x : f32[n, 2, 4]  # Expand_4\noutput %y: f32[n, 2, 4]\n"
    );
}

#[test]
fn what_cannot_be_decided_runs_as_data_and_gives_a_size() {
    let build = Build::new(17)
        .input("x", "n 4")
        .ints("three", &[3])
        .node_with("Shape", "x", "n", &[("end", A::I(1))])
        .node("Equal", "n three", "equal")
        .node("Where", "equal n three", "chosen");
    let text = build.clone().output("chosen").ops();
    assert_eq!(
        text,
        "%n = Dims([n]) : i64[1]  # n\n\
         %equal = Equal %n, %three : bool[1]  # Equal_1\n\
         %chosen = Select %equal, %n, %three : i64[1]  # Where_2\n\
         output %chosen: i64[1]\n"
    );
    let text = build.node("Expand", "x chosen", "y").output("y").ops();
    let sizes = "%Expand_3/sizes_1 = Sizes %chosen : i64[1]  # Expand_3/sizes_1\n";
    assert!(text.contains(sizes), "{text}");
}

#[test]
fn division_of_sizes_rounds_towards_zero() {
    let text = Build::new(17)
        .input("x", "n 4")
        .ints("five", &[5])
        .ints("two", &[2])
        .node_with("Shape", "x", "n", &[("end", A::I(1))])
        .node("Sub", "n five", "less")
        .node("Div", "less two", "half")
        .node("Div", "n two", "sure")
        .output("half")
        .output("sure")
        .ops();
    // Below five the quotient of the difference is negative, and floor would be one less.
    assert!(text.contains("%sure = Dims([n/2])"), "{text}");
    let line = text.lines().next().unwrap();
    assert!(line.contains("max(0, n + -5)") && line.contains("max(0, n*-1 + 5)"), "{line}");
}

#[test]
fn pads_of_pytorch_are_followed() {
    // [left, right] of the last axis, filled up with zeros, reversed in pairs and transposed.
    let text = Build::new(17)
        .input("x", "n 3 5")
        .ints("pads", &[1, 2])
        .ints("four", &[4])
        .node_with("ConstantOfShape", "four", "zeros", &[("value", A::T(i64s("", &[1], &[0])))])
        .node_with("Cast", "zeros", "zeros_int", &[("to", A::I(7))])
        .node_with("Concat", "pads zeros_int", "all", &[("axis", A::I(0))])
        .ints("pairs_shape", &[-1, 2])
        .node("Reshape", "all pairs_shape", "pairs")
        .ints("start", &[-1])
        .ints("end", &[-9223372036854775807])
        .ints("axis", &[0])
        .node("Slice", "pairs start end axis start", "reversed")
        .node_with("Transpose", "reversed", "transposed", &[("perm", A::Is(&[1, 0]))])
        .ints("flat", &[-1])
        .node("Reshape", "transposed flat", "order")
        .node("Pad", "x order", "y")
        .output("y")
        .ops();
    assert!(
        text.ends_with(
            "%y = Pad(Constant, [0, 0, 1], [0, 0, 2]) %x : f32[n, 3, 8]  # Pad_7\n\
             output %y: f32[n, 3, 8]\n"
        ),
        "{text}"
    );
}

#[test]
fn shapes_used_as_data_become_operators() {
    let text = Build::new(17)
        .input("x", "n 4")
        .node("Size", "x", "size")
        .node_with("Cast", "size", "float", &[("to", A::I(1))])
        .node("Div", "x float", "y")
        .output("y")
        .ops();
    assert_eq!(
        text,
        "%size/dims = Dims([n*4]) : i64[1]  # size/dims\n\
         %size = Reshape([]) %size/dims : i64[]  # size\n\
         %float = Cast(f32) %size : f32[]  # Cast_1\n\
         %y = Div %x, %float : f32[n, 4]  # Div_2\n\
         output %y: f32[n, 4]\n"
    );
}

#[test]
fn reshape_copies_infers_and_keeps_zeros() {
    let reshaped = |shape: &[i64], attributes: &[(&str, A<'_>)]| {
        let build = Build::new(14).input("x", "n 6 4").ints("shape", shape);
        build.node_with("Reshape", "x shape", "y", attributes).output("y").text()
    };
    assert!(reshaped(&[0, -1], &[]).ends_with("output %y: f32[n, 24]\n"));
    assert!(reshaped(&[-1, 0, 2, 2], &[]).ends_with("output %y: f32[n, 6, 2, 2]\n"));
    assert!(reshaped(&[-1], &[]).ends_with("output %y: f32[n*24]\n"));
    assert!(reshaped(&[-1, -1], &[]).contains("-1 is twice"));
    assert!(reshaped(&[-2], &[]).contains("-2 is in the shape"));
    assert!(reshaped(&[0, 0, 0, 0], &[]).contains("axis 3 of the shape is 0"));
    assert!(reshaped(&[0, -1], &[("allowzero", A::I(1))]).contains("divided by zero"));
}

#[test]
fn views_agree_across_opsets() {
    let output = |build: Build| build.output("y").text().lines().last().unwrap().to_owned();
    let squeeze = |opset: i64| {
        let build = Build::new(opset).input("x", "n 1 3 1").ints("axes", &[1, -1]);
        output(if opset < 13 {
            build.node_with("Squeeze", "x", "y", &[("axes", A::Is(&[1, 3]))])
        } else {
            build.node("Squeeze", "x axes", "y")
        })
    };
    assert_eq!(squeeze(11), "output %y: f32[n, 3]");
    assert_eq!(squeeze(13), "output %y: f32[n, 3]");
    let unsqueeze = |opset: i64| {
        let build = Build::new(opset).input("x", "n 3").ints("axes", &[-1, 0]);
        output(if opset < 13 {
            build.node_with("Unsqueeze", "x", "y", &[("axes", A::Is(&[0, 3]))])
        } else {
            build.node("Unsqueeze", "x axes", "y")
        })
    };
    assert_eq!(unsqueeze(11), "output %y: f32[1, n, 3, 1]");
    assert_eq!(unsqueeze(21), "output %y: f32[1, n, 3, 1]");
    let flatten = Build::new(13).input("x", "n 2 3").node("Flatten", "x", "y");
    assert_eq!(output(flatten), "output %y: f32[n, 6]");
    let flatten =
        Build::new(13).input("x", "n 2").node_with("Flatten", "x", "y", &[("axis", A::I(0))]);
    assert_eq!(output(flatten), "output %y: f32[1, n*2]");
    let all = Build::new(13).input("x", "1 3 1").node("Squeeze", "x", "y");
    assert_eq!(output(all), "output %y: f32[3]");
}

#[test]
fn slices_take_bounds_from_attributes_or_inputs() {
    let old = Build::new(9).input("x", "n 8").node_with(
        "Slice",
        "x",
        "y",
        &[("axes", A::Is(&[1])), ("starts", A::Is(&[2])), ("ends", A::Is(&[-1]))],
    );
    let new = Build::new(13)
        .input("x", "n 8")
        .ints("starts", &[2])
        .ints("ends", &[-1])
        .ints("axes", &[-1])
        .node("Slice", "x starts ends axes", "y");
    for build in [old, new] {
        assert_eq!(
            build.output("y").ops(),
            "%y = Slice(1: 2..-1 by 1) %x : f32[n, 5]  # Slice_0\noutput %y: f32[n, 5]\n"
        );
    }
    let step = Build::new(13)
        .input("x", "n 8")
        .ints("a", &[0])
        .node("Slice", "x a a a a", "y")
        .output("y");
    assert!(step.error().contains("a step is 0"));
}

#[test]
fn splits_are_slices() {
    let equal =
        Build::new(13).input("x", "n 6").node_with("Split", "x", "a b", &[("axis", A::I(-1))]);
    assert_eq!(
        equal.output("a").output("b").ops(),
        "%a = Slice(1: 0..3 by 1) %x : f32[n, 3]  # Split_0/0\n\
         %b = Slice(1: 3..6 by 1) %x : f32[n, 3]  # Split_0/1\n\
         output %a: f32[n, 3]\n\
         output %b: f32[n, 3]\n"
    );
    let uneven = Build::new(18).input("x", "7 2").node_with(
        "Split",
        "x",
        "a b c",
        &[("num_outputs", A::I(3))],
    );
    let uneven = uneven.output("c").ops();
    assert!(uneven.starts_with("%c = Slice(0: 6..7 by 1)"), "{uneven}");
    let sizes = Build::new(13).input("x", "n 2").ints("sizes", &[2, 3]);
    let error = sizes.node("Split", "x sizes", "a b").output("b").error();
    assert!(error.contains("its parts have 5 entries together, and the axis n"), "{error}");
    let odd = Build::new(13).input("x", "n 2").node("Split", "x", "a b").output("b").error();
    assert!(odd.contains("an axis of size n in 2 equal parts"), "{odd}");
    let parts = [("num_outputs", A::I(2))];
    let odd = Build::new(18).input("x", "n 2").node_with("Split", "x", "a b", &parts).output("b");
    assert!(odd.error().contains("an axis of size n in 2 equal parts"), "{}", odd.error());
}
