//! Where a network is cut into blocks, and that nothing moves beyond their borders.

use std::collections::BTreeSet;

use amq_format::graph::ABSENT;

use super::*;
use crate::tune::blocks::{Block, blocks, live, waists};
use crate::tune::optimizer::{Optimizer, Rule};
use crate::tune::params::Stage;

/// Two residual branches, one beside what is not trained; behind them two products of one value, and a last one.
fn residual() -> Case {
    let mut build = Build::new(17).input("x", "n 16");
    for name in ["w1", "w2", "w3", "w4", "w5", "w6"] {
        build = build.initializer(weight(name, &[16, 16], 0.4));
    }
    let build = build.node("Tanh", "x", "beside");
    let build = build.node("MatMul", "x w1", "a").node("Relu", "a", "b");
    let build = build.node("MatMul", "b w2", "c").node("Sin", "c", "d").node("Add", "b d", "e");
    let build = build.node("Relu", "e", "f").node("MatMul", "f w3", "g").node("Add", "g f", "h");
    let build = build.node("Mul", "h beside", "i");
    let build = build.node("MatMul", "i w4", "j").node("MatMul", "i w5", "k");
    let build = build.node("Mul", "j k", "l").node("MatMul", "l w6", "y");
    Case::new(&build.output("y"), Some((2, Activations::F32)), &[&[4, 16]])
}

fn name<'c>(case: &'c Case, value: &ValueId) -> &'c str {
    case.module.name(*value)
}

/// Whether something beyond the first `count` nodes is reached from what is trained in them, not through `without`.
fn gets_beyond(case: &Case, count: usize, without: ValueId) -> bool {
    let nodes = &case.module.graph.nodes;
    let is_trained = |at: &usize| {
        (0..nodes[*at].inputs.len()).any(|input| case.params.place(*at, input).is_some())
    };
    let mut open: Vec<usize> = (0..count).filter(is_trained).collect();
    let mut seen = BTreeSet::new();
    while let Some(at) = open.pop() {
        for &value in &nodes[at].outputs {
            if value == without || value == ABSENT {
                continue;
            }
            let readers = (0..nodes.len()).filter(|&reader| nodes[reader].inputs.contains(&value));
            for reader in readers {
                if reader >= count {
                    return true;
                }
                if seen.insert(reader) {
                    open.push(reader);
                }
            }
            if case.outputs.contains(&value) {
                return true;
            }
        }
    }
    false
}

#[test]
fn waists_are_what_all_paths_go_through() {
    let case = residual();
    let nodes = &case.module.graph.nodes;
    let live = live(&case.module, &case.outputs);
    assert!(live.iter().all(|&live| live));
    let found = waists(&case.module, &case.params, &case.outputs, &live).unwrap();
    let mut count = 0;
    for (index, found) in found.iter().enumerate() {
        let before = nodes[..=index].iter().flat_map(|node| &node.outputs).copied();
        let is_read = |value: &ValueId| {
            nodes[index + 1..].iter().any(|node| node.inputs.contains(value))
                || case.outputs.contains(value)
        };
        let any = gets_beyond(&case, index + 1, ABSENT);
        let all: Vec<ValueId> = before
            .filter(|value| any && is_read(value) && !gets_beyond(&case, index + 1, *value))
            .collect();
        assert_eq!(found.as_slice(), all, "after {:?}", nodes[index].name);
        count += all.len();
    }
    // b, e, f, h, i, l and y at least, and each is one after a node.
    assert!(count >= 7, "{found:?}");
}

#[test]
fn blocks_end_before_the_next_matrix() {
    let case = residual();
    let found = blocks(&case.module, &case.params, &case.outputs).unwrap();
    let ends: Vec<_> =
        found.iter().map(|block| block.end.as_ref().map(|v| name(&case, v))).collect();
    assert_eq!(ends, [Some("f"), Some("l"), None]);
    let mut next = 0;
    for Block { nodes, .. } in &found {
        assert_eq!(nodes.start, next);
        next = nodes.end;
    }
    assert_eq!(next, case.module.graph.nodes.len());
    // Float matrices make no block.
    let nodes = case.module.graph.nodes.len();
    let float = Params::new(&case.module, &case.plan, &Fitted::default());
    let found = blocks(&case.module, &float, &case.outputs).unwrap();
    assert_eq!(found, [Block { nodes: 0..nodes, end: None }]);
}

/// A matrix that is used again keeps its uses in one block, and an output that is ready early the rest in one.
#[test]
fn what_is_shared_is_not_cut() {
    let build = |last: &str, early: bool| {
        let mut build = Build::new(17).input("x", "n 16");
        for name in ["w1", "w2", "w3", "w4", "w5"] {
            build = build.initializer(weight(name, &[16, 16], 0.4));
        }
        let build = build.node("MatMul", "x w1", "a").node("MatMul", "a w2", "b");
        let build = build.node("MatMul", "b w3", "c").node("MatMul", "c w4", "d");
        let build = build.node("MatMul", &format!("d {last}"), "y");
        let build = if early { build.output("b") } else { build };
        let case = Case::new(&build.output("y"), Some((2, Activations::F32)), &[&[4, 16]]);
        let found = blocks(&case.module, &case.params, &case.outputs).unwrap();
        let end = |block: &Block| block.end.map(|value| case.module.name(value).to_owned());
        found.iter().map(end).collect::<Vec<_>>()
    };
    let some = |name: &str| Some(name.to_owned());
    assert_eq!(build("w5", false), [some("b"), some("d"), None]);
    assert_eq!(build("w3", false), [some("b"), None]);
    assert_eq!(build("w2", false), [None]);
    assert_eq!(build("w5", true), [some("b"), None]);
}

#[test]
fn a_table_is_of_the_block_of_the_next_product() {
    let mut build = Build::new(17).typed("i", ElementType::Int64, "n");
    for (name, rows) in [("t", 30), ("w1", 16), ("w2", 16), ("w3", 16)] {
        build = build.initializer(weight(name, &[rows, 16], 0.4));
    }
    let build = build.node("Gather", "t i", "a").node("MatMul", "a w1", "b");
    let build = build.node("MatMul", "b w2", "c").node("MatMul", "c w3", "y").output("y");
    let case = Case::new(&build, Some((2, Activations::F32)), &[&[4]]);
    assert_eq!(case.params.all.iter().filter(|param| param.is_coded()).count(), 4);
    let found = blocks(&case.module, &case.params, &case.outputs).unwrap();
    let ends: Vec<_> = found.iter().map(|block| block.end).collect();
    let c = case.module.graph.values.iter().position(|name| name == "c").unwrap();
    assert_eq!(ends, [Some(c as ValueId), None]);
}

/// Takes steps of a block; what it does not own keeps its bits.
#[test]
fn steps_stay_within_a_block() {
    let mut case = residual();
    let found = blocks(&case.module, &case.params, &case.outputs).unwrap();
    let maker = Maker { path: Path::new("m.onnx"), isa: Isa::detect() };
    for block in &found[1..] {
        case.params.confine(&block.nodes);
        let end = block.end.map_or(case.outputs.clone(), |end| vec![end]);
        let route = Route::new(&case.module, block.nodes.clone(), &case.params, &end).unwrap();
        let mut tape = Tape::new(&case.module, &route, maker);
        let before = case.params.clone();
        let mut optimizer = Optimizer::new(Rule::Adam, &case.params);
        for stage in [Stage::Scales, Stage::Weights] {
            case.params.enter(stage);
            for _ in 0..2 {
                case.params.clear();
                tape.forward(&case.params, case.inputs.clone()).unwrap();
                let size = floats(tape.value(end[0])).unwrap().len();
                let by = Random(9).numbers(size, 1.0);
                tape.backward(&mut case.params, vec![(end[0], by)]).unwrap();
                let norm = Optimizer::norm(&case.params);
                optimizer.step(&mut case.params, norm, 0.05, 0.0);
                case.params.follow();
            }
        }
        let mut moved = 0;
        for (index, node) in case.module.graph.nodes.iter().enumerate() {
            for input in 0..node.inputs.len() {
                let Some(place) = case.params.place(index, input) else { continue };
                let [now, then] = [&case.params, &before].map(|params| params.tensor(place));
                let is_own = block.nodes.contains(&index);
                assert_eq!(now != then, is_own, "{:?} in {block:?}", node.name);
                let [now, then] = [&case.params, &before].map(|params| &params.all[place.param]);
                let is_same = now.weights == then.weights && now.bounds == then.bounds;
                assert!(is_own || is_same && now.gradient == then.gradient);
                moved += usize::from(is_own);
            }
        }
        assert!(moved > 0);
    }
}

/// A call that is repeated from a block's first node gives the same bits as a whole one.
#[test]
fn calls_are_repeated_from_where_a_block_begins() {
    let mut case = residual();
    let found = blocks(&case.module, &case.params, &case.outputs).unwrap();
    let maker = Maker { path: Path::new("m.onnx"), isa: Isa::detect() };
    for block in &found {
        case.params.confine(&block.nodes);
        let end = block.end.unwrap_or(case.outputs[0]);
        let route = Route::new(&case.module, block.nodes.clone(), &case.params, &[end]).unwrap();
        let mut tape = Tape::new(&case.module, &route, maker);
        tape.forward(&case.params, case.inputs.clone()).unwrap();
        let entry = tape.entry();
        for param in case.params.all.iter_mut().filter(|param| param.moves) {
            let Data::F32(data) = &mut param.weights.data else { continue };
            data.iter_mut().for_each(|w| *w *= 1.1);
        }
        case.params.follow();
        // Others between them.
        let mut other = case.inputs.clone();
        other[0].1 = other[0].1.slice(0, 0..3);
        tape.forward(&case.params, other).unwrap();
        tape.enter(&case.params, &entry).unwrap();
        let repeated = tape.value(end).cloned();
        tape.forward(&case.params, case.inputs.clone()).unwrap();
        assert_eq!(repeated.as_ref(), tape.value(end));
        assert!(repeated.is_some_and(|y| y.dims[0] == 4));
    }
}
