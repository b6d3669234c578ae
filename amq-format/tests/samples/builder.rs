//! Drafts of files, value by value.
#![allow(dead_code, missing_docs, reason = "each user needs a part")]

use amq_format::Draft;
use amq_format::graph::{
    ABSENT, CoefficientType, DataType, Dim, Graph, MultiBit, Node, Op, Port, State, Stream, Tensor,
    Unary, UnaryFunction, ValueId,
};

/// Builds a draft value by value.
pub struct Builder {
    pub graph: Graph,
    pub data: Vec<Vec<u8>>,
}

impl Builder {
    pub fn new() -> Builder {
        let graph = Graph { values: vec![String::new()], ..Graph::default() };
        Builder { graph, data: Vec::new() }
    }

    /// The value called `name`, new if need be; the empty name is the absent value.
    pub fn value(&mut self, name: &str) -> ValueId {
        let known = self.graph.values.iter().position(|value| value == name);
        let index = known.unwrap_or_else(|| {
            self.graph.values.push(name.into());
            self.graph.values.len() - 1
        });
        index as ValueId
    }

    fn port(&mut self, name: &str, data_type: DataType, dims: &[Dim]) -> Port {
        Port {
            value: self.value(name),
            data_type: data_type as i32,
            dims: dims.to_vec(),
            ..Port::default()
        }
    }

    pub fn input(&mut self, name: &str, data_type: DataType, dims: &[Dim]) {
        let port = self.port(name, data_type, dims);
        self.graph.inputs.push(port);
    }

    pub fn output(&mut self, name: &str, data_type: DataType, dims: &[Dim]) {
        let port = self.port(name, data_type, dims);
        self.graph.outputs.push(port);
    }

    pub fn tensor(&mut self, name: &str, data_type: DataType, dims: &[u64], data: Vec<u8>) {
        let (value, section) = (self.value(name), self.data.len() as u32 + 1);
        let data_type = data_type as i32;
        let dims = dims.to_vec();
        self.graph.tensors.push(Tensor { value, data_type, dims, section, multi_bit: None });
        self.data.push(data);
    }

    pub fn f32s(&mut self, name: &str, dims: &[u64], data: impl IntoIterator<Item = f32>) {
        let bytes = data.into_iter().flat_map(f32::to_le_bytes).collect();
        self.tensor(name, DataType::F32, dims, bytes);
    }

    /// Numbers between -1 and 1 that follow from the name.
    pub fn noise(&mut self, name: &str, dims: &[u64]) {
        let mut state = name.bytes().fold(1, |state, byte| state * 31 + u64::from(byte));
        let count = dims.iter().product::<u64>();
        let numbers = (0..count).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        });
        self.f32s(name, dims, numbers.collect::<Vec<_>>());
    }

    /// A multi-bit tensor whose words and coefficients follow from their places.
    pub fn multi_bit(&mut self, name: &str, dims: &[u64], coding: MultiBit) {
        self.smaller_multi_bit(name, dims, coding, 0);
    }

    /// The same with all coefficients halved some times.
    pub fn smaller_multi_bit(&mut self, name: &str, dims: &[u64], coding: MultiBit, halved: u16) {
        let cols = dims.iter().product::<u64>() / coding.rows;
        let mut data = Vec::new();
        let plane = coding.rows * cols;
        for number in 0..u64::from(coding.bits) {
            for first in (0..plane).step_by(64) {
                let noise = (number * 100_000 + first + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let mask = if plane - first < 64 { (1 << (plane - first)) - 1 } else { u64::MAX };
                data.extend_from_slice(&(noise & mask).to_le_bytes());
            }
        }
        let groups = if coding.group == 0 { 1 } else { cols.div_ceil(coding.group) };
        let coefficients = coding.rows * groups * u64::from(coding.bits);
        let offsets = if coding.offset { coding.rows * groups } else { 0 };
        for number in 0..coefficients + offsets {
            match coding.coefficients() {
                // 0.5 and a little more each.
                CoefficientType::F16 => {
                    data.extend_from_slice(
                        &(0x3800 - (halved << 10) + number as u16).to_le_bytes(),
                    );
                }
                CoefficientType::F32 => {
                    let coefficient = (0.25 + number as f32 / 64.0) / f32::from(1u16 << halved);
                    data.extend_from_slice(&coefficient.to_le_bytes());
                }
            }
        }
        self.tensor(name, DataType::F32, dims, data);
        self.graph.tensors.last_mut().expect("just pushed").multi_bit = Some(coding);
    }

    pub fn node(&mut self, name: &str, inputs: &[&str], outputs: &[&str], op: Op) {
        self.node_with(name, inputs, outputs, op, Vec::new(), &[]);
    }

    pub fn node_with(
        &mut self,
        name: &str,
        inputs: &[&str],
        outputs: &[&str],
        op: Op,
        bodies: Vec<Graph>,
        binds: &[&str],
    ) {
        let binds = binds.iter().map(|name| String::from(*name)).collect();
        let node = Node {
            name: name.into(),
            inputs: inputs.iter().map(|name| self.value(name)).collect(),
            outputs: outputs.iter().map(|name| self.value(name)).collect(),
            version: 1,
            bodies,
            binds,
            op: Some(op),
        };
        self.graph.nodes.push(node);
    }

    pub fn state(&mut self, input: &str, output: &str, initial: &str) {
        let state = State {
            name: input.into(),
            input: self.value(input),
            output: self.value(output),
            initial: if initial.is_empty() { ABSENT } else { self.value(initial) },
        };
        self.graph.states.push(state);
    }

    pub fn stream(&mut self, name: &str, time_axis: u32, batch_axis: Option<u32>) {
        let value = self.value(name);
        self.graph.streams.push(Stream { value, time_axis, batch_axis });
    }

    pub fn draft(self) -> Draft {
        Draft { graph: self.graph, data: self.data, provenance: None }
    }
}

pub fn unary(function: UnaryFunction) -> Unary {
    Unary { function: function as i32, alpha: 0.0, beta: 0.0 }
}

pub fn named(name: &str) -> Dim {
    Dim::named(name)
}

pub fn sizes<const N: usize>(sizes: [i64; N]) -> [Dim; N] {
    sizes.map(Dim::from)
}
