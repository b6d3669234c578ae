//! Sequences and optional values leave no operators.

use super::*;

#[test]
fn parts_are_put_together_again() {
    let build = Build::new(17)
        .input("x", "n 6")
        .ints("two", &[2])
        .initializer(i64s("part", &[], &[4]))
        .initializer(i64s("last", &[], &[-1]))
        .initializer(i64s("first", &[], &[0]))
        .node_with("SplitToSequence", "x part", "parts", &[("axis", A::I(1))])
        .node("SequenceAt", "parts last", "tail")
        .node("SequenceErase", "parts last", "head")
        .node("SequenceInsert", "head tail first", "turned")
        .node("SequenceLength", "turned", "count")
        .node_with("ConcatFromSequence", "turned", "y", &[("axis", A::I(-1))])
        .output("y")
        .output("count");
    assert_eq!(
        build.ops(),
        "%SplitToSequence_0/0 = Slice(1: 0..4 by 1) %x : f32[n, 4]  # SplitToSequence_0/0\n\
         %tail = Slice(1: 4..6 by 1) %x : f32[n, 2]  # SplitToSequence_0/1\n\
         %y = Concat(1) %tail, %SplitToSequence_0/0 : f32[n, 6]  # ConcatFromSequence_5\n\
         output %y: f32[n, 6]\n\
         output %count: i64[]\n"
    );
}

#[test]
fn a_new_axis_and_a_map() {
    let body = Build::new(17).input("part", "2").node("Neg", "part", "less").output("less").body();
    let build = Build::new(17)
        .input("x", "2")
        .input("z", "2")
        .node("SequenceConstruct", "x z", "both")
        .node_with("SequenceMap", "both", "mapped", &[("body", A::G(body))])
        .node_with("ConcatFromSequence", "mapped", "y", &[("axis", A::I(1)), ("new_axis", A::I(1))])
        .output("y");
    let text = build.ops();
    assert!(text.contains("output %y: f32[2, 2]"), "{text}");
    assert_eq!(text.matches("= Neg").count(), 2, "{text}");
}

#[test]
fn what_is_not_known_is_refused() {
    let split = |dims: &str| Build::new(17).input("x", dims).initializer(i64s("two", &[], &[2]));
    let of = |build: Build| build.node("SplitToSequence", "x two", "parts");
    let error = of(split("n 3")).output("parts").error();
    assert!(error.contains("how many parts an axis of size n gives is not known"), "{error}");
    let error = of(split("4 3")).output("parts").error();
    assert!(error.contains("is taken as a tensor"), "{error}");
    let error = of(split("4 3")).node("Relu", "parts", "y").output("y").error();
    assert!(error.contains("its input is a sequence"), "{error}");
    let at = of(split("4 3")).typed("i", ElementType::Int64, "");
    let error = at.node("SequenceAt", "parts i", "y").output("y").error();
    assert!(error.contains("depends on data"), "{error}");
    let beyond = of(split("4 3")).node("SequenceAt", "parts two", "y").output("y").error();
    assert!(beyond.contains("position 2 of 2 tensors"), "{beyond}");
}

#[test]
fn optional_values_are_there_or_not() {
    let build = Build::new(18)
        .input("x", "2")
        .node("Optional", "x", "maybe")
        .node("OptionalHasElement", "maybe", "there")
        .node("OptionalGetElement", "maybe", "y")
        .node("Optional", "_", "nothing")
        .node("OptionalHasElement", "nothing", "no");
    let text = build.clone().output("there").output("no").output("y").text();
    assert!(text.contains("%there: bool[] = 1") && text.contains("%no: bool[] = 0"), "{text}");
    let error = build.node("OptionalGetElement", "nothing", "z").output("z").error();
    assert!(error.contains("its optional value is not there"), "{error}");
}
