//! Operators that readers compose of others, and what opsets changed of them.

use super::*;

/// What must be in the text of a module or of its error.
#[track_caller]
fn says(build: &Build, parts: &[&str]) {
    let text = build.text();
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

fn one(opset: i64, op: &str, dims: &str, attributes: &[(&str, A<'_>)]) -> Build {
    Build::new(opset).input("x", dims).node_with(op, "x", "y", attributes).output("y")
}

#[test]
fn sizes_and_scales_of_resizing() {
    let old =
        Build::new(10).input("x", "1 2 h 4").initializer(f32s("s", &[4], &[1.0, 1.0, 2.0, 0.5]));
    let old = old.node("Resize", "x s", "y").output("y");
    says(&old, &["ResizeNearest(Asymmetric, axes [2, 3], [h*2, 2], scales [2.0, 0.5], Floor)"]);
    let new = |opset: i64, scale: f32, attributes: &[(&str, A<'_>)]| {
        let build = Build::new(opset).input("x", "1 2 h 4");
        let build = build.initializer(f32s("s", &[4], &[1.0, 1.0, scale, 1.0]));
        build.node_with("Resize", "x _ s", "y", attributes).output("y")
    };
    let linear = ("mode", A::S("linear"));
    says(&new(13, 1.5, &[linear]), &["ResizeLinear(HalfPixel, axes [2], [(h*3)/2], scales [1.5])"]);
    says(&new(13, 1.1, &[]), &["the scale 1.1 of an axis of size h"]);
    says(&new(13, 2.0, &[("antialias", A::I(1))]), &["antialias = 1 is not supported in opset 13"]);
    let tf = ("coordinate_transformation_mode", A::S("tf_half_pixel_for_nn"));
    says(&new(13, 2.0, &[tf]), &["in opset 13"]);
    let sizes = Build::new(18).input("x", "1 2 h 4").ints("z", &[7, 9]);
    let axes = [("axes", A::Is(&[2, 3])), ("mode", A::S("cubic"))];
    let sizes = sizes.node_with("Resize", "x _ _ z", "y", &axes).output("y");
    says(&sizes, &["ResizeCubic(HalfPixel, axes [2, 3], [7, 9], cubic -0.75)"]);

    let upsample = one(7, "Upsample", "1 2 h 4", &[("scales", A::Fs(&[1.0, 1.0, 2.0, 2.0]))]);
    says(&upsample, &["ResizeNearest(Asymmetric, axes [2, 3], [h*2, 8]"]);
    says(&one(10, "Upsample", "1 2 h 4", &[]), &["does not exist in opset 10"]);
}

#[test]
fn transposed_convolutions_are_products_put_together() {
    let build = Build::new(11).input("x", "1 4 h w").weight("k", &[4, 3, 2, 2]).weight("b", &[6]);
    let attributes = [
        ("strides", A::Is(&[2, 1])),
        ("pads", A::Is(&[0, 1, 1, 0])),
        ("output_padding", A::Is(&[1, 0])),
        ("group", A::I(2)),
    ];
    let build = build.node_with("ConvTranspose", "x k b", "y", &attributes).output("y");
    says(
        &build,
        &[
            "groups 2, f32) %ConvTranspose_0/flatten",
            "Fold(kernel [2, 2], strides [2, 1], dilations [1, 1], pads [0, 1], [h*2",
            "f32[1, 6, h*2",
        ],
    );
    let same = Build::new(11).input("x", "1 4 t").weight("k", &[4, 3, 3]);
    let same = same.node_with(
        "ConvTranspose",
        "x k",
        "y",
        &[("strides", A::Is(&[2])), ("auto_pad", A::S("SAME_UPPER"))],
    );
    says(&same.output("y"), &["Linear(f32)", "pads [0], [t*2])"]);
}

#[test]
fn reductions_of_all_kinds() {
    let integers = |op: &str, opset: i64| {
        let build = Build::new(opset).typed("x", ElementType::Int64, "n 4");
        build.node_with(op, "x", "y", &[("keepdims", A::I(0))]).output("y")
    };
    for op in ["ReduceSum", "ReduceMax", "ReduceProd", "ReduceL1", "ReduceSumSquare"] {
        says(&integers(op, 13), &["output %y: i64[]"]);
    }
    says(&integers("ReduceMean", 13), &["Mean does not take i64"]);
    says(&integers("ReduceL2", 18), &["takes f32"]);
    let none = [("noop_with_empty_axes", A::I(1))];
    says(&one(18, "ReduceL2", "n 4", &none), &["ReduceSum([], keep_dims)", "Sqrt"]);
    says(&one(17, "ReduceLogSumExp", "n 4", &[("axes", A::Is(&[-1]))]), &["ReduceMax([1]"]);
    says(&one(17, "ReduceL1", "n 4", &none), &["noop_with_empty_axes"]);
}

#[test]
fn the_largest_and_where_it_is() {
    says(
        &one(11, "ArgMax", "n 4", &[("axis", A::I(1))]),
        &["Largest(1 along 1) %x : ", "i64[n, 1]"],
    );
    let last = [("axis", A::I(1)), ("select_last_index", A::I(1)), ("keepdims", A::I(0))];
    says(&one(12, "ArgMin", "n 4", &last), &["by -1) %x", "Smallest(1 along 1)", "i64[n]"]);
    says(&one(11, "ArgMin", "n 4", &last), &["select_last_index = 1 is not supported in opset 11"]);
    says(&one(12, "Hardmax", "n 2 4", &[]), &["f32[n, 8]"]);
    says(&one(13, "Hardmax", "n 2 4", &[]), &["Largest(1 along 2)"]);
}

#[test]
fn normalizations_and_their_scales() {
    let group = |opset: i64, scale: i64| {
        let build =
            Build::new(opset).input("x", "n 6 t").weight("s", &[scale]).weight("b", &[scale]);
        build.node_with("GroupNormalization", "x s b", "y", &[("num_groups", A::I(3))]).output("y")
    };
    says(&group(18, 3), &["f32[n, 3, t*2]", "output %y: f32[n, 6, t]"]);
    says(&group(21, 6), &["f32[n, 3, t*2]", "output %y: f32[n, 6, t]"]);
    let layer = Build::new(17).input("x", "n 6").weight("s", &[6]);
    let layer = layer.node("LayerNormalization", "x s", "y m d").output("y").output("d");
    says(&layer, &["ReduceMean([1], keep_dims) %x", "Reciprocal", "output %d: f32[n, 1]"]);
    let wide = Build::new(17).input("x", "n 1").weight("s", &[6]);
    says(&wide.node("LayerNormalization", "x s", "y").output("y"), &["larger shape"]);
}

#[test]
fn indices_and_their_opsets() {
    let scatter = |opset: i64, reduction: &str| {
        let build = Build::new(opset).input("x", "n 4").input("u", "2 4");
        let build = build.initializer(i64s("i", &[2, 4], &[0; 8]));
        let attributes = [("reduction", A::S(reduction))];
        build.node_with("ScatterElements", "x i u", "y", &attributes).output("y")
    };
    says(&scatter(18, "max"), &["ScatterElements(0, Max)"]);
    says(&scatter(16, "max"), &["reduction \"max\" in opset 16"]);
    says(&scatter(13, "add"), &["reduction = \"add\" is not supported in opset 13"]);
    let range = Build::new(13).input("x", "n 4").ints("a", &[0]).ints("i", &[0]);
    let range = range
        .node("Shape", "x", "s")
        .node("Gather", "s i", "n1")
        .node_with("Squeeze", "n1", "n", &[])
        .initializer(i64s("zero", &[], &[0]))
        .initializer(i64s("one", &[], &[1]))
        .node("Range", "zero n one", "y")
        .output("y");
    says(&range, &["CumulativeSum(0, exclusive)", "output %y: i64[n]"]);
    let few = Build::new(13)
        .initializer(i64s("a", &[], &[5]))
        .initializer(i64s("b", &[], &[0]))
        .initializer(i64s("c", &[], &[-2]))
        .node("Range", "a b c", "y")
        .output("y");
    says(&few, &["output %y: i64[3]"]);
}

#[test]
fn products_over_named_axes() {
    let einsum = |equation: &str, a: &str, b: &str| {
        let build = Build::new(12).input("a", a).input("b", b);
        build.node_with("Einsum", "a b", "y", &[("equation", A::S(equation))]).output("y")
    };
    says(&einsum("bij, bjk -> bik", "2 n 4", "2 4 5"), &["MatMul", "output %y: f32[2, n, 5]"]);
    says(&einsum("i,j", "n", "m"), &["Mul", "output %y: f32[n, m]"]);
    says(&einsum("...ij,jk->...ki", "2 3 n 4", "4 5"), &["output %y: f32[2, 3, 5, n]"]);
    says(&einsum("ij,jk->il", "n 4", "4 5"), &["equation \"ij,jk->il\""]);
    says(&einsum("ij->j", "n 4", "4 5"), &["equation"]);
}

#[test]
fn spectra_by_opset() {
    let old = one(17, "DFT", "1 t 1", &[("onesided", A::I(1))]);
    says(&old, &["Fourier([t], onesided) %x"]);
    let new = Build::new(20).input("x", "8 t 1").initializer(i64s("axis", &[], &[0]));
    says(&new.node("DFT", "x _ axis", "y").output("y"), &["Fourier([8])", "Transpose"]);
    let stft = Build::new(17)
        .input("x", "1 t 1")
        .initializer(i64s("step", &[], &[4]))
        .initializer(f32s("w", &[8], &[1.0; 8]))
        .node("STFT", "x step w", "y")
        .output("y");
    says(&stft, &["output %y: f32[1, (t + -8)/4 + 1, 5, 2]"]);
}
