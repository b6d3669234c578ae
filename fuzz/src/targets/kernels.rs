//! Products of every kind on every instruction set, with what portable code gives.

use std::sync::Arc;

use amq_format::graph::*;
use amq_format::{Draft, TensorView, Validated, encode, multi_bit_bytes};
use amq_runtime::{Isa, LoadOptions, Model, Session, View};

use crate::random::{Random, hash};

/// What an input asks for: its first bytes say shapes and types, the others are numbers.
struct Asked<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Asked<'_> {
    fn byte(&mut self) -> usize {
        self.at += 1;
        usize::from(self.bytes.get(self.at - 1).copied().unwrap_or(0))
    }

    /// A number from 1, mostly small.
    fn size(&mut self, most: usize) -> usize {
        let byte = self.byte();
        let wide = if byte & 192 == 192 { byte | self.byte() << 6 } else { byte & 63 };
        wide % most + 1
    }
}

fn constant(
    graph: &mut Graph,
    data: &mut Vec<Vec<u8>>,
    dims: &[u64],
    multi_bit: Option<MultiBit>,
    bytes: Vec<u8>,
) -> ValueId {
    graph.values.push(format!("c{}", graph.values.len()));
    let value = graph.values.len() as ValueId - 1;
    let data_type = DataType::F32 as i32;
    graph.tensors.push(Tensor { value, data_type, dims: dims.to_vec(), section: 0, multi_bit });
    data.push(bytes);
    value
}

/// A product with random weights, of a shape that the bytes say, of numbers that they are, whatever those are.
pub fn kernels_vs_scalar(bytes: &[u8]) -> u64 {
    let mut asked = Asked { bytes, at: 0 };
    let kind = asked.byte() % 4;
    let bits = (asked.byte() % 9) as u32;
    let activations = (asked.byte() % 11) as i32;
    let (rows, cols, count) = (asked.size(90), asked.size(300), asked.size(9));
    let layout = asked.byte();
    let mut random = Random(asked.byte() as u64);
    let mut graph =
        Graph { values: vec![String::new(), "x".into(), "y".into()], ..Graph::default() };
    let mut data = Vec::new();
    let side = 1 + layout % 3;
    let (lead, dims): (usize, Vec<u64>) = match kind {
        0 | 3 => (rows, vec![rows as u64, cols as u64]),
        1 => (rows, vec![rows as u64, side as u64, side as u64, cols.min(40) as u64]),
        _ => (4 * rows, vec![1, 4 * rows as u64, cols as u64]),
    };
    let mut weights = |graph: &mut Graph, data: &mut Vec<Vec<u8>>, lead: usize, dims: &[u64]| {
        let count: u64 = dims.iter().product();
        let across = count / lead as u64;
        let float = |random: &mut Random| (random.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
        if bits == 0 {
            let floats = (0..count).flat_map(|_| float(&mut random).to_le_bytes()).collect();
            return constant(graph, data, dims, None, floats);
        }
        let group = if layout & 8 != 0 && across > 32 { 32 } else { 0 };
        let groups = if group == 0 { 1 } else { across.div_ceil(group) };
        let offset = layout & 16 != 0;
        let short = layout & 32 != 0;
        let mut planes = Vec::new();
        for _ in 0..bits {
            for first in (0..count).step_by(64) {
                let mask =
                    if count - first < 64 { (1u64 << (count - first)) - 1 } else { u64::MAX };
                planes.extend((random.next() & mask).to_le_bytes());
            }
        }
        let size = if short { 2 } else { 4 };
        let whole = multi_bit_bytes(lead as u64, across, bits, groups, size, offset).unwrap_or(0);
        while (planes.len() as u64) < whole {
            match short {
                // Between -2 and 2, in 16 bits.
                true => planes.extend(((random.next() & 0xbfff) as u16).to_le_bytes()),
                false => planes.extend((float(&mut random) * 0.2).to_le_bytes()),
            }
        }
        let coefficients = if short { CoefficientType::F16 } else { CoefficientType::F32 } as i32;
        let multi_bit = MultiBit { bits, rows: lead as u64, group, coefficients, offset };
        constant(graph, data, dims, Some(multi_bit), planes)
    };
    let w = weights(&mut graph, &mut data, lead, &dims);
    let (shape, op, inputs): (Vec<usize>, Op, Vec<ValueId>) = match kind {
        0 => (vec![count, cols], Op::Linear(Linear { activations }), vec![1, w]),
        3 => {
            // A row of the table for each index.
            (vec![count], Op::Gather(Gather { axis: 0 }), vec![w, 1])
        }
        1 => {
            let side = side + count % 6;
            let conv = Conv {
                strides: vec![1 + (layout as u64 >> 6), 1],
                dilations: vec![1, 1],
                pads: vec![u64::from(layout & 4 != 0); 4],
                auto_pad: AutoPad::Explicit as i32,
                groups: 1,
                activations,
            };
            (vec![1 + count % 2, cols.min(40), side, side + 1], Op::Conv(conv), vec![1, w])
        }
        _ => {
            let r = weights(&mut graph, &mut data, 4 * rows, &[1, 4 * rows as u64, rows as u64]);
            let functions = [UnaryFunction::Sigmoid, UnaryFunction::Tanh, UnaryFunction::Tanh];
            let function = |f: UnaryFunction| Unary { function: f as i32, alpha: 0.0, beta: 0.0 };
            let layer = Recurrent {
                cell: Cell::Lstm as i32,
                hidden_size: rows as u64,
                direction: Direction::Forward as i32,
                functions: functions.map(function).to_vec(),
                clip: None,
                input_forget: false,
                linear_before_reset: false,
                activations,
                recurrent_activations: activations,
            };
            (vec![count, 1 + layout % 3, cols], Op::Recurrent(Box::new(layer)), vec![1, w, r])
        }
    };
    let indices = kind == 3;
    let data_type = if indices { DataType::I64 } else { DataType::F32 } as i32;
    let dims = shape.iter().map(|&size| (size as i64).into()).collect();
    graph.inputs = vec![Port { value: 1, data_type, dims, ..Port::default() }];
    let node = Node { inputs, outputs: vec![2], version: 1, op: Some(op), ..Node::default() };
    graph.nodes = vec![node];
    let given = amq_format::Fact::f32(Vec::new());
    let dims = inferred(&graph).unwrap_or(given.dims);
    graph.outputs =
        vec![Port { value: 2, data_type: DataType::F32 as i32, dims, ..Port::default() }];
    let file = match encode(Draft { graph, data, provenance: None }) {
        Ok(file) => file,
        Err(error) => return super::fate(&error.to_string()),
    };
    let read = match Validated::new(&file) {
        Ok(read) => read,
        Err(error) => return super::fate(&error.to_string()),
    };
    assert!(matches!(read.tensor(0), TensorView::Plain(_)) == (bits == 0));
    let (rest, length) = (&bytes[asked.at.min(bytes.len())..], shape.iter().product::<usize>());
    let number = |i: usize| -> u32 {
        let byte = |j: usize| rest.get((4 * i + j) % rest.len().max(1)).copied().unwrap_or(63);
        u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)])
    };
    let floats: Vec<f32> = (0..length).map(|i| f32::from_bits(number(i))).collect();
    let numbers: Vec<i64> = (0..length).map(|i| i64::from(number(i)) % rows as i64).collect();
    let mut first: Option<Result<Vec<u32>, String>> = None;
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        let model = Model::with_options(&read, &LoadOptions { isa, ..LoadOptions::default() });
        let answer = model.map_err(|error| error.to_string()).and_then(|model| {
            let mut session = Session::new(Arc::new(model));
            let view = match indices {
                true => View::i64(&shape, &numbers),
                false => View::f32(&shape, &floats),
            };
            let outputs = session.run(&[("x", view)]).map_err(|error| error.to_string())?;
            let y = outputs.get("y").and_then(|view| view.as_f32().map(<[f32]>::to_vec));
            Ok(y.unwrap_or_default().iter().map(|x| x.to_bits()).collect())
        });
        match &first {
            None => first = Some(answer),
            Some(first) => assert!(*first == answer, "{isa} differs from portable code"),
        }
    }
    match first {
        Some(Ok(y)) => {
            let odd = y.iter().any(|&x| !f32::from_bits(x).is_finite());
            hash(&[kind as u8, bits as u8, activations as u8, layout as u8 & 60, u8::from(odd)])
                ^ (rows as u64 / 16) << 8
                ^ (cols as u64 / 32)
        }
        Some(Err(error)) => super::fate(&error),
        None => 0,
    }
}

/// The shape of the output, by the operator's own rule.
fn inferred(graph: &Graph) -> Option<Vec<Dim>> {
    use amq_format::{Fact, Inference};
    let fact = |&value: &ValueId| {
        let port = graph.inputs.iter().find(|port| port.value == value);
        let of_input = port.map(|port| Fact::new(port.data_type(), port.dims.clone()));
        of_input.or_else(|| {
            let tensor = graph.tensors.iter().find(|tensor| tensor.value == value)?;
            Some(Fact::f32(tensor.dims.iter().map(|&size| Dim::from(size as i64)).collect()))
        })
    };
    let node = graph.nodes.first()?;
    let facts: Vec<_> = node.inputs.iter().map(fact).collect();
    let inputs: Vec<_> = facts.iter().map(Option::as_ref).collect();
    let given = Inference::default().node(node, &inputs).ok()?;
    Some(given.first()?.dims.clone())
}
