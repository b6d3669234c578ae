//! Sizes that data decide.

use super::*;

#[test]
fn a_shape_that_is_computed_has_names_for_what_is_not_known() {
    let build = Build::new(17)
        .input("x", "n 4")
        .typed("k", ElementType::Int64, "1")
        .ints("four", &[4])
        .node_with("Concat", "k four", "shape", &[("axis", A::I(0))])
        .node("Expand", "x shape", "y")
        .node("Expand", "x shape", "z")
        .node("Add", "y z", "sum");
    insta::assert_snapshot!(build.output("sum").ops());
}

#[test]
fn a_reshape_by_data_keeps_the_meaning_of_0_and_minus_1() {
    let build = Build::new(17)
        .input("x", "n 4")
        .typed("k", ElementType::Int32, "2")
        .node_with("Cast", "k", "shape", &[("to", A::I(7))])
        .node("Reshape", "x shape", "y");
    insta::assert_snapshot!(build.output("y").ops());
}

#[test]
fn a_slice_by_data_gathers() {
    let build = Build::new(17)
        .input("x", "n 4 5")
        .typed("end", ElementType::Int64, "2")
        .ints("start", &[0, 1])
        .ints("axes", &[0, 2])
        .node("Slice", "x start end axes", "y");
    insta::assert_snapshot!(build.output("y").ops());
}

#[test]
fn borders_may_be_negative() {
    let build = Build::new(17)
        .input("x", "n 4")
        .typed("pads", ElementType::Int64, "4")
        .node("Pad", "x pads", "y");
    let text = build.output("y").ops();
    assert!(text.contains("Sizes"), "{text}");
    assert!(text.contains("Pad(Constant, "), "{text}");
}

#[test]
fn what_is_chosen_gives_its_number() {
    let build = Build::new(17)
        .input("x", "n 4")
        .typed("c", ElementType::Bool, "m")
        .node_with("Compress", "x c", "rows", &[("axis", A::I(-2))])
        .node_with(
            "Unique",
            "rows",
            "different _ which _",
            &[("axis", A::I(1)), ("sorted", A::I(0))],
        )
        .node("NonZero", "different", "places");
    insta::assert_snapshot!(build.output("which").output("places").ops());
}

/// What only its size is read of stays.
#[test]
fn a_size_alone_is_read() {
    let build = Build::new(17)
        .input("x", "n")
        .node("NonZero", "x", "places")
        .node("Shape", "places", "shape");
    let text = build.output("shape").text();
    assert!(text.contains("NonZero"), "{text}");
    assert!(text.contains("Dims([1, NonZero_0.0 + -1])"), "{text}");
}

#[test]
fn sizes_of_constants_are_numbers() {
    // Known only when constants are folded.
    let build = Build::new(17)
        .input("x", "1 4")
        .initializer(f32s("w", &[2], &[2.0, 1.0]))
        .node("Mul", "w w", "squares")
        .node_with("Cast", "squares", "shape", &[("to", A::I(7))])
        .node("Tile", "x shape", "y");
    let mut module = build.output("y").import().unwrap();
    crate::passes::run(&mut module).unwrap();
    let text = module.to_string();
    assert!(!text.contains("Sizes"), "{text}");
    assert!(text.contains("f32[4, 4]"), "{text}");
}

#[test]
fn how_many_sizes_there_are_must_be_known() {
    let build = Build::new(17)
        .input("x", "1 4")
        .typed("shape", ElementType::Int64, "n")
        .node("Expand", "x shape", "y");
    let error = build.output("y").error();
    assert!(error.contains("how many sizes there are depends on data"), "{error}");
}
