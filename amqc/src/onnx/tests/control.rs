//! Branches and loops.

use super::*;

/// y = x + 1 or x * 2, by `condition`.
fn branches(build: Build, condition: &str) -> Build {
    let then = Build::new(13).weight("one", &[]).node("Add", "x one", "more").output("more").body();
    let twice = Build::new(13).node("Add", "x x", "twice").output("twice").body();
    let both = [("then_branch", A::G(then)), ("else_branch", A::G(twice))];
    build.node_with("If", condition, "y", &both).output("y")
}

#[test]
fn a_known_branch_takes_the_place_of_the_node() {
    for (truth, expected) in [(1, "%y = Add %x, %one"), (0, "%y = Add %x, %x")] {
        let flag = bools("flag", &[], &[truth]);
        let build = branches(Build::new(13).input("x", "n").initializer(flag), "flag");
        assert!(build.ops().contains(expected), "{}", build.ops());
    }
}

#[test]
fn what_shapes_say_decides() {
    // x has two axes.
    let build = Build::new(13).input("x", "n 3").node("Shape", "x", "s").node("Size", "s", "r");
    let build = build.initializer(i64s("two", &[], &[2])).node("Equal", "r two", "flag");
    let build = branches(build, "flag");
    assert!(build.ops().contains("%y = Add %x, %one"), "{}", build.ops());
}

#[test]
fn what_a_user_says_decides() {
    let build = Build::new(13).input("x", "n").typed("sr", ElementType::Int64, "");
    let build = build.initializer(i64s("rate", &[], &[16000])).node("Equal", "sr rate", "flag");
    let build = branches(build, "flag");
    for (rate, expected) in [("16000", "%y = Add %x, %one"), ("8000", "%y = Add %x, %x")] {
        let fixed = vec![("sr".into(), rate.into())];
        let interface = Interface { fixed, ..Interface::default() };
        let text = build.import_with(&interface).unwrap().to_string();
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("%sr"), "{text}");
    }
    let text = build.text();
    assert!(text.contains("%y = If([n]) %flag, %x"), "{text}");
}

#[test]
fn what_is_said_of_nothing_is_refused() {
    let build = Build::new(13).input("x", "n").node("Relu", "x", "y").output("y");
    let said = |interface: Interface| build.import_with(&interface).unwrap_err().to_string();
    let fixed = vec![("z".into(), "1".into())];
    let error = said(Interface { fixed, ..Interface::default() });
    assert!(error.contains("--fix z=1: there is no input \"z\""), "{error}");
    let dims = vec![("m".into(), 1)];
    let error = said(Interface { dims, ..Interface::default() });
    assert!(error.contains("--dim m=1: there is no dimension \"m\""), "{error}");
    let fixed = vec![("x".into(), "1,b".into())];
    let error = said(Interface { fixed, ..Interface::default() });
    assert!(error.contains("\"b\" is no f32"), "{error}");
}

#[test]
fn an_input_with_a_default_can_be_fixed() {
    let build = Build::new(13).input("x", "n").input("scale", "").weight("scale", &[]);
    let build = build.node("Mul", "x scale", "y").output("y");
    let fixed = vec![("scale".into(), "0.5".into())];
    let text = build.import_with(&Interface { fixed, ..Interface::default() }).unwrap().to_string();
    assert!(text.contains("f32[] = 0.5"), "{text}");
}

#[test]
fn branches_of_different_axes_are_refused() {
    let then = Build::new(13).node("Identity", "x", "a").output("a").body();
    let otherwise = Build::new(13).ints("axes", &[0]).node("Unsqueeze", "x axes", "b");
    let both = [("then_branch", A::G(then)), ("else_branch", A::G(otherwise.output("b").body()))];
    let build = Build::new(13).input("x", "n").typed("flag", ElementType::Bool, "");
    let error = build.node_with("If", "flag", "y", &both).output("y").error();
    assert!(error.contains("f32 [n] and f32 [1, n] as output 0"), "{error}");
    assert!(error.contains("--fix"), "{error}");
}

#[test]
fn a_loop_without_end_is_refused() {
    let body = Build::new(13).typed("i", ElementType::Int64, "").typed("c", ElementType::Bool, "");
    let body = body.input("v", "n").node("Neg", "v", "w").output("c").output("w").body();
    let build = Build::new(13).input("x", "n");
    let error = build.node_with("Loop", "_ _ x", "y", &[("body", A::G(body))]).output("y").error();
    assert!(error.contains("nothing ends it"), "{error}");
}

#[test]
fn names_of_a_body_are_its_own() {
    let flag = bools("flag", &[], &[1]);
    let build = Build::new(13).input("x", "n").initializer(flag);
    let build = branches(build, "flag").node("Neg", "more", "z").output("z");
    assert!(build.error().contains("\"more\" is not defined"), "{}", build.error());
}
