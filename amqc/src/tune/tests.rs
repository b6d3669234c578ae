//! Gradients against differences, and the forward pass against the runtime.

mod blocks;
mod pools;
mod stages;
mod students;
mod values;
mod windows;

use std::path::Path;

use amq_format::graph::{Activations, Node, Op, ValueId};
use amq_runtime::Isa;

use super::dropout::Dropout;
use super::layers::Maker;
use super::params::Params;
use super::tape::{Route, Tape, floats};
use crate::emit::{corrected, emit};
use crate::fit::Fitted;
use crate::ir::Module;
use crate::loaded::Loaded;
use crate::onnx::tests::{A, Build, ElementType, TensorProto, bools, f32s, i64s};
use crate::options::ConvertOptions;
use crate::passes;
use crate::plan::Plan;
use crate::settings::{Bits, Given};
use crate::tensor::{Data, Tensor};
use crate::weights::Weights;

/// Numbers between -1 and 1 that are the same each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn numbers(&mut self, count: usize, size: f32) -> Vec<f32> {
        (0..count).map(|_| self.next() * size).collect()
    }
}

fn weight(name: &str, dims: &[i64], size: f32) -> TensorProto {
    let count = dims.iter().product::<i64>() as usize;
    let seed = name.bytes().fold(7, |seed, byte| seed * 31 + u64::from(byte));
    f32s(name, dims, &Random(seed).numbers(count, size))
}

/// A network in training.
struct Case {
    module: Module,
    plan: Plan,
    fitted: Fitted,
    params: Params,
    route: Route,
    inputs: Vec<(ValueId, Tensor)>,
    outputs: Vec<ValueId>,
    dropout: Option<Dropout>,
    /// The sum of the magnitudes of the last loss's terms: what rounding is a share of.
    magnitude: f64,
}

impl Case {
    /// Of a model with these bits and activations (float without), whose float inputs have these shapes.
    fn new(build: &Build, coded: Option<(u8, Activations)>, shapes: &[&[usize]]) -> Case {
        let mut module = build.import().unwrap();
        passes::run(&mut module).unwrap();
        let flags = match coded {
            Some((bits, activations)) => Given {
                bits: Some(Bits::Codes(bits)),
                activations: Some(activations),
                ..Given::default()
            },
            None => Given { bits: Some(Bits::F32), ..Given::default() },
        };
        let options = ConvertOptions { flags, ..ConvertOptions::default() };
        let weights = Weights::find(&module).unwrap();
        let plan = Plan::new(&module, &weights, options.resolver().unwrap()).unwrap();
        let fitted = Fitted::new(&module, &plan, None, &|_, _, _| ()).unwrap();
        let (module, fitted) = corrected(module, &plan, &fitted);
        let mut params = Params::new(&module, &plan, &fitted);
        params.follow();
        let ports = module.graph.inputs.iter().zip(shapes);
        let mut random = Random(3);
        let inputs = ports.map(|(port, dims)| {
            let data = random.numbers(dims.iter().product(), 1.0);
            (port.value, Tensor { dims: dims.to_vec(), data: Data::F32(data) })
        });
        let inputs = inputs.collect();
        let outputs: Vec<ValueId> = module.graph.outputs.iter().map(|port| port.value).collect();
        let route = Route::new(&module, 0..module.graph.nodes.len(), &params, &outputs).unwrap();
        let (dropout, magnitude) = (None, 0.0);
        Case { module, plan, fitted, params, route, inputs, outputs, dropout, magnitude }
    }

    /// A loss, a sum of outputs times numbers, and with `back` its gradients, which are added to those of the params.
    fn loss(&mut self, back: bool) -> f64 {
        let maker = Maker { path: Path::new("m.onnx"), isa: Isa::detect() };
        let mut tape = Tape::new(&self.module, &self.route, maker);
        tape.drop_out(self.dropout);
        tape.forward(&self.params, self.inputs.clone()).unwrap();
        let mut random = Random(11);
        let (mut loss, mut gradients) = (0.0, Vec::new());
        self.magnitude = 0.0;
        for &output in &self.outputs {
            let y = floats(tape.value(output)).unwrap();
            let by: Vec<f32> = random.numbers(y.len(), 1.0);
            loss += y.iter().zip(&by).map(|(&y, &b)| f64::from(y) * f64::from(b)).sum::<f64>();
            self.magnitude += y.iter().zip(&by).map(|(y, b)| f64::from((y * b).abs())).sum::<f64>();
            gradients.push((output, by));
        }
        if back {
            tape.backward(&mut self.params, gradients).unwrap();
        }
        loss
    }

    /// What the runtime gives for the network's file, beside what training computes.
    fn answers(&self) -> Vec<(Vec<f32>, Vec<f32>)> {
        let mut module = self.module.clone();
        let fitted = self.params.write(&mut module, &self.fitted);
        let draft = emit(module, &self.plan, &fitted);
        let loaded = Loaded::of_draft(Path::new("m.onnx"), &draft, Isa::detect()).unwrap();
        let name = |value: ValueId| self.module.name(value).to_owned();
        let inputs: Vec<_> = self.inputs.iter().map(|(v, t)| (name(*v), t.clone())).collect();
        let expected = loaded.run(&inputs).unwrap();
        let maker = Maker { path: Path::new("m.onnx"), isa: Isa::detect() };
        let mut tape = Tape::new(&self.module, &self.route, maker);
        tape.forward(&self.params, self.inputs.clone()).unwrap();
        let pairs = self.outputs.iter().zip(expected).map(|(&output, (_, expected))| {
            let Data::F32(expected) = expected.data else { panic!("a float") };
            (floats(tape.value(output)).unwrap().to_vec(), expected)
        });
        pairs.collect()
    }
}

#[track_caller]
fn assert_near(pairs: &[(Vec<f32>, Vec<f32>)], most: f32) {
    for (found, expected) in pairs {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            let far = (found - expected).abs();
            assert!(far <= most * expected.abs().max(1.0), "{found} is not {expected}");
        }
    }
}

/// Checks the forward pass against the runtime and the gradient by each param, in two directions, against differences.
#[track_caller]
fn check(build: &Build, shapes: &[&[usize]]) {
    let mut case = Case::new(build, None, shapes);
    assert_near(&case.answers(), 1e-4);
    check_gradients(&mut case);
}

/// Checks the gradient by each param, in two directions, against differences.
#[track_caller]
fn check_gradients(case: &mut Case) {
    const STEPS: [f32; 2] = [2e-3, 2.5e-4];
    case.params.clear();
    case.loss(true);
    let mut random = Random(5);
    for at in 0..case.params.all.len() {
        for _ in 0..2 {
            let gradient = case.params.all[at].gradient.clone();
            let direction = random.numbers(gradient.len(), 1.0);
            let terms = gradient.iter().zip(&direction);
            let found: f64 = terms.map(|(&g, &d)| f64::from(g) * f64::from(d)).sum();
            let moved = |case: &mut Case, by: f32| {
                let Data::F32(weights) = &mut case.params.all[at].weights.data else { return };
                weights.iter_mut().zip(&direction).for_each(|(w, d)| *w += by * d);
            };
            let name = case.module.name(case.params.all[at].value.unwrap()).to_owned();
            let size: f64 = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
            // A step may pass a bend of a function; a shorter one does not.
            let differences = STEPS.map(|step| {
                let start = case.params.all[at].weights.clone();
                moved(case, step);
                let above = case.loss(false);
                moved(case, -2.0 * step);
                let below = case.loss(false);
                case.params.all[at].weights = start;
                (above - below) / (2.0 * f64::from(step))
            });
            let rounding = 2e-7 * case.magnitude;
            let near = |(d, step): (&f64, f32)| {
                (found - d).abs() <= 1e-3 * (size + d.abs()) + rounding / f64::from(step)
            };
            assert!(
                differences.iter().zip(STEPS).any(near),
                "{name}: {found} is not {differences:?}"
            );
            assert!(size > 0.0, "{name} has no gradient");
        }
    }
}

#[test]
fn gradients_go_by_what_was_not_left_out() {
    let build = begin().initializer(weight("v", &[5, 7], 0.7)).node("MatMul", "h v", "y");
    let mut case = Case::new(&build.output("y"), None, &[&[4, 6]]);
    let whole = case.loss(false);
    let is_product = |node: &Node| matches!(node.op, Some(Op::Linear(_)));
    let node = case.module.graph.nodes.iter().rposition(is_product).unwrap();
    case.dropout = Some(Dropout { node, share: 0.4, seed: 5 });
    assert!((case.loss(false) - whole).abs() > 1e-3, "something is left out");
    check_gradients(&mut case);
}

/// A trained product, `x [4, 6]` to `h [4, 5]`, before what is tested.
fn begin() -> Build {
    let build = Build::new(17).input("x", "n 6").initializer(weight("w", &[6, 5], 0.7));
    let build = build.initializer(weight("b", &[5], 0.5)).node("MatMul", "x w", "product");
    build.node("Add", "product b", "h")
}

#[track_caller]
fn check_after(nodes: impl Fn(Build) -> Build) {
    check(&nodes(begin()).output("y"), &[&[4, 6]]);
}

#[test]
fn functions_of_elements() {
    for op in
        ["Sigmoid", "Tanh", "Softplus", "Exp", "Erf", "Sin", "Neg", "Atan", "Softsign", "Cosh"]
    {
        check_after(|build| build.node(op, "h", "y"));
    }
    // Away from where they have none.
    for op in [
        "Sqrt",
        "Log",
        "Reciprocal",
        "Relu",
        "Abs",
        "LeakyRelu",
        "Elu",
        "Selu",
        "Celu",
        "Acosh",
        "HardSwish",
    ] {
        let one = f32s("two", &[1], &[4.0]);
        check_after(|b| b.initializer(one.clone()).node("Add", "h two", "a").node(op, "a", "y"));
    }
    for op in ["LeakyRelu", "Elu", "Selu", "Celu", "Relu"] {
        let one = f32s("two", &[1], &[4.0]);
        check_after(|b| {
            b.initializer(one.clone())
                .node("Sub", "h two", "a")
                .node(op, "a", "c")
                .node("Add", "c h", "y")
        });
    }
    check_after(|b| b.node_with("HardSigmoid", "h", "y", &[("alpha", A::F(0.1))]));
    let (low, high) = (f32s("low", &[], &[-0.31]), f32s("high", &[], &[0.42]));
    check_after(|b| {
        b.initializer(low.clone()).initializer(high.clone()).node("Clip", "h low high", "y")
    });
}

#[test]
fn functions_of_pairs() {
    for op in ["Add", "Sub", "Mul", "Max", "Min"] {
        check_after(|b| b.node("Tanh", "h", "a").node("Sin", "h", "s").node(op, "a s", "y"));
        // Broadcast.
        let axes = i64s("axes", &[1], &[1]);
        check_after(|b| {
            let b = b.initializer(axes.clone());
            let b = b.node_with("ReduceSum", "h axes", "r", &[("keepdims", A::I(1))]);
            b.node(op, "h r", "y")
        });
    }
    for op in ["Div", "Pow"] {
        check_after(|b| b.node("Exp", "h", "a").node("Softplus", "h", "s").node(op, "a s", "y"));
    }
    let slope = weight("slope", &[5], 0.3);
    check_after(|b| b.initializer(slope.clone()).node("PRelu", "h slope", "y"));
    let chosen: Vec<u8> = (0..20).map(|i| i % 3 % 2).collect();
    let chosen = bools("chosen", &[4, 5], &chosen);
    check_after(|b| {
        b.initializer(chosen.clone()).node("Tanh", "h", "t").node("Where", "chosen h t", "y")
    });
}

#[test]
fn reductions_and_softmax() {
    for op in ["ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"] {
        for axes in [&[0][..], &[1], &[0, 1]] {
            check_after(|b| {
                b.node_with(op, "h", "y", &[("axes", A::Is(axes)), ("keepdims", A::I(0))])
            });
        }
    }
    for axis in [0, 1] {
        check_after(|b| b.node_with("Softmax", "h", "y", &[("axis", A::I(axis))]));
        check_after(|b| b.node_with("LogSoftmax", "h", "y", &[("axis", A::I(axis))]));
    }
}

#[test]
fn movements() {
    check_after(|b| b.ints("shape", &[2, 10]).node("Reshape", "h shape", "y"));
    check_after(|b| b.node_with("Transpose", "h", "y", &[("perm", A::Is(&[1, 0]))]));
    check_after(|b| {
        let b = b.ints("s", &[3, 1]).ints("e", &[-9, 5]).ints("a", &[0, 1]).ints("t", &[-2, 1]);
        b.node("Slice", "h s e a t", "y")
    });
    check_after(|b| {
        b.node("Tanh", "h", "t").node_with("Concat", "h t h", "y", &[("axis", A::I(1))])
    });
    check_after(|b| b.ints("shape", &[3, 4, 5]).node("Expand", "h shape", "y"));
    let rest = f32s("rest", &[], &[2.0]);
    check_after(|b| {
        b.ints("p", &[1, 0, 0, 2]).initializer(rest.clone()).node("Pad", "h p rest", "y")
    });
    for mode in ["reflect", "edge"] {
        check_after(|b| {
            b.ints("p", &[1, 0, 0, 2]).node_with("Pad", "h p", "y", &[("mode", A::S(mode))])
        });
    }
    // Which axis goes data decide, in part.
    check_after(|b| b.node("Squeeze", "h", "y"));
    check_after(|b| b.ints("i", &[3, 0, 0]).node_with("Gather", "h i", "y", &[("axis", A::I(0))]));
    check_after(|b| b.ints("i", &[2, 2]).node_with("Gather", "h i", "y", &[("axis", A::I(1))]));
}

#[test]
fn products_and_tables() {
    check_after(|b| b.initializer(weight("v", &[5, 3], 0.8)).node("MatMul", "h v", "y"));
    let build =
        begin().typed("i", ElementType::Int64, "k").initializer(weight("table", &[7, 5], 0.8));
    let build = build.node("Gather", "table i", "g").node("Add", "g h", "y").output("y");
    let mut case = Case::new(&build, None, &[&[4, 6], &[4]]);
    case.inputs[1].1.data = Data::I64(vec![6, 2, 2, 0]);
    assert_near(&case.answers(), 1e-6);
    case.loss(true);
    let mut random = Random(11);
    let by: Vec<f32> = random.numbers(20, 1.0);
    let table = case.params.all.iter().find(|p| p.weights.dims == [7, 5]).unwrap();
    for (row, column) in [(6, 0), (2, 3), (0, 4), (1, 1)] {
        let of_row = [6, 2, 2, 0].iter().enumerate().filter(|&(_, &index)| index == row);
        let expected: f32 = of_row.map(|(at, _)| by[5 * at + column]).sum();
        assert!((table.gradient[5 * row + column] - expected).abs() < 1e-6);
    }
}

/// A recurrent layer on `x [5, 3, 4]`, whose states and inputs are trained through.
fn recurrent(
    op: &str,
    directions: i64,
    attributes: &[(&str, A<'_>)],
    lengths: bool,
    peepholes: bool,
) -> Build {
    let hidden = 3;
    let (gates, outputs) = match op {
        "LSTM" => (4, "all last cell"),
        "GRU" => (3, "all last"),
        _ => (1, "all last"),
    };
    let mut build = Build::new(17).input("input", "5 3 4").initializer(weight("v", &[4, 4], 0.9));
    build = build.node("MatMul", "input v", "x");
    for (name, dims) in [
        ("W", vec![directions, gates * hidden, 4]),
        ("R", vec![directions, gates * hidden, hidden]),
        ("B", vec![directions, 2 * gates * hidden]),
        ("P", vec![directions, 3 * hidden]),
        ("u", vec![4, hidden]),
    ] {
        build = build.initializer(weight(name, &dims, 0.6));
    }
    build = build.ints("i", &[0]).ints("times", &[directions, 1, 1]);
    build = build.node_with("Gather", "input i", "first", &[("axis", A::I(0))]);
    build = build.node("MatMul", "first u", "start").node("Tile", "start times", "h");
    build = build.node("Sin", "h", "c");
    let lens = if lengths { "lens" } else { "_" };
    let count: i32 = 3;
    let data: Vec<u8> = [5i32, 2, 0].iter().flat_map(|n| n.to_le_bytes()).collect();
    build = build.initializer(TensorProto {
        name: "lens".into(),
        dims: vec![count.into()],
        data_type: ElementType::Int32 as i32,
        raw_data: Some(data.into()),
        ..Default::default()
    });
    let inputs = match op {
        "LSTM" if peepholes => format!("x W R B {lens} h c P"),
        "LSTM" => format!("x W R B {lens} h c"),
        _ => format!("x W R B {lens} h"),
    };
    let direction = if directions == 2 { "bidirectional" } else { "forward" };
    let mut all = vec![("hidden_size", A::I(hidden))];
    all.extend(attributes.iter().map(|(name, value)| (*name, value.clone())));
    if !attributes.iter().any(|(name, _)| *name == "direction") {
        all.push(("direction", A::S(direction)));
    }
    build = build.node_with(op, &inputs, outputs, &all);
    outputs.split(' ').fold(build, Build::output)
}

#[test]
fn recurrent_layers() {
    let shapes: &[&[usize]] = &[&[5, 3, 4]];
    check(&recurrent("RNN", 1, &[], false, false), shapes);
    check(&recurrent("LSTM", 1, &[], false, false), shapes);
    check(&recurrent("LSTM", 2, &[], true, true), shapes);
    check(&recurrent("LSTM", 1, &[("input_forget", A::I(1))], false, true), shapes);
    check(&recurrent("LSTM", 1, &[("direction", A::S("reverse"))], true, false), shapes);
    check(&recurrent("LSTM", 1, &[("clip", A::F(0.9))], false, false), shapes);
    for reset in [0, 1] {
        let reset = ("linear_before_reset", A::I(reset));
        check(&recurrent("GRU", 1, std::slice::from_ref(&reset), false, false), shapes);
        check(&recurrent("GRU", 2, &[reset], true, false), shapes);
    }
    let functions: &[(&str, A<'_>)] = &[
        ("activations", A::Ss(&["HardSigmoid", "ScaledTanh", "Softsign"])),
        ("activation_alpha", A::Fs(&[0.2, 1.2])),
        ("activation_beta", A::Fs(&[0.5, 0.7])),
    ];
    check(&recurrent("LSTM", 1, functions, false, false), shapes);
}

#[test]
fn what_cannot_be_trained_through_is_named() {
    let build = begin().node_with("TopK", "h two", "y", &[]).initializer(i64s("two", &[1], &[2]));
    let mut module = build.output("y").import().unwrap();
    passes::run(&mut module).unwrap();
    let params =
        Params::new(&module, &Plan { matrices: vec![], raised: vec![] }, &Fitted::default());
    let outputs: Vec<ValueId> = module.graph.outputs.iter().map(|port| port.value).collect();
    let error = Route::new(&module, 0..module.graph.nodes.len(), &params, &outputs).unwrap_err();
    assert!(error.message().contains("(TopK)"), "{error}");
}
