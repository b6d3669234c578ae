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
    let dims = vec![("n".to_owned(), 4)];
    let interface = Interface { dims, ..Interface::default() };
    let text = build.import_with(&interface).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(text.contains("depends on data"), "{text}");
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
fn names_of_a_body_are_its_own() {
    let flag = bools("flag", &[], &[1]);
    let build = Build::new(13).input("x", "n").initializer(flag);
    let build = branches(build, "flag").node("Neg", "more", "z").output("z");
    assert!(build.error().contains("\"more\" is not defined"), "{}", build.error());
}
