//! Pooling, resizing, windows that are put together, and normalization.

use super::*;

/// A convolution and a bend, to `a` with 4 channels, before what is tested.
#[track_caller]
fn check_after_convolution(dims: &[usize], nodes: impl Fn(Build) -> Build) {
    let text: Vec<String> = dims.iter().map(usize::to_string).collect();
    let mut w = vec![4, dims[1] as i64];
    w.resize(dims.len(), 1);
    let build = Build::new(17).input("x", &text.join(" ")).initializer(weight("w", &w, 0.7));
    let build = build.node("Conv", "x w", "c").node("Tanh", "c", "a");
    check(&nodes(build).output("y"), &[dims]);
}

#[test]
fn pooling() {
    let windows: [&[(&str, A<'_>)]; 5] = [
        &[],
        &[("strides", A::Is(&[2, 1]))],
        &[("pads", A::Is(&[1, 2, 0, 1])), ("strides", A::Is(&[2, 2]))],
        &[("ceil_mode", A::I(1)), ("strides", A::Is(&[3, 2])), ("pads", A::Is(&[0, 1, 1, 0]))],
        &[("auto_pad", A::S("SAME_LOWER")), ("strides", A::Is(&[2, 3]))],
    ];
    for window in windows {
        for (op, more) in [
            ("MaxPool", None),
            ("AveragePool", None),
            ("AveragePool", Some(("count_include_pad", A::I(1)))),
            ("LpPool", Some(("p", A::I(2)))),
        ] {
            if op == "LpPool" && window.iter().any(|(name, _)| *name == "ceil_mode") {
                continue;
            }
            let kernel = ("kernel_shape", A::Is(&[2, 3]));
            let all: Vec<_> = window.iter().cloned().chain(more).chain([kernel]).collect();
            check_after_convolution(&[2, 3, 5, 7], |b| b.node_with(op, "a", "y", &all));
        }
    }
    let dilated = [("kernel_shape", A::Is(&[2, 2])), ("dilations", A::Is(&[2, 3]))];
    check_after_convolution(&[2, 3, 5, 7], |b| b.node_with("MaxPool", "a", "y numbers", &dilated));
    for op in ["MaxPool", "AveragePool"] {
        let window = [("kernel_shape", A::Is(&[3])), ("pads", A::Is(&[1, 2]))];
        check_after_convolution(&[3, 2, 8], |b| b.node_with(op, "a", "y", &window));
    }
    for op in ["GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"] {
        check_after_convolution(&[2, 3, 3, 4], |b| b.node(op, "a", "y"));
    }
}

#[test]
fn resizing() {
    let modes: [&[(&str, A<'_>)]; 6] = [
        &[("mode", A::S("nearest"))],
        &[("mode", A::S("nearest")), ("coordinate_transformation_mode", A::S("asymmetric"))],
        &[("mode", A::S("linear"))],
        &[("mode", A::S("linear")), ("coordinate_transformation_mode", A::S("align_corners"))],
        &[("mode", A::S("cubic"))],
        &[("mode", A::S("cubic")), ("exclude_outside", A::I(1))],
    ];
    for mode in modes {
        check_after_convolution(&[2, 1, 4, 5], |b| {
            b.ints("sizes", &[2, 4, 7, 3]).node_with("Resize", "a _ _ sizes", "y", mode)
        });
        check_after_convolution(&[2, 1, 4, 5], |b| {
            let scales = f32s("scales", &[4], &[1.0, 1.0, 1.7, 2.0]);
            b.initializer(scales).node_with("Resize", "a _ scales", "y", mode)
        });
    }
    let crop = [
        ("mode", A::S("linear")),
        ("coordinate_transformation_mode", A::S("tf_crop_and_resize")),
        ("extrapolation_value", A::F(3.0)),
    ];
    check_after_convolution(&[2, 1, 4, 5], |b| {
        let region = f32s("region", &[8], &[0.0, 0.0, 0.2, -0.1, 1.0, 1.0, 0.9, 1.2]);
        let b = b.initializer(region).ints("sizes", &[2, 4, 6, 6]);
        b.node_with("Resize", "a region _ sizes", "y", &crop)
    });
}

#[test]
fn transposed_convolutions_and_volumes() {
    let cases: [&[(&str, A<'_>)]; 4] = [
        &[],
        &[("strides", A::Is(&[2, 3])), ("pads", A::Is(&[1, 0, 0, 2]))],
        &[("strides", A::Is(&[3, 1])), ("dilations", A::Is(&[1, 2])), ("group", A::I(2))],
        &[("strides", A::Is(&[2, 2])), ("output_padding", A::Is(&[1, 0]))],
    ];
    for attributes in cases {
        let groups = if attributes.len() == 3 { 2 } else { 1 };
        check_after_convolution(&[2, 3, 4, 3], |b| {
            let b = b.initializer(weight("v", &[4, 6 / groups, 3, 2], 0.6));
            let b = b.initializer(weight("b", &[6], 0.6));
            b.node_with("ConvTranspose", "a v b", "y", attributes)
        });
    }
    check_after_convolution(&[2, 3, 6], |b| {
        let b = b.initializer(weight("v", &[4, 2, 3], 0.6));
        b.node_with("ConvTranspose", "a v", "y", &[("strides", A::Is(&[2]))])
    });
    check_after_convolution(&[1, 2, 3, 4, 5], |b| {
        let b = b.initializer(weight("v", &[3, 4, 2, 3, 2], 0.6));
        b.node_with("Conv", "a v", "y", &[("strides", A::Is(&[1, 2, 1]))])
    });
}

#[test]
fn normalization() {
    let scale = |name: &str, size: i64| weight(name, &[size], 0.8);
    check_after_convolution(&[2, 3, 4, 3], |b| {
        let b = b.initializer(scale("s", 4)).initializer(scale("o", 4));
        b.node("InstanceNormalization", "a s o", "y")
    });
    check_after_convolution(&[2, 3, 4, 3], |b| {
        let b = b.initializer(scale("s", 4)).initializer(scale("o", 4)).initializer(scale("m", 4));
        let variance = f32s("v", &[4], &[0.5, 1.0, 2.0, 0.3]);
        let b = b.initializer(variance).node("Sin", "a", "t");
        b.node("BatchNormalization", "t s o m v", "y")
    });
    check_after_convolution(&[2, 3, 4, 3], |b| b.node_with("LRN", "a", "y", &[("size", A::I(3))]));
    check_after(|b| {
        let b = b.initializer(scale("s", 5)).initializer(scale("o", 5));
        b.node("LayerNormalization", "h s o", "y")
    });
}
