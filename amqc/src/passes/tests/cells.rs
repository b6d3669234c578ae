//! Recurrent layers that are written as steps, and what only looks like one.

use super::*;

/// `h' = tanh(W x + R h)`, with the names of x, R, h and h'.
fn step(build: Build, [x, r, h, next]: [&str; 4]) -> Build {
    let [a, b, c] = ["a", "b", "c"].map(|part| format!("{next}/{part}"));
    let build = build.node("MatMul", &format!("{x} w"), &a).node("MatMul", &format!("{h} {r}"), &b);
    build.node("Add", &format!("{a} {b}"), &c).node("Tanh", &c, next)
}

/// The parts x0, x1 and x2 of an input [3, 2, 5], and weights.
fn sequence() -> Build {
    let build = Build::new(13).input("x", "3 2 5").input("h", "2 4");
    let build = build.numbers("w", &[5, 4]).numbers("r", &[4, 4]).numbers("s", &[4, 4]);
    let build = build.node_with("Split", "x", "p0 p1 p2", &[("axis", A::I(0))]);
    let build = build.ints("axis", &[0]);
    (0..3).fold(build, |build, i| build.node("Squeeze", &format!("p{i} axis"), &format!("x{i}")))
}

/// Checks that the passes leave these operators, but for views, and change no answer.
#[track_caller]
fn leaves(build: Build, expected: &str) {
    let after = passed(&build);
    let views = ["Reshape", "Slice", "Concat", "Transpose"];
    let left = ops(&after);
    let left: Vec<_> = left.split(' ').filter(|op| !views.contains(op)).collect();
    assert_eq!(left.join(" "), expected, "{after}");
    let (x, h) = (numbers(1, 30), numbers(2, 8));
    let inputs = [("x", View::f32(&[3, 2, 5], &x)), ("h", View::f32(&[2, 4], &h))];
    let run = |module: &Module| -> Vec<Vec<f32>> {
        let mut session = Session::new(load(module));
        let outputs = session.run(&inputs).unwrap();
        outputs.iter().map(|(_, y)| y.as_f32().unwrap().to_vec()).collect()
    };
    let (before, after) = (run(&build.import().unwrap()), run(&after));
    assert_eq!(before.len(), after.len());
    for (a, b) in before.iter().flatten().zip(after.iter().flatten()) {
        assert!((a - b).abs() < 1e-5 && *a != 0.0, "{a} before, {b} after");
    }
}

#[test]
fn steps_that_follow_each_other_are_a_layer() {
    let build = step(sequence(), ["x0", "r", "h", "h0"]);
    let build = step(step(build, ["x1", "r", "h0", "h1"]), ["x2", "r", "h1", "h2"]);
    leaves(build.output("h2").output("h0"), "Recurrent");
}

#[test]
fn a_step_with_another_matrix_is_none_of_the_layer() {
    let build = step(sequence(), ["x0", "r", "h", "h0"]);
    let build = step(step(build, ["x1", "r", "h0", "h1"]), ["x2", "s", "h1", "h2"]);
    let found = ops(&passed(&build.output("h2")));
    assert_eq!(found.matches("Recurrent").count(), 1);
    assert_eq!(found.matches("Linear").count(), 2, "{found}");
}

#[test]
fn what_reads_the_steps_before_is_no_sequence() {
    // A decoder: what a step gives decides what the next reads.
    let build = step(sequence(), ["x0", "r", "h", "h0"]).numbers("v", &[4, 5]);
    let build = build.node("MatMul", "h0 v", "next");
    let build = step(build, ["next", "r", "h0", "h1"]).output("h1");
    leaves(build, "Linear Linear Binary Unary Linear Linear Linear Binary Unary");
}

#[test]
fn layers_that_wait_for_each_other_are_not_both_made() {
    // Each layer's second step reads the other's first.
    let build = sequence().numbers("v", &[4, 5]);
    let build = step(build, ["x0", "r", "h", "a0"]).node("MatMul", "a0 v", "from_a");
    let build = step(build, ["x1", "s", "h", "b0"]).node("MatMul", "b0 v", "from_b");
    let build = step(build, ["from_b", "r", "a0", "a1"]);
    let build = step(build, ["from_a", "s", "b0", "b1"]).output("a1").output("b1");
    let found = ops(&passed(&build));
    assert_eq!(found.matches("Recurrent").count(), 1, "{found}");
    let (x, h) = (numbers(1, 30), numbers(2, 8));
    let inputs = [("x", View::f32(&[3, 2, 5], &x)), ("h", View::f32(&[2, 4], &h))];
    assert!(Session::new(load(&passed(&build))).run(&inputs).is_ok());
}

#[test]
fn cell_states_that_are_read_are_still_there() {
    let gates = |build: Build, x: &str, h: &str, c: &str, next: usize| {
        let at = |part: &str| format!("{part}{next}");
        let build = build.node("MatMul", &format!("{x} u"), &at("ux"));
        let build = build.node("MatMul", &format!("{h} q"), &at("qh"));
        let build = build.node("Add", &format!("{} {}", at("ux"), at("qh")), &at("sum"));
        let parts = format!("{} {} {} {}", at("i"), at("o"), at("f"), at("g"));
        let build = build.node_with("Split", &at("sum"), &parts, &[("axis", A::I(1))]);
        let build = ["i", "o", "f"]
            .iter()
            .fold(build, |build, gate| build.node("Sigmoid", &at(gate), &at(&format!("s{gate}"))));
        let build = build.node("Tanh", &at("g"), &at("tg"));
        let build = build.node("Mul", &format!("{} {c}", at("sf")), &at("kept"));
        let build = build.node("Mul", &format!("{} {}", at("si"), at("tg")), &at("new"));
        let build = build.node("Add", &format!("{} {}", at("new"), at("kept")), &at("c"));
        let build = build.node("Tanh", &at("c"), &at("tc"));
        build.node("Mul", &format!("{} {}", at("tc"), at("so")), &at("y"))
    };
    let build = sequence().numbers("u", &[5, 16]).numbers("q", &[4, 16]);
    let build = gates(build, "x0", "h", "h", 0);
    let build = gates(build, "x1", "y0", "c0", 1);
    leaves(build.output("y1").output("c1"), "Recurrent");
    // The state in the middle is read: it is computed beside the layer.
    let build = sequence().numbers("u", &[5, 16]).numbers("q", &[4, 16]);
    let build = gates(build, "x0", "h", "h", 0);
    let build = gates(build, "x1", "y0", "c0", 1).output("y1").output("c0");
    assert!(ops(&passed(&build)).contains("Recurrent"));
}
