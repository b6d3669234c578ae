//! Forms of opsets before 7 become what the later ones become.

use super::*;

/// Both have the same text but for the names of nodes.
#[track_caller]
fn same(old: Build, new: Build) {
    let plain = |build: Build| {
        let text = build.output("y").ops();
        let lines = text.lines().map(|line| line.split("  # ").next().unwrap_or(line).to_owned());
        lines.collect::<Vec<_>>().join("\n")
    };
    let (old, new) = (plain(old), plain(new));
    assert!(new.contains("%y"), "{new}");
    assert_eq!(old, new);
}

#[test]
fn operands_stand_at_an_axis() {
    let of = |opset: i64, dims: &str| Build::new(opset).input("x", "2 3 4 5").input("b", dims);
    let at = |axis: i64| [("axis", A::I(axis)), ("broadcast", A::I(1))];
    for axis in [1, -3] {
        let old = of(6, "3 4").node_with("Add", "x b", "y", &at(axis));
        let new = of(13, "3 4").ints("s", &[3, 4, 1]).node("Reshape", "b s", "Add_0/aligned");
        same(old, new.node("Add", "x Add_0/aligned", "y"));
    }
    let suffix = of(6, "4 5").node_with("Mul", "x b", "y", &[("broadcast", A::I(1))]);
    same(suffix, of(13, "4 5").node("Mul", "x b", "y"));
    same(of(6, "2 3 4 5").node("Less", "x b", "y"), of(13, "2 3 4 5").node("Less", "x b", "y"));
    let error = of(6, "4 5").node("Sub", "x b", "y").output("y").error();
    assert!(error.contains("its inputs have 4 and 2 axes"), "{error}");
    let error = of(6, "4 5").node_with("Sub", "x b", "y", &at(3)).output("y").error();
    assert!(error.contains("axis 3 of 4 for 2 axes"), "{error}");
    let slope = of(6, "3").node("PRelu", "x b", "y");
    let new = of(13, "3").ints("s", &[3, 1, 1]).node("Reshape", "b s", "PRelu_0/channels");
    same(slope, new.node("PRelu", "x PRelu_0/channels", "y"));
}

#[test]
fn inputs_were_attributes() {
    let of = |opset: i64| Build::new(opset).input("x", "n 4");
    same(
        of(1).node_with("Reshape", "x", "y", &[("shape", A::Is(&[0, 2, -1]))]),
        of(13).ints("s", &[0, 2, -1]).node("Reshape", "x s", "y"),
    );
    let new = of(13).node_with("Cast", "x", "y", &[("to", A::I(7))]);
    same(of(5).node_with("Cast", "x", "y", &[("to", A::S("INT64"))]), new);
    let error = of(5).node_with("Cast", "x", "y", &[("to", A::S("int"))]).output("y").error();
    assert!(error.contains("there is no type"), "{error}");
    same(
        of(1).node_with("Pad", "x", "y", &[("paddings", A::Is(&[0, 1, 0, 2]))]),
        of(10).node_with("Pad", "x", "y", &[("pads", A::Is(&[0, 1, 0, 2]))]),
    );
    same(
        of(3).node("Concat", "x x", "y"),
        of(13).node_with("Concat", "x x", "y", &[("axis", A::I(1))]),
    );
    let tiles = of(1).ints("count", &[3]).ints("axis", &[1]);
    same(
        tiles.node("Tile", "x count axis", "y"),
        of(13).ints("r", &[1, 3]).node("Tile", "x r", "y"),
    );
    let parts = of(1).ints("parts", &[1, 3]);
    same(
        parts.node_with("Split", "x parts", "_ y", &[("axis", A::I(1))]),
        of(13).ints("p", &[1, 3]).node_with("Split", "x p", "_ y", &[("axis", A::I(1))]),
    );
    let image = |opset: i64| Build::new(opset).input("x", "1 2 3 4");
    let sides = [("height_scale", A::F(2.0)), ("width_scale", A::F(3.0))];
    same(
        image(1).node_with("Upsample", "x", "y", &sides),
        image(7).node_with("Upsample", "x", "y", &[("scales", A::Fs(&[1.0, 1.0, 2.0, 3.0]))]),
    );
}

#[test]
fn what_trains_is_refused_and_what_meant_nothing_is_read() {
    let of = |opset: i64| Build::new(opset).input("x", "n 4");
    let legacy = [("is_test", A::I(1)), ("ratio", A::F(0.5)), ("consumed_inputs", A::Is(&[0]))];
    let chain = of(1).node_with("Dropout", "x", "d", &legacy).node("Relu", "d", "y");
    let new = of(13).node("Dropout", "x", "d").node("Relu", "d", "y");
    same(chain, new);
    let error = of(6).node("Dropout", "x", "y").output("y").error();
    assert!(error.contains("is_test is 0, which means training"), "{error}");
    let error = of(6).node_with("Relu", "x", "y", &[("consumed_inputs", A::Is(&[0]))]);
    assert!(error.output("y").error().contains("consumed_inputs"), "only before opset 6");
    let layer = |opset: i64, more: &[(&str, A<'_>)]| {
        let build = Build::new(opset).input("x", "t n 4");
        let build = build.weight("w", &[1, 9, 4]).weight("r", &[1, 9, 3]);
        let sizes = [("hidden_size", A::I(3))];
        build.node_with("GRU", "x w r", "y", &[&sizes[..], more].concat())
    };
    same(layer(3, &[("output_sequence", A::I(1))]), layer(14, &[]));
    let selu = |opset: i64| of(opset).node("Selu", "x", "y").output("y").ops();
    assert_ne!(selu(1), selu(6), "its defaults had fewer digits");
}
