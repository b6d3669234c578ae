//! Small models, made as the compiler makes them.
#![allow(dead_code, reason = "each test uses a part")]

use amq_format::graph::*;
use amq_format::{Draft, write};

/// A graph under construction.
pub(crate) struct Builder {
    graph: Graph,
    data: Vec<Vec<u8>>,
    random: u64,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        let graph = Graph { values: vec![String::new()], ..Graph::default() };
        Builder { graph, data: Vec::new(), random: 0x2545_f491_4f6c_dd1d }
    }

    pub(crate) fn value(&mut self, name: &str) -> ValueId {
        self.graph.values.push(name.into());
        self.graph.values.len() as ValueId - 1
    }

    pub(crate) fn input(&mut self, name: &str, data_type: DataType, dims: &[Dim]) -> ValueId {
        let value = self.value(name);
        let port =
            Port { value, data_type: data_type as i32, dims: dims.to_vec(), ..Port::default() };
        self.graph.inputs.push(port);
        value
    }

    pub(crate) fn output(&mut self, value: ValueId, data_type: DataType, dims: &[Dim]) {
        let port =
            Port { value, data_type: data_type as i32, dims: dims.to_vec(), ..Port::default() };
        self.graph.outputs.push(port);
    }

    pub(crate) fn state(&mut self, input: ValueId, output: ValueId, initial: ValueId) {
        let name = self.graph.values[input as usize].clone();
        self.graph.states.push(State { name, input, output, initial });
    }

    pub(crate) fn floats(&mut self, name: &str, dims: &[u64], elements: &[f32]) -> ValueId {
        let value = self.value(name);
        self.graph.tensors.push(Tensor {
            value,
            data_type: DataType::F32 as i32,
            dims: dims.to_vec(),
            section: 0,
            multi_bit: None,
        });
        self.data.push(elements.iter().flat_map(|x| x.to_le_bytes()).collect());
        value
    }

    /// Floats between -1 and 1.
    pub(crate) fn random_floats(&mut self, name: &str, dims: &[u64]) -> ValueId {
        let count: u64 = dims.iter().product();
        let elements: Vec<f32> = (0..count).map(|_| self.random_float()).collect();
        self.floats(name, dims, &elements)
    }

    pub(crate) fn random_float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// A tensor of random codes, whose first `lead` axes are rows.
    pub(crate) fn codes(&mut self, name: &str, dims: &[u64], lead: usize, bits: u32) -> ValueId {
        let value = self.value(name);
        let (rows, cols): (u64, u64) =
            (dims[..lead].iter().product(), dims[lead..].iter().product());
        let mut bytes = Vec::new();
        for _ in 0..bits {
            for first in (0..rows * cols).step_by(64) {
                let left = rows * cols - first;
                let mask = if left < 64 { (1u64 << left) - 1 } else { u64::MAX };
                bytes.extend((self.next() & mask).to_le_bytes());
            }
        }
        for _ in 0..rows * u64::from(bits) {
            bytes.extend((self.random_float() * 0.2).to_le_bytes());
        }
        self.graph.tensors.push(Tensor {
            value,
            data_type: DataType::F32 as i32,
            dims: dims.to_vec(),
            section: 0,
            multi_bit: Some(MultiBit {
                bits,
                rows,
                group: 0,
                coefficients: CoefficientType::F32 as i32,
                offset: false,
            }),
        });
        self.data.push(bytes);
        value
    }

    /// A tensor `[parts, dims..]`, each part random from its own number; coded ones have 2 bits.
    pub(crate) fn parts(
        &mut self,
        name: &str,
        dims: &[u64],
        coded: bool,
        parts: &[u64],
        seed: u64,
    ) -> ValueId {
        let whole: Vec<u64> = [parts.len() as u64].iter().chain(dims).copied().collect();
        let mut pieces = Vec::new();
        for part in parts {
            self.random = (seed + part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let one: Vec<u64> = [1].iter().chain(dims).copied().collect();
            let _ = match coded {
                true => self.codes("", &one, 2, 2),
                false => self.random_floats("", &one),
            };
            self.graph.values.pop();
            self.graph.tensors.pop();
            pieces.extend(self.data.pop());
        }
        let value =
            if coded { self.codes(name, &whole, 2, 2) } else { self.random_floats(name, &whole) };
        // Planes lie outside rows, without gaps; coefficients behind all planes.
        let count = if coded { dims.iter().product::<u64>() as usize } else { 0 };
        let plane = count.div_ceil(64) * 8;
        let mut data = Vec::new();
        for first in [0, plane].into_iter().filter(|_| coded) {
            let bit = |piece: &Vec<u8>, i: usize| piece[first + i / 8] >> (i % 8) & 1;
            let bits: Vec<u8> =
                pieces.iter().flat_map(|piece| (0..count).map(move |i| bit(piece, i))).collect();
            for word in bits.chunks(64) {
                let word = word.iter().rev().fold(0u64, |word, bit| word << 1 | u64::from(*bit));
                data.extend(word.to_le_bytes());
            }
        }
        for piece in &pieces {
            data.extend(&piece[2 * plane..]);
        }
        if let Some(last) = self.data.last_mut() {
            *last = data;
        }
        value
    }

    pub(crate) fn node(&mut self, op: Op, inputs: &[ValueId], outputs: &[ValueId]) {
        self.push(Node {
            name: format!("node_{}", self.graph.nodes.len()),
            inputs: inputs.to_vec(),
            outputs: outputs.to_vec(),
            version: 1,
            bodies: Vec::new(),
            binds: Vec::new(),
            op: Some(op),
        });
    }

    pub(crate) fn push(&mut self, node: Node) {
        self.graph.nodes.push(node);
    }

    pub(crate) fn unary(&mut self, function: UnaryFunction, x: ValueId, name: &str) -> ValueId {
        let y = self.value(name);
        let op = Unary { function: function as i32, alpha: 0.0, beta: 0.0 };
        self.node(Op::Unary(op), &[x], &[y]);
        y
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        write(Draft { graph: self.graph, data: self.data, provenance: None }).unwrap()
    }
}

pub(crate) fn named(name: &str) -> Dim {
    Dim::named(name)
}

pub(crate) fn sized(size: i64) -> Dim {
    Dim::from(size)
}

pub(crate) const VOCABULARY: usize = 50;
pub(crate) const HIDDEN: usize = 40;

/// Embedding, one recurrent layer with declared states, and a decoder: tokens `[seq, batch]` to
/// logits `[seq, batch, 50]`.
pub(crate) fn language_model(cell: Cell, activations: Activations) -> Vec<u8> {
    let mut b = Builder::new();
    let (seq, batch, hidden) = (named("seq"), named("batch"), HIDDEN as u64);
    let state = [sized(1), batch.clone(), sized(HIDDEN as i64)];
    let tokens = b.input("tokens", DataType::I64, &[seq.clone(), batch.clone()]);
    let h0 = b.input("h0", DataType::F32, &state);
    let table = b.codes("table", &[VOCABULARY as u64, 24], 1, 3);
    let embedded = b.value("embedded");
    b.node(Op::Gather(Gather { axis: 0 }), &[table, tokens], &[embedded]);

    let rows = cell.gates() as u64 * hidden;
    let w = b.codes("w", &[1, rows, 24], 2, 2);
    let r = b.codes("r", &[1, rows, hidden], 2, 2);
    let bias = b.random_floats("bias", &[1, 2 * rows]);
    let (y, h) = (b.value("y"), b.value("h"));
    let mut functions = vec![UnaryFunction::Sigmoid, UnaryFunction::Tanh];
    let (mut inputs, mut outputs) = (vec![embedded, w, r, bias, 0, h0], vec![y, h]);
    let mut cell_state = None;
    if cell == Cell::Lstm {
        functions.push(UnaryFunction::Tanh);
        let (c0, c) = (b.input("c0", DataType::F32, &state), b.value("c"));
        inputs.push(c0);
        outputs.push(c);
        cell_state = Some((c0, c));
    }
    let functions = functions.into_iter();
    let function = |f: UnaryFunction| Unary { function: f as i32, alpha: 0.0, beta: 0.0 };
    let layer = Recurrent {
        cell: cell as i32,
        hidden_size: hidden,
        direction: Direction::Forward as i32,
        functions: functions.map(function).collect(),
        clip: None,
        input_forget: false,
        linear_before_reset: cell == Cell::Gru,
        activations: activations as i32,
        recurrent_activations: activations as i32,
    };
    b.node(Op::Recurrent(Box::new(layer)), &inputs, &outputs);

    let squeezed = b.value("squeezed");
    let dims = vec![seq.clone(), batch.clone(), sized(HIDDEN as i64)];
    b.node(Op::Reshape(Reshape { dims }), &[y], &[squeezed]);
    let decoder = b.codes("decoder", &[VOCABULARY as u64, hidden], 1, 2);
    let decoder_bias = b.random_floats("decoder_bias", &[VOCABULARY as u64]);
    let logits = b.value("logits");
    let linear = Linear { activations: activations as i32 };
    b.node(Op::Linear(linear), &[squeezed, decoder, decoder_bias], &[logits]);
    b.output(logits, DataType::F32, &[seq, batch, sized(VOCABULARY as i64)]);
    b.output(h, DataType::F32, &state);
    b.state(h0, h, ABSENT);
    if let Some((c0, c)) = cell_state {
        b.output(c, DataType::F32, &state);
        let initial = b.random_floats("c_initial", &[1, 1, hidden]);
        b.state(c0, c, initial);
    }
    b.finish()
}

/// Convolution, pooling, mean over the plane, a product and softmax: x `[batch, 3, height, width]`.
pub(crate) fn classifier() -> Vec<u8> {
    let mut b = Builder::new();
    let batch = named("batch");
    let x =
        b.input("x", DataType::F32, &[batch.clone(), sized(3), named("height"), named("width")]);
    let w = b.codes("w", &[8, 3, 3, 3], 1, 2);
    let bias = b.random_floats("bias", &[8]);
    let convolved = b.value("convolved");
    let conv = Conv {
        strides: vec![1, 1],
        dilations: vec![1, 1],
        pads: vec![1, 1, 1, 1],
        auto_pad: AutoPad::Explicit as i32,
        groups: 1,
        activations: Activations::Int8 as i32,
    };
    b.node(Op::Conv(conv), &[x, w, bias], &[convolved]);
    let rectified = b.unary(UnaryFunction::Relu, convolved, "rectified");
    let pooled = b.value("pooled");
    let pool = Pool {
        kind: PoolKind::Max as i32,
        kernel: vec![2, 2],
        strides: vec![2, 2],
        dilations: vec![1, 1],
        pads: vec![0; 4],
        auto_pad: AutoPad::Explicit as i32,
        ceil_mode: true,
        count_include_pad: false,
    };
    b.node(Op::Pool(pool), &[rectified], &[pooled]);
    let mean = b.value("mean");
    let reduce = Reduce { kind: ReduceKind::Mean as i32, axes: vec![2, 3], keep_dims: false };
    b.node(Op::Reduce(reduce), &[pooled], &[mean]);
    let decoder = b.random_floats("decoder", &[5, 8]);
    let scores = b.value("scores");
    let linear = Linear { activations: Activations::F32 as i32 };
    b.node(Op::Linear(linear), &[mean, decoder], &[scores]);
    let classes = b.value("classes");
    b.node(Op::Softmax(Softmax { axis: 1, log: false }), &[scores], &[classes]);
    b.output(classes, DataType::F32, &[batch, sized(5)]);
    b.finish()
}

fn port(value: ValueId, data_type: DataType, dims: &[Dim]) -> Port {
    Port { value, data_type: data_type as i32, dims: dims.to_vec(), ..Port::default() }
}

fn node(name: &str, op: Op, inputs: &[ValueId], outputs: &[ValueId]) -> Node {
    let (inputs, outputs) = (inputs.to_vec(), outputs.to_vec());
    Node { name: name.into(), inputs, outputs, version: 1, op: Some(op), ..Node::default() }
}

fn names(names: &[&str]) -> Vec<String> {
    std::iter::once("").chain(names.iter().copied()).map(String::from).collect()
}

/// y = x, or x twice one after the other, then negated.
pub(crate) fn branch() -> Vec<u8> {
    let (n, m) = (named("n"), Dim::given("m"));
    let mut b = Builder::new();
    let go = b.input("go", DataType::Bool, &[]);
    let x = b.input("x", DataType::F32, std::slice::from_ref(&n));
    let [h, y] = ["h", "y"].map(|name| b.value(name));
    let body = |op: Op, inputs: &[ValueId], size: Dim| Graph {
        values: names(&["x", "y"]),
        inputs: vec![port(1, DataType::F32, std::slice::from_ref(&n))],
        outputs: vec![port(2, DataType::F32, &[size])],
        nodes: vec![node("inner", op, inputs, &[2])],
        ..Graph::default()
    };
    let relu = Op::Unary(Unary { function: UnaryFunction::Relu as i32, alpha: 0.0, beta: 0.0 });
    let twice = n.mul(&2.into()).unwrap();
    let bodies =
        vec![body(relu, &[1], n.clone()), body(Op::Concat(Concat { axis: 0 }), &[1, 1], twice)];
    let op = Op::If(If { dims: vec![m.clone()] });
    b.push(Node { bodies, binds: vec!["m".into()], ..node("if", op, &[go, x], &[h]) });
    let neg = Op::Unary(Unary { function: UnaryFunction::Neg as i32, alpha: 0.0, beta: 0.0 });
    b.push(node("neg", neg, &[h], &[y]));
    b.output(y, DataType::F32, &[m]);
    b.finish()
}

/// x, or as many of its sums as 12 divided by its size less 2.
#[allow(dead_code, reason = "not all tests use it")]
pub(crate) fn branch_of_a_quotient() -> Vec<u8> {
    let (n, m) = (named("n"), Dim::given("m"));
    let mut b = Builder::new();
    let go = b.input("go", DataType::Bool, &[]);
    let x = b.input("x", DataType::F32, std::slice::from_ref(&n));
    let y = b.value("y");
    let body = |given: &[&str], nodes: Vec<Node>, size: Dim| Graph {
        values: names(&[&["x"], given].concat()),
        inputs: vec![port(1, DataType::F32, std::slice::from_ref(&n))],
        outputs: vec![port(1 + given.len() as ValueId, DataType::F32, &[size])],
        nodes,
        ..Graph::default()
    };
    let relu = Op::Unary(Unary { function: UnaryFunction::Relu as i32, alpha: 0.0, beta: 0.0 });
    let quotient = Dim::from(12).floor_div(&n.sub(&2.into()).unwrap()).unwrap();
    let sum = Reduce { kind: ReduceKind::Sum as i32, axes: vec![0], keep_dims: true };
    let sums = vec![
        node("sum", Op::Reduce(sum), &[1], &[2]),
        node("repeat", Op::Expand(Expand { dims: vec![quotient.clone()] }), &[2], &[3]),
    ];
    let bodies = vec![
        body(&["y"], vec![node("inner", relu, &[1], &[2])], n.clone()),
        body(&["sum", "y"], sums, quotient),
    ];
    let op = Op::If(If { dims: vec![m.clone()] });
    b.push(Node { bodies, binds: vec!["m".into()], ..node("if", op, &[go, x], &[y]) });
    b.output(y, DataType::F32, &[m]);
    b.finish()
}

/// Fibonacci numbers below a limit: both carried numbers, and all as a scan.
pub(crate) fn fibonacci() -> Vec<u8> {
    let turns = Dim::given("turns");
    let mut b = Builder::new();
    let limit = b.input("limit", DataType::I64, &[]);
    let go = b.input("go", DataType::Bool, &[]);
    let [first, second] = ["first", "second"].map(|name| b.input(name, DataType::I64, &[]));
    let [last, all] = ["last", "all"].map(|name| b.value(name));
    let binary = |function: BinaryFunction| Op::Binary(Binary { function: function as i32 });
    let scalar = |value| port(value, DataType::I64, &[]);
    let body = Graph {
        values: names(&["i", "a", "b", "limit", "next", "on"]),
        inputs: (1..5).map(scalar).collect(),
        outputs: vec![port(6, DataType::Bool, &[]), scalar(3), scalar(5), scalar(2)],
        nodes: vec![
            node("add", binary(BinaryFunction::Add), &[2, 3], &[5]),
            node("less", binary(BinaryFunction::Less), &[3, 4], &[6]),
        ],
        ..Graph::default()
    };
    let op = Loop {
        carried: 2,
        trips: vec![],
        dims: vec![turns.clone()],
        counted: false,
        conditional: true,
    };
    let inputs = [go, first, second, limit];
    let outputs = [last, ABSENT, all];
    let binds = vec!["turns".into()];
    b.push(Node { bodies: vec![body], binds, ..node("loop", Op::Loop(op), &inputs, &outputs) });
    b.output(last, DataType::I64, &[]);
    b.output(all, DataType::I64, &[turns]);
    b.finish()
}
