//! A graph computes the same before and after its passes; states are found where there are any.

mod bodies;
mod cells;
mod linear_attention;
mod pools;
mod sizes;

use std::path::Path;
use std::sync::Arc;

use amq_format::Draft;
use amq_format::graph::{Graph, Node, Op};
use amq_runtime::{Model, Session, View};

use super::*;
use crate::emit::emit;
use crate::error::ErrorKind;
use crate::fit::Fitted;
use crate::interface::Interface;
use crate::onnx::tests::{A, Build, ElementType, bools, f32s, i64s};
use crate::onnx::{self, Limits};
use crate::options::ConvertOptions;
use crate::plan::Plan;
use crate::recipe::Recipe;
use crate::report::{self, Coding, Layer};
use crate::settings::{Bits, Given};
use crate::tensor::{Data, Tensor};
use crate::weights::Weights;

/// The same numbers in -1..1 for the same seed.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

impl Build {
    /// A float initializer of numbers that differ by name.
    fn numbers(self, name: &str, dims: &[i64]) -> Build {
        let seed = name.bytes().fold(7, |seed, byte| 31 * seed + u64::from(byte));
        let data = numbers(seed, dims.iter().product::<i64>() as usize);
        self.initializer(f32s(name, dims, &data))
    }

    /// A float initializer of numbers from 0.5 to 1.5.
    fn positive(self, name: &str, dims: &[i64]) -> Build {
        let data = numbers(9, dims.iter().product::<i64>() as usize);
        let data: Vec<_> = data.iter().map(|x| 1.0 + x / 2.0).collect();
        self.initializer(f32s(name, dims, &data))
    }
}

fn emitted(module: &Module, options: &ConvertOptions) -> Result<(Draft, Vec<Layer>)> {
    let weights = Weights::find(module)?;
    let plan = Plan::new(module, &weights, options.resolver()?)?;
    let fitted = Fitted::new(module, &plan, None, &|_, _, _| {})?;
    let layers = report::layers(module, &weights, &plan, &fitted);
    Ok((emit(module.clone(), &plan, &fitted), layers))
}

fn load(module: &Module) -> Arc<Model> {
    // Weights that the reader turned are constants only when that is computed.
    let mut module = module.clone();
    fold::run(&mut module).unwrap();
    let (draft, _) = emitted(&module, &ConvertOptions::float()).unwrap();
    let bytes = amq_format::write(draft).unwrap();
    Arc::new(Model::load(&bytes).unwrap())
}

/// The outputs for an input of numbers of this shape.
fn outputs(module: &Module, dims: &[usize]) -> Vec<Vec<f32>> {
    let data = numbers(1, dims.iter().product());
    let mut session = Session::new(load(module));
    let found = session.run(&[("x", View::f32(dims, &data))]).unwrap();
    found.iter().map(|(_, view)| view.as_f32().unwrap().to_vec()).collect()
}

/// The kinds of a module's operators, in order.
fn ops(module: &Module) -> String {
    let op = |node: &Node| format!("{:?}", node.op.as_ref().unwrap());
    let kinds =
        module.graph.nodes.iter().map(|node| op(node).split('(').next().unwrap().to_owned());
    kinds.collect::<Vec<_>>().join(" ")
}

fn passed(build: &Build) -> Module {
    let mut module = build.import().unwrap();
    run(&mut module).unwrap();
    module
}

/// Runs the graph before and after the passes, which leave the operators `expected`.
#[track_caller]
fn becomes(build: Build, dims: &[usize], expected: &str) -> Module {
    let after = passed(&build);
    assert_eq!(ops(&after), expected, "{after}");
    let pairs = [build.import().unwrap(), after.clone()].map(|module| outputs(&module, dims));
    assert_eq!(pairs[0].len(), pairs[1].len());
    for (before, after) in pairs[0].iter().zip(&pairs[1]) {
        assert!(before.iter().any(|x| *x != before[0]), "{before:?}");
        assert_eq!(before.len(), after.len());
        for (a, b) in before.iter().zip(after) {
            assert!((a - b).abs() <= 1e-5 * a.abs().max(1.0), "{a} before, {b} after");
        }
    }
    after
}

fn normalized(build: Build, channels: i64) -> Build {
    let build = build.numbers("scale", &[channels]).numbers("shift", &[channels]);
    let build = build.numbers("mean", &[channels]).positive("variance", &[channels]);
    build.node("BatchNormalization", "c scale shift mean variance", "y").output("y")
}

#[test]
fn batch_normalization_disappears_into_a_convolution() {
    for (inputs, group) in [("x k", 1), ("x k b", 2)] {
        let build = Build::new(15).input("x", "n 4 h w").numbers("k", &[6, 4 / group, 3, 3]);
        let attributes = [("group", A::I(group)), ("pads", A::Is(&[1, 1, 1, 1]))];
        let build = build.numbers("b", &[6]).node_with("Conv", inputs, "c", &attributes);
        becomes(normalized(build, 6), &[2, 4, 5, 5], "Conv");
    }
    let build = Build::new(15).input("x", "n 3 w").numbers("k", &[4, 3, 2]);
    becomes(normalized(build.node("Conv", "x k", "c"), 4), &[2, 3, 6], "Conv");
}

#[test]
fn an_operand_is_absorbed_only_along_channels() {
    for (dims, left) in [
        (&[6, 1, 1][..], "Conv"),
        (&[1, 6, 1, 1], "Conv"),
        (&[1, 1], "Conv"),
        (&[], "Conv"),
        // Along the width, which is as long as there are channels.
        (&[6], "Conv Binary"),
        (&[6, 1], "Conv Binary"),
        (&[1, 1, 1, 1, 1], "Conv Binary"),
    ] {
        for op in ["Add", "Sub", "Mul", "Div"] {
            let build = Build::new(14).input("x", "n 2 8 8").numbers("k", &[6, 2, 3, 3]);
            let build = build.positive("s", dims).node("Conv", "x k", "c").node(op, "c s", "y");
            becomes(build.output("y"), &[2, 2, 8, 8], left);
        }
    }
    let reversed = |op| {
        let build = Build::new(14).input("x", "n 5").numbers("w", &[5, 3]).positive("s", &[3]);
        build.node("MatMul", "x w", "c").node(op, "s c", "y").output("y")
    };
    for (op, left) in
        [("Add", "Linear"), ("Mul", "Linear"), ("Sub", "Linear Binary"), ("Div", "Linear Binary")]
    {
        becomes(reversed(op), &[4, 5], left);
    }
}

#[test]
fn what_is_read_twice_or_given_out_keeps_its_scale() {
    let build = || {
        let build = Build::new(14).input("x", "n 5").numbers("w", &[5, 3]).numbers("s", &[3]);
        build.node("MatMul", "x w", "c").node("Mul", "c s", "y").output("y")
    };
    becomes(build(), &[4, 5], "Linear");
    becomes(build().output("c"), &[4, 5], "Linear Binary");
    becomes(build().node("Relu", "c", "z").output("z"), &[4, 5], "Linear Binary Unary");
    // The weights are another product's too: that one keeps them as they are.
    let shared = build().node("MatMul", "x w", "d").node("Relu", "d", "z").output("z");
    becomes(shared, &[4, 5], "Linear Linear Unary");
    // Scales that would not leave numbers.
    let infinite = Build::new(14).input("x", "n 5").weight("w", &[5, 3]);
    let infinite = infinite.initializer(f32s("s", &[], &[0.0])).node("MatMul", "x w", "c");
    let infinite = passed(&infinite.node("Div", "c s", "y").output("y"));
    assert_eq!(ops(&infinite), "Linear Binary");
}

#[test]
fn a_product_needs_no_matrix_for_its_operand() {
    let build = |shape: &[i64]| {
        let build = Build::new(14).input("x", "3 2 5").numbers("w", &[5, 4]);
        let build = build.ints("flat", &[6, 5]).ints("shape", shape).node("Reshape", "x flat", "f");
        build.node("MatMul", "f w", "p").node("Reshape", "p shape", "y").output("y")
    };
    becomes(build(&[3, 2, 4]), &[3, 2, 5], "Linear");
    // In another shape than before, the product is not of x as it is.
    becomes(build(&[2, 3, 4]), &[3, 2, 5], "Reshape Linear Reshape");
}

#[test]
fn gemm_becomes_one_product() {
    for (trans_a, trans_b, c) in [(0, 0, &[3][..]), (0, 1, &[1, 3]), (1, 0, &[]), (1, 1, &[3])] {
        let (dims, given) = if trans_a == 1 { ("5 n", [5, 4]) } else { ("n 5", [4, 5]) };
        let weight = if trans_b == 1 { [3, 5] } else { [5, 3] };
        let build = Build::new(13).input("x", dims).numbers("w", &weight).numbers("c", c);
        let attributes = [
            ("transA", A::I(trans_a)),
            ("transB", A::I(trans_b)),
            ("alpha", A::F(0.5)),
            ("beta", A::F(3.0)),
        ];
        let build = build.node_with("Gemm", "x w c", "y", &attributes).output("y");
        becomes(build, &given, if trans_a == 1 { "Transpose Linear" } else { "Linear" });
    }
    // A C with a row for each item is no bias.
    let build = Build::new(13).input("x", "4 5").numbers("w", &[5, 3]).numbers("c", &[4, 1]);
    becomes(build.node("Gemm", "x w c", "y").output("y"), &[4, 5], "Linear Binary");
}

#[test]
fn a_constant_on_the_left_becomes_weights() {
    for (shape, given, left) in [
        ("5", &[5][..], "Linear"),
        ("5 n", &[5, 4], "Transpose Linear Transpose"),
        ("b 5 n", &[2, 5, 4], "Transpose Linear Transpose"),
    ] {
        let build = Build::new(13).input("x", shape).numbers("w", &[3, 5]);
        becomes(build.node("MatMul", "w x", "y").output("y"), given, left);
    }
    let stack = Build::new(13).input("x", "b 5 n").numbers("w", &[2, 3, 5]);
    becomes(stack.node("MatMul", "w x", "y").output("y"), &[2, 5, 4], "MatMul");
}

#[test]
fn views_that_change_nothing_are_dropped() {
    let chain = Build::new(13).input("x", "n 3").ints("none", &[0; 4]);
    let chain = chain.node("Pad", "x none", "a").node("Pad", "a none", "b");
    let chain = chain.node_with("Concat", "b", "c", &[("axis", A::I(0))]);
    becomes(chain.node("Relu", "c", "y").output("y"), &[2, 3], "Unary");
    // A graph output keeps the node that names it.
    let given = Build::new(13).input("x", "n 3").ints("same", &[0, 3]);
    becomes(given.node("Reshape", "x same", "y").output("y"), &[2, 3], "Reshape");
    for (shape, given, left) in
        [("n 1 3", &[2, 1, 3][..], "Reshape"), ("n 4 3", &[2, 4, 3], "Transpose")]
    {
        let build = Build::new(13).input("x", shape);
        let perm = [("perm", A::Is(&[1, 0, 2]))];
        becomes(build.node_with("Transpose", "x", "y", &perm).output("y"), given, left);
    }
}

#[test]
fn constants_are_computed_shared_and_dropped() {
    let build = Build::new(13).input("x", "n 3").numbers("a", &[3]).numbers("b", &[3]);
    let build = build.node("Add", "a b", "s").node("Sigmoid", "s", "t").node("Mul", "x t", "u");
    let build = build.node("Sigmoid", "s", "t2").node("Mul", "u t2", "y").output("y");
    let after = becomes(build.node("Relu", "x", "unused"), &[2, 3], "Binary Binary");
    assert_eq!(after.constants.len(), 1, "{after}");
    let only = |module: &Module| Tensor::clone(module.constants.values().next().unwrap());
    let [a, b] = ["a", "b"].map(|name| {
        only(
            &Build::new(13)
                .numbers(name, &[3])
                .node("Identity", name, "y")
                .output("y")
                .import()
                .unwrap(),
        )
    });
    let (Data::F32(a), Data::F32(b)) = (a.data, b.data) else { panic!() };
    let Data::F32(found) = only(&after).data else { panic!() };
    for ((a, b), found) in a.iter().zip(&b).zip(found) {
        assert!((found - 1.0 / (1.0 + (-(a + b)).exp())).abs() < 1e-6);
    }
    // An output that is constant keeps its name.
    let constant = Build::new(13).input("x", "3").numbers("a", &[3]).node("Abs", "a", "y");
    let constant = constant.node("Abs", "a", "z").node("Relu", "x", "w").output("w");
    becomes(constant.output("y").output("z"), &[3], "Unary");
}

/// What an exporter leaves behind takes nothing of what folding may take.
#[test]
fn what_nothing_reads_is_dropped_before_constants_are_computed() {
    let build = Build::new(13).input("x", "n 64").numbers("w", &[64]).node("Exp", "w", "a");
    let build = build.node("Sin", "a", "b").node("Exp", "b", "c").node("Mul", "x c", "y");
    let mut build = build.output("y").initializer(bools("t", &[1], &[1])).ints("many", &[1 << 26]);
    build = build.node("Expand", "t many", "left");
    // All that folding may take goes to that node, if it is there and comes first.
    let nodes = &mut build.graph().node;
    nodes.rotate_right(1);
    assert_eq!(ops(&passed(&build)), "Binary");
    let mut other = build.import().unwrap();
    fold::run(&mut other).unwrap();
    assert_eq!(ops(&other), "Unary Binary");
}

fn codes(bits: u8) -> ConvertOptions {
    let flags = Given { bits: Some(Bits::Codes(bits)), ..Given::default() };
    ConvertOptions { flags, ..ConvertOptions::default() }
}

#[test]
fn tied_weights_are_stored_once() {
    let build = Build::new(13).typed("t", ElementType::Int64, "n");
    let build = build.numbers("e", &[40, 64]).node("Gather", "e t", "x");
    let build = build.node_with("Transpose", "e", "f", &[("perm", A::Is(&[1, 0]))]);
    let module = passed(&build.node("MatMul", "x f", "y").output("y"));
    assert_eq!(ops(&module), "Gather Linear");
    for (options, quantized) in [(codes(2), true), (ConvertOptions::float(), false)] {
        let (draft, layers) = emitted(&module, &options).unwrap();
        assert_eq!(draft.graph.tensors.len(), 1);
        assert_eq!(draft.graph.tensors[0].multi_bit.is_some(), quantized);
        let inputs = |op: usize, slot: usize| draft.graph.nodes[op].inputs[slot];
        assert_eq!(inputs(0, 0), inputs(1, 1));
        assert_eq!(layers.len(), 2);
    }
    let recipe = "version: 1\nlayers: [{ match: \"Gather*\", bits: 3 }]".to_owned();
    let recipe = Some(Recipe::parse("r", recipe).unwrap());
    let (draft, _) = emitted(&module, &ConvertOptions { recipe, ..codes(2) }).unwrap();
    let bits = |tensor: &amq_format::graph::Tensor| tensor.multi_bit.as_ref().unwrap().bits;
    assert_eq!(draft.graph.tensors.iter().map(bits).collect::<Vec<_>>(), [3, 2]);
}

/// An LSTM over an input of size 64 with hidden size 64.
fn lstm() -> Build {
    let build = Build::new(14).input("x", "seq batch 64");
    let build = build.numbers("w", &[1, 256, 64]).numbers("r", &[1, 256, 64]);
    build.node("LSTM", "x w r", "y").output("y")
}

fn shown(layers: &[Layer]) -> Vec<String> {
    let coding = |layer: &Layer| match &layer.coding {
        Coding::MultiBit { bits, activations, .. } => format!("{bits} {activations}"),
        Coding::Float { kept_float } => kept_float.clone(),
    };
    layers.iter().map(|layer| format!("{}: {}", layer.name, coding(layer))).collect()
}

#[test]
fn recipes_set_each_matrix_of_a_layer() {
    let module = passed(&lstm());
    let with = |layers: &str| {
        let text = format!("version: 1\nlayers:\n{layers}");
        let recipe = Some(Recipe::parse("r.yaml", text).unwrap());
        emitted(&module, &ConvertOptions { recipe, ..codes(2) })
    };
    let (_, layers) = with("- { match: \"*.R\", bits: 3 }").unwrap();
    assert_eq!(shown(&layers), ["LSTM_0.W: 2 int8", "LSTM_0.R: 3 int8"]);
    let (draft, layers) =
        with("- { match: LSTM_0.W, bits: f32 }\n- { match: LSTM_0, activations: 2 }").unwrap();
    assert_eq!(shown(&layers), ["LSTM_0.W: asked for", "LSTM_0.R: 2 2"]);
    let Some(Op::Recurrent(layer)) = &draft.graph.nodes[0].op else { panic!() };
    assert_eq!(
        [layer.activations(), layer.recurrent_activations()].map(|a| a.name()),
        ["f32", "2"]
    );
    let (draft, layers) = with("- { match: LSTM_0.R, activations: 2 }").unwrap();
    assert_eq!(shown(&layers), ["LSTM_0.W: 2 int8", "LSTM_0.R: 2 2"]);
    let Some(Op::Recurrent(layer)) = &draft.graph.nodes[0].op else { panic!() };
    assert_eq!(
        [layer.activations(), layer.recurrent_activations()].map(|a| a.name()),
        ["int8", "2"]
    );
    let error = with("- { match: LSTM_1, bits: 3 }").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("LSTM_0.W, LSTM_0.R"), "{error}");
}

#[test]
fn what_stays_float_says_why() {
    let build = Build::new(13).input("x", "n 64").typed("i", ElementType::Int64, "k");
    let build = build.input("z", "n 2");
    let build = build.numbers("small", &[2, 64]).node("MatMul", "z small", "a");
    let build = build.numbers("stack", &[3, 64, 64]).node("MatMul", "x stack", "b");
    let build = build.numbers("columns", &[64, 64]);
    let build = build.node_with("Gather", "columns i", "c", &[("axis", A::I(1))]);
    let build = build.numbers("grid", &[64, 64]).node("Mul", "c grid", "d");
    let build = build.output("a").output("b").output("d");
    let (_, layers) = emitted(&passed(&build), &codes(8)).unwrap();
    insta::assert_snapshot!(shown(&layers).join("\n"));
}

#[test]
fn a_weight_that_is_no_number_is_named() {
    for bad in [f32::NAN, f32::INFINITY] {
        let mut weights = numbers(1, 64 * 64);
        weights[70] = bad;
        let build = Build::new(13).input("x", "n 64").initializer(f32s("w", &[64, 64], &weights));
        let module = passed(&build.node("MatMul", "x w", "y").output("y"));
        for options in [codes(2), ConvertOptions::float()] {
            let error = emitted(&module, &options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadFile);
            let expected = format!("MatMul_0: weight 385 is {bad}");
            assert!(error.message().contains(&expected), "{error}");
        }
    }
}

/// Be it a bias that a product takes, or a sum of its own.
#[test]
fn a_bias_that_is_no_number_is_named_wherever_it_stands() {
    let bias = f32s("b", &[4], &[0.0, f32::NAN, 0.0, 0.0]);
    let model = || Build::new(13).weight("k", &[4, 3, 2, 2]).weight("w", &[3, 4]);
    let conv = model().input("x", "n 3 8 8").initializer(bias.clone());
    let conv = conv.node("Conv", "x k b", "y").output("y");
    let sum = model().input("x", "n 3").initializer(bias).node("MatMul", "x w", "p");
    let (product, sum) =
        (sum.clone().node("Add", "p b", "y").output("y"), sum.node("Relu", "p", "q"));
    let sum = sum.node("Add", "q b", "y").output("y");
    for (build, node) in [(conv, "Conv_0"), (product, "Add_1"), (sum, "Add_2")] {
        let error = emitted(&passed(&build), &codes(2)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadFile);
        let named = format!("node \"{node}\": element 1 of \"b\" is NaN");
        assert!(error.message().contains(&named), "{error}");
    }
}

#[test]
fn shapes_of_a_state_are_told_as_the_model_has_them() {
    let build = Build::new(13).input("x", "t n 3").input("s", "a b");
    let build = build.node("Abs", "x", "y").node("Add", "s s", "z").output("y").output("z");
    let error = declared(&build, &[("s", "y")]).unwrap_err();
    let told = "the input is f32 [a, b] and the output f32 [t, n, 3]";
    assert!(error.message().contains(told), "{error}");
}

/// States of a module as `input -> output`, and streams as names.
fn declared(build: &Build, named: &[(&str, &str)]) -> Result<(Vec<String>, Vec<String>)> {
    let mut module = passed(build);
    let named: Vec<_> = named.iter().map(|&(a, b)| (a.to_owned(), b.to_owned())).collect();
    states::declare(&mut module, &named)?;
    load(&module);
    let Graph { values, states, streams, .. } = &module.graph;
    let name = |value: u32| values[value as usize].as_str();
    let pair = |s: &amq_format::graph::State| format!("{} -> {}", name(s.input), name(s.output));
    let streams = streams.iter().map(|stream| name(stream.value).to_owned());
    Ok((states.iter().map(pair).collect(), streams.collect()))
}

/// A layer of hidden size 3 with initial states and last states of the layer's own shape.
fn recurrent(op: &str, gates: i64, direction: &str) -> Build {
    let directions = if direction == "bidirectional" { 2 } else { 1 };
    let build = Build::new(14).input("x", "seq batch 2");
    let state = format!("{directions} batch 3");
    let build = build.input("h0", &state).input("c0", &state);
    let build = build.numbers("w", &[directions, gates * 3, 2]);
    let build = build.numbers("r", &[directions, gates * 3, 3]);
    let (inputs, outputs) = match op {
        "LSTM" => ("x w r _ _ h0 c0", "y hn cn"),
        _ => ("x w r _ _ h0", "y hn"),
    };
    let build = build.node_with(op, inputs, outputs, &[("direction", A::S(direction))]);
    let build = build.output("y").output("hn");
    if op == "LSTM" { build.output("cn") } else { build }
}

#[test]
fn states_of_one_layer_are_found() {
    for (op, gates, states) in [
        ("LSTM", 4, &["h0 -> hn", "c0 -> cn"][..]),
        ("GRU", 3, &["h0 -> hn"]),
        ("RNN", 1, &["h0 -> hn"]),
    ] {
        let (found, streams) = declared(&recurrent(op, gates, "forward"), &[]).unwrap();
        assert_eq!(found, states);
        assert_eq!(streams, ["x", "y"]);
        for direction in ["reverse", "bidirectional"] {
            let (found, streams) = declared(&recurrent(op, gates, direction), &[]).unwrap();
            assert_eq!((found.len(), streams.len()), (0, 0), "{op} {direction}");
        }
    }
}

#[test]
fn a_batch_that_is_named_twice_is_one() {
    for [x, h0, batch] in [
        ["seq batch 2", "1 other 3", "batch"],
        ["seq ? 2", "1 ? 3", "x.1"],
        ["seq batch 2", "1 1 3", "1"],
        ["seq 1 2", "1 batch 3", "1"],
    ] {
        let build = Build::new(14).input("x", x).input("h0", h0);
        let build = build.numbers("w", &[1, 9, 2]).numbers("r", &[1, 9, 3]);
        let build = build.node("GRU", "x w r _ _ h0", "y hn").output("y").output("hn");
        let (found, streams) = declared(&build, &[]).unwrap();
        assert_eq!((&found.join(" ")[..], &streams.join(" ")[..]), ("h0 -> hn", "x y"));
        let module = passed(&build);
        let dims: Vec<_> = module.graph.inputs[1].dims.iter().map(ToString::to_string).collect();
        assert_eq!(dims, ["1", batch, "3"]);
        assert_eq!(module.graph.inputs[1].dims, module.graph.outputs[1].dims);
    }
}

#[test]
fn an_output_of_another_shape_is_no_state() {
    let build = Build::new(14).input("x", "seq batch 2").input("h0", "batch 1 3");
    let build = build.numbers("w", &[1, 9, 2]).numbers("r", &[1, 9, 3]);
    let build = build.node_with("Transpose", "h0", "h", &[("perm", A::Is(&[1, 0, 2]))]);
    let build = build.node("GRU", "x w r _ _ h", "y hn").output("y").output("hn");
    assert_eq!(declared(&build, &[]).unwrap().0, [""; 0]);
}

/// Two GRU layers, whose states are cut from `h0` and joined to `hn`, as exporters do.
fn two_layers(cut: [&str; 2], joined: &str) -> Build {
    let mut build = Build::new(14).input("x", "seq batch 3").input("h0", "2 batch 3");
    build = build.ints("zero", &[0]).ints("one", &[1]).ints("two", &[2]);
    build = build.initializer(i64s("first", &[], &[0]));
    build = build.initializer(i64s("second", &[], &[-1]));
    build = build.node("Slice", "h0 zero one zero", "slice_0");
    build = build.node("Slice", "h0 one two zero", "slice_1");
    build = build.node_with("Gather", "h0 first", "row_0", &[("axis", A::I(0))]);
    build = build.node_with("Gather", "h0 second", "row_1", &[("axis", A::I(0))]);
    build = build.node("Unsqueeze", "row_0 zero", "gather_0");
    build = build.node("Unsqueeze", "row_1 zero", "gather_1");
    for (layer, x) in ["x", "y_0"].into_iter().enumerate() {
        let [w, r] = ["w", "r"].map(|name| format!("{name}_{layer}"));
        build = build.numbers(&w, &[1, 9, 3]).numbers(&r, &[1, 9, 3]);
        let inputs = format!("{x} {w} {r} _ _ {}", cut[layer]);
        build = build.node("GRU", &inputs, &format!("all_{layer} last_{layer}"));
        build = build.node("Squeeze", &format!("all_{layer} one"), &format!("y_{layer}"));
    }
    build.node_with("Concat", joined, "hn", &[("axis", A::I(0))]).output("y_1").output("hn")
}

#[test]
fn states_of_stacked_layers_are_found_through_cuts_and_joins() {
    for cut in [["slice_0", "slice_1"], ["gather_0", "gather_1"], ["slice_0", "gather_1"]] {
        let build = two_layers(cut, "last_0 last_1");
        let (found, streams) = declared(&build, &[]).unwrap();
        assert_eq!((&found.join(" ")[..], &streams.join(" ")[..]), ("h0 -> hn", "x y_1"));
        // Not the same layer's state, a part twice, and a part only.
        for joined in ["last_1 last_0", "last_0 last_0", "last_0"] {
            let (found, _) = declared(&two_layers(cut, joined), &[]).unwrap();
            assert_eq!(found, [""; 0], "{joined}");
        }
    }
    let (found, _) = declared(&two_layers(["slice_1", "slice_0"], "last_0 last_1"), &[]).unwrap();
    assert_eq!(found, [""; 0]);

    // A stream that is cut computes what a whole sequence does.
    let mut module = passed(&two_layers(["slice_0", "gather_1"], "last_0 last_1"));
    states::declare(&mut module, &[]).unwrap();
    let model = load(&module);
    let x = numbers(3, 6 * 3);
    let run = |pieces: &[usize]| {
        let (mut session, mut at, mut out) = (Session::new(model.clone()), 0, Vec::<f32>::new());
        for &piece in pieces {
            let dims = [piece, 1, 3];
            let part = View::f32(&dims, &x[3 * at..3 * (at + piece)]);
            out.extend(session.step(&[("x", part)]).unwrap().get("y_1").unwrap().as_f32().unwrap());
            at += piece;
        }
        out
    };
    assert_eq!(run(&[6]), run(&[1, 2, 3]));
}

#[test]
fn states_that_are_named_must_exist_and_fit() {
    let build = || {
        let build = Build::new(14).input("x", "n 3").input("s", "n 3").input("wide", "n 4");
        build.node("Add", "x s", "y").node("Relu", "wide", "z").output("y").output("z")
    };
    assert_eq!(declared(&build(), &[]).unwrap().0, [""; 0]);
    assert_eq!(declared(&build(), &[("s", "y")]).unwrap().0, ["s -> y"]);
    for (named, words) in [
        (&[("t", "y")][..], "there is no input \"t\""),
        (&[("s", "t")], "there is no output \"t\""),
        (&[("wide", "y")], "the input is f32 [n, 4] and the output f32 [n, 3]"),
        (&[("s", "y"), ("x", "y")], "a value can belong to one state only"),
    ] {
        let error = declared(&build(), named).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains(words), "{error}");
    }
    // Names that differ are taken to be equal; what is computed from one and a number is not.
    let cell = |inputs: [&str; 2]| {
        let build = Build::new(14).input("x", inputs[0]).input("s", inputs[1]);
        build.node("Add", "x s", "y").output("y")
    };
    let turned = Build::new(14).input("s", "n 1 3").node_with(
        "Transpose",
        "s",
        "t",
        &[("perm", A::Is(&[1, 0, 2]))],
    );
    for build in
        [cell(["n 3", "m 3"]), cell(["1 3", "m 3"]), turned.node("Relu", "t", "y").output("y")]
    {
        assert_eq!(declared(&build, &[("s", "y")]).unwrap().0, ["s -> y"]);
    }
    let doubled = Build::new(14).input("s", "n 3");
    let doubled = doubled.node_with("Concat", "s s", "y", &[("axis", A::I(0))]).output("y");
    let error = declared(&doubled, &[("s", "y")]).unwrap_err();
    assert!(error.to_string().contains("keeps its type and shape"), "{error}");
    // A name overrides what would be found.
    let crossed = declared(&recurrent("LSTM", 4, "forward"), &[("c0", "hn")]).unwrap().0;
    assert_eq!(crossed, ["c0 -> hn"]);
    let mut module = passed(&recurrent("LSTM", 4, "forward"));
    states::declare(&mut module, &[("c0".into(), "hn".into())]).unwrap();
    assert_eq!(
        module.notes,
        [
            "--state c0=hn takes the place of the state h0 <- hn, which the layers have",
            "--state c0=hn takes the place of the state c0 <- cn, which the layers have",
            "the input h0 is an initial state, and no output was found to be its next; \
             --state h0=OUT names one"
        ]
    );
}

/// As an exporter makes it of two inputs that have one tensor for their example.
#[test]
fn an_input_of_two_states_is_neither() {
    let build = Build::new(14).input("x", "seq batch 2").input("c0", "1 batch 3");
    let build = build.numbers("w", &[1, 12, 2]).numbers("r", &[1, 12, 3]);
    let build = build.node("LSTM", "x w r _ _ c0 c0", "y hn cn");
    let both = build.clone().output("y").output("hn").output("cn");
    let mut module = passed(&both);
    states::declare(&mut module, &[]).unwrap();
    assert!(module.graph.states.is_empty());
    let [note] = &module.notes[..] else { panic!("{:?}", module.notes) };
    assert!(
        note.contains("c0 is the initial value of two states") && note.contains("--state c0=hn")
    );
    assert_eq!(declared(&both, &[("c0", "cn")]).unwrap().0, ["c0 -> cn"]);
    // One state that is given twice is one.
    let twice = build.ints("shape", &[1, -1, 3]).node("Reshape", "hn shape", "again");
    let found = declared(&twice.output("y").output("hn").output("again"), &[]).unwrap().0;
    assert_eq!(found, ["c0 -> hn"]);
}

#[test]
fn shipped_models_before_and_after() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    for model in [
        "lstm",
        "gru",
        "digits",
        "exports/lstm_language_dynamo",
        "exports/lstm_2_layers_bidirectional",
        "exports/lstm_cell",
    ] {
        let path = fixtures.join(model).join("model.onnx");
        let source = onnx::load(&path, &Limits::default()).unwrap();
        let mut module = onnx::import(&source, &Interface::default()).unwrap();
        let name = model.replace('/', "_");
        insta::assert_snapshot!(format!("{name}_before"), module);
        run(&mut module).unwrap();
        insta::assert_snapshot!(format!("{name}_after"), module);
    }
}
