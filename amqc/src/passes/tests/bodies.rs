//! Bodies are simplified, quantized and run like the graph around them.

use super::*;
use crate::onnx::tests::GraphProto;

/// x through a product with w, by `go`: as it is, or squared and through another.
fn branches(go: Build) -> Build {
    let then = Build::new(13).node("MatMul", "x w", "a").node("Relu", "a", "b").output("b").body();
    let otherwise = Build::new(13).numbers("v", &[64, 64]).node("Mul", "x x", "c");
    let otherwise = otherwise.node("MatMul", "c w", "d").node("MatMul", "d v", "e").output("e");
    let both = [("then_branch", A::G(then)), ("else_branch", A::G(otherwise.body()))];
    let build = go.input("x", "n 64").numbers("w", &[64, 64]);
    build.node_with("If", "go", "h", &both).node("MatMul", "h w", "y").output("y")
}

/// What a model gives for these inputs, with its weights in float and the passes run.
pub(super) fn run_with(build: &Build, inputs: &[(&str, View<'_>)]) -> Vec<f32> {
    let (draft, _) = emitted(&passed(build), &ConvertOptions::float()).unwrap();
    let model = Model::load(&amq_format::write(draft).unwrap()).unwrap();
    let mut session = Session::new(Arc::new(model));
    let outputs = session.run(inputs).unwrap();
    outputs.iter().flat_map(|(_, view)| view.as_f32().unwrap().to_vec()).collect()
}

#[test]
fn weights_of_bodies_are_coded_and_shared() {
    let build = branches(Build::new(13).typed("go", ElementType::Bool, ""));
    let module = passed(&build);
    assert_eq!(ops(&module), "If Linear", "{module}");
    let (draft, layers) = emitted(&module, &codes(2)).unwrap();
    // w, which three nodes read, and v.
    assert_eq!(draft.graph.tensors.len(), 2);
    assert!(draft.graph.tensors.iter().all(|tensor| tensor.multi_bit.is_some()));
    let shown = shown(&layers);
    assert_eq!(shown.len(), 4, "{shown:?}");
    assert!(shown.iter().all(|layer| layer.ends_with("2 int8")), "{shown:?}");
    let model = Model::load(&amq_format::write(draft).unwrap()).unwrap();
    assert!(Session::new(Arc::new(model)).run(&[]).is_err());
}

#[test]
fn a_branch_computes_what_it_computes_alone() {
    let build = branches(Build::new(13).typed("go", ElementType::Bool, ""));
    let x = numbers(3, 5 * 64);
    for truth in [[1], [0]] {
        let inputs = [("go", View::bool(&[], &truth)), ("x", View::f32(&[5, 64], &x))];
        let alone = branches(Build::new(13).initializer(bools("go", &[], &truth)));
        assert!(!ops(&passed(&alone)).contains("If"));
        let (found, expected) = (run_with(&build, &inputs), run_with(&alone, &inputs[1..]));
        assert_eq!(found, expected);
        assert!(found.iter().any(|y| *y != 0.0));
    }
}

#[test]
fn a_condition_that_folds_settles_the_branch_and_its_sizes() {
    let then = Build::new(13).node("Relu", "x", "a").output("a").body();
    let otherwise =
        Build::new(13).node_with("Concat", "x x", "b", &[("axis", A::I(0))]).output("b").body();
    let both = [("then_branch", A::G(then)), ("else_branch", A::G(otherwise))];
    // Folding alone knows that 1 is less than 2: floats are not followed.
    let build = Build::new(13).input("x", "n 4").weight("one", &[]).node("Exp", "one", "e");
    let build = build.node("Less", "e one", "go").node_with("If", "go", "h", &both);
    let build = build.node("Neg", "h", "y").output("y");
    let module = passed(&build);
    assert_eq!(ops(&module), "Concat Unary", "{module}");
    let x = numbers(3, 8);
    let found = run_with(&build, &[("x", View::f32(&[2, 4], &x))]);
    assert!(found.iter().zip(x.iter().chain(&x)).all(|(y, x)| *y == -x));
}

/// Sums of the rows of x up to each, and x's rows one after the other, a step at a time.
fn running_sums() -> GraphProto {
    let body = Build::new(13).typed("i", ElementType::Int64, "").typed("c", ElementType::Bool, "");
    let body = body.input("sum", "4").input("rows", "m").node("Gather", "x i", "row");
    let body = body.node("Add", "sum row", "more").node("Identity", "c", "on");
    let body = body.node_with("Concat", "rows row", "longer", &[("axis", A::I(0))]);
    body.node("Identity", "more", "part")
        .output("on")
        .output("more")
        .output("longer")
        .output("part")
        .body()
}

#[test]
fn a_loop_carries_what_grows_and_gives_its_parts() {
    let build = Build::new(13).input("x", "n 4").numbers("s", &[4]).numbers("r", &[4]);
    let build = build.node("Shape", "x", "shape").initializer(i64s("zero", &[], &[0]));
    let counted = build.clone().typed("k", ElementType::Int64, "");
    let build = build.node("Gather", "shape zero", "k");
    let x = numbers(5, 12);
    for (build, given) in [(build, false), (counted, true)] {
        let build =
            build.node_with("Loop", "k _ s r", "sum rows parts", &[("body", A::G(running_sums()))]);
        let build = build.output("sum").output("rows").output("parts");
        let three = [3];
        let mut inputs = vec![("x", View::f32(&[3, 4], &x))];
        inputs.extend(given.then(|| ("k", View::i64(&[], &three))));
        let found = run_with(&build, &inputs);
        let module = passed(&build);
        let constant = |name: &str| {
            let value = module.constants.keys().find(|value| module.name(**value) == name).unwrap();
            let Data::F32(data) = &module.constants[value].data else { panic!() };
            data.clone()
        };
        let (mut sum, mut rows, mut parts) = (constant("s"), constant("r"), Vec::new());
        for row in x.chunks(4) {
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            rows.extend(row);
            parts.extend(sum.clone());
        }
        assert_eq!(found, [sum, rows, parts].concat(), "{module}");
    }
}
