//! The networks of `fixtures/golden/products-*.amq`: every operator that sums, with weights and
//! activations of one kind each.

use super::{Builder, named, unary};
use amq_format::Draft;
use amq_format::graph::*;

/// How the weights of a network are stored, and what meets them.
#[derive(Clone, Copy)]
struct Way {
    /// Codes a weight; plain weights where it is 0.
    bits: u32,
    /// Whether columns share coefficients in groups, with offsets.
    grouped: bool,
    activations: Activations,
}

/// Names of the files, without `products-` and `.amq`, and what is in them.
pub fn all() -> Vec<(&'static str, Draft)> {
    let way = |bits, grouped, activations| products(Way { bits, grouped, activations });
    vec![
        ("f32", way(0, false, Activations::F32)),
        ("3-bit-f32", way(3, true, Activations::F32)),
        ("2-bit-int8", way(2, false, Activations::Int8)),
        ("3-bit-int8", way(3, true, Activations::Int8)),
        ("4-bit-int16", way(4, true, Activations::Int16)),
        ("2-bit-codes2", way(2, false, Activations::Codes2)),
        ("3-bit-codes3", way(3, true, Activations::Codes3)),
        ("2-bit-offset2", way(2, false, Activations::Offset2)),
        ("4-bit-offset3", way(4, true, Activations::Offset3)),
    ]
}

fn products(way: Way) -> Draft {
    let mut b = Builder::new();
    sequence(&mut b, way);
    image(&mut b, way);
    b.draft()
}

impl Way {
    /// A weight of so many rows, whose columns may be grouped.
    fn weight(self, b: &mut Builder, name: &str, dims: &[u64], rows: u64, group: u64) {
        if self.bits == 0 {
            return b.noise(name, dims);
        }
        let grouped = self.grouped && group > 0;
        let coefficients = if grouped { CoefficientType::F32 } else { CoefficientType::F16 };
        let coding = MultiBit {
            bits: self.bits,
            rows,
            group: if grouped { group } else { 0 },
            coefficients: coefficients as i32,
            offset: grouped,
        };
        // So small that gates are not at their ends.
        b.smaller_multi_bit(name, dims, coding, 4);
    }
}

/// An embedding, recurrent layers, a linear one, and what sums over steps and classes.
fn sequence(b: &mut Builder, way: Way) {
    let (time, batch) = (named("time"), named("batch"));
    let steps = |size: i64| [time.clone(), batch.clone(), size.into()];
    b.input("tokens", DataType::I64, &[time.clone(), batch.clone()]);
    way.weight(b, "table", &[5, 70], 5, 32);
    b.node("embed", &["table", "tokens"], &["x"], Op::Gather(Gather { axis: 0 }));
    b.output("x", DataType::F32, &steps(70));

    way.weight(b, "lstm.W", &[1, 80, 70], 80, 32);
    way.weight(b, "lstm.R", &[1, 80, 20], 80, 0);
    b.noise("lstm.B", &[1, 160]);
    let functions = [UnaryFunction::Sigmoid, UnaryFunction::Tanh, UnaryFunction::Tanh];
    let recurrent = |cell: Cell, hidden_size, direction: Direction, functions: &[UnaryFunction]| {
        let recurrent = Recurrent {
            cell: cell as i32,
            hidden_size,
            direction: direction as i32,
            functions: functions.iter().copied().map(unary).collect(),
            clip: None,
            input_forget: false,
            linear_before_reset: false,
            activations: way.activations as i32,
            recurrent_activations: way.activations as i32,
        };
        Op::Recurrent(recurrent.into())
    };
    let lstm = recurrent(Cell::Lstm, 20, Direction::Forward, &functions);
    b.node("lstm", &["x", "lstm.W", "lstm.R", "lstm.B"], &["lstm.y", "", "lstm.c"], lstm);
    b.output("lstm.c", DataType::F32, &[1.into(), batch.clone(), 20.into()]);
    let flat = Reshape { dims: steps(20).to_vec() };
    b.node("flat", &["lstm.y"], &["h"], Op::Reshape(flat));
    b.output("h", DataType::F32, &steps(20));

    way.weight(b, "gru.W", &[2, 27, 20], 54, 0);
    way.weight(b, "gru.R", &[2, 27, 9], 54, 0);
    let both = [functions[0], functions[1], functions[0], functions[1]];
    let gru = recurrent(Cell::Gru, 9, Direction::Bidirectional, &both);
    b.node("gru", &["h", "gru.W", "gru.R"], &["gru.y"], gru);
    b.output("gru.y", DataType::F32, &[time.clone(), 2.into(), batch.clone(), 9.into()]);

    way.weight(b, "out.W", &[37, 70], 37, 32);
    b.noise("out.bias", &[37]);
    let linear = Linear { activations: way.activations as i32 };
    b.node("out", &["x", "out.W", "out.bias"], &["scores"], Op::Linear(linear));
    b.output("scores", DataType::F32, &steps(37));
    for (name, axis, log) in [("classes", 2, true), ("moments", 0, false)] {
        b.node(name, &["scores"], &[name], Op::Softmax(Softmax { axis, log }));
        b.output(name, DataType::F32, &steps(37));
    }
    b.noise("mix", &[37, 19]);
    b.node("mixed", &["scores", "mix"], &["mixed"], Op::MatMul(MatMul {}));
    b.output("mixed", DataType::F32, &steps(19));
    let sum = Reduce { kind: ReduceKind::Sum as i32, axes: vec![2], keep_dims: false };
    b.node("sum", &["scores"], &["sum"], Op::Reduce(sum));
    b.output("sum", DataType::F32, &[time, batch.clone()]);
    let mean = Reduce { kind: ReduceKind::Mean as i32, axes: vec![0], keep_dims: false };
    b.node("mean", &["scores"], &["mean"], Op::Reduce(mean));
    b.output("mean", DataType::F32, &[batch, 37.into()]);
}

/// Convolutions of many, few and single channels a group, and means of windows.
fn image(b: &mut Builder, way: Way) {
    let items = named("items");
    b.input("image", DataType::F32, &[items.clone(), 32.into(), 7.into(), 9.into()]);
    let mut conv =
        |name: &str, weight: [u64; 4], groups: u64, strides: [u64; 2], size: [i64; 3]| {
            let group = if weight[3] == 32 { 32 } else { 0 };
            way.weight(b, &format!("{name}.W"), &weight, weight[0], group);
            let op = Conv {
                strides: strides.to_vec(),
                dilations: vec![1, 2],
                pads: vec![1, 2, 0, 1],
                auto_pad: AutoPad::Explicit as i32,
                groups,
                activations: way.activations as i32,
            };
            b.node(name, &["image", &format!("{name}.W")], &[name], Op::Conv(op));
            let [channels, height, width] = size.map(Dim::from);
            b.output(name, DataType::F32, &[items.clone(), channels, height, width]);
        };
    conv("wide", [20, 3, 3, 32], 1, [1, 1], [20, 6, 8]);
    conv("grouped", [6, 2, 3, 16], 2, [2, 1], [6, 4, 8]);
    conv("depthwise", [32, 3, 3, 1], 32, [1, 2], [32, 6, 4]);
    let pool = Pool {
        kind: PoolKind::Average as i32,
        kernel: vec![3, 3],
        strides: vec![2, 2],
        dilations: vec![1, 1],
        pads: vec![1, 1, 1, 1],
        auto_pad: AutoPad::Explicit as i32,
        ceil_mode: false,
        count_include_pad: false,
    };
    b.node("pooled", &["image"], &["pooled"], Op::Pool(pool));
    b.output("pooled", DataType::F32, &[items, 32.into(), 4.into(), 5.into()]);
}
