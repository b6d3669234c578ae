//! Files that break a rule each and have right digests; some cannot but break another too.

use super::{Builder, golden, named, sizes, unary};
use amq_format::Draft;
use amq_format::graph::*;
use prost::Message;
use sha2::{Digest, Sha256};

/// A file, and by what it is refused: the number of a rule, or the name of a limit.
pub struct Hostile {
    pub refused_by: &'static str,
    pub what: &'static str,
    pub bytes: Vec<u8>,
}

impl Hostile {
    pub fn file_name(&self) -> String {
        format!("{}-{}.amq", self.refused_by, self.what)
    }
}

/// A section as it stands in the file.
#[derive(Clone)]
struct Part {
    kind: u32,
    flags: u32,
    content: Vec<u8>,
}

fn part(kind: u32, flags: u32, content: impl Into<Vec<u8>>) -> Part {
    Part { kind, flags, content: content.into() }
}

/// The sections of a draft, unchecked.
fn parts(draft: &Draft) -> Vec<Part> {
    let mut parts = vec![part(1, 1, draft.graph.encode_to_vec())];
    parts.extend(draft.data.iter().map(|data| part(2, 1, data.clone())));
    parts.extend(draft.provenance.iter().map(|text| part(3, 0, text.as_bytes())));
    parts
}

/// A file as `docs/format.md` lays it out, written without the crate's help.
fn lay_out(parts: &[Part]) -> Vec<u8> {
    let mut file = b"\x89AMQ\r\n\x1a\n\x01\0\0\0\x40\0\0\0".to_vec();
    file.resize(64, 0);
    file[40..44].copy_from_slice(&(parts.len() as u32).to_le_bytes());
    file[48] = 64;
    let mut offset = 64 + 64 * parts.len() + 32;
    for part in parts {
        offset = offset.next_multiple_of(64);
        file.extend_from_slice(&part.kind.to_le_bytes());
        file.extend_from_slice(&part.flags.to_le_bytes());
        file.extend_from_slice(&(offset as u64).to_le_bytes());
        file.extend_from_slice(&(part.content.len() as u64).to_le_bytes());
        file.extend_from_slice(&64u64.to_le_bytes());
        file.extend_from_slice(&Sha256::digest(&part.content));
        offset += part.content.len();
    }
    file.resize(file.len() + 32, 0);
    for part in parts {
        file.resize(file.len().next_multiple_of(64), 0);
        file.extend_from_slice(&part.content);
    }
    let length = file.len() as u64;
    file[16..24].copy_from_slice(&length.to_le_bytes());
    seal(&mut file);
    file
}

/// Sets the root digest to what it should be.
fn seal(file: &mut [u8]) {
    let count = u32::from_le_bytes(file[40..44].try_into().expect("four bytes")) as usize;
    let end = 64 + 64 * count;
    if file.len() >= end + 32 {
        let digest = Sha256::digest(&file[..end]);
        file[end..end + 32].copy_from_slice(&digest);
    }
}

/// A little network: `y = relu(x W^T + bias)` and a state.
fn little() -> Draft {
    let mut b = Builder::new();
    b.input("x", DataType::F32, &[named("n"), 70.into()]);
    b.input("state", DataType::F32, &sizes([1, 2]));
    let coefficients = CoefficientType::F16 as i32;
    b.multi_bit("W", &[2, 70], MultiBit { bits: 2, rows: 2, group: 0, coefficients, offset: true });
    b.f32s("bias", &[2], [1.0, 2.0]);
    b.tensor("flags", DataType::Bool, &[2], vec![0, 1]);
    let linear = Linear { activations: Activations::Int8 as i32 };
    b.node("linear", &["x", "W", "bias"], &["scores"], Op::Linear(linear));
    b.node("relu", &["scores"], &["y"], Op::Unary(unary(UnaryFunction::Relu)));
    b.node("next", &["state"], &["state.next"], Op::Unary(unary(UnaryFunction::Neg)));
    b.output("y", DataType::F32, &[named("n"), 2.into()]);
    b.output("state.next", DataType::F32, &sizes([1, 2]));
    b.state("state", "state.next", "");
    b.stream("x", 0, None);
    Draft { provenance: Some("{}".into()), ..b.draft() }
}

/// The branch that takes the place of the second node: relu of its one capture, or that as it is.
fn branch(graph: &mut Graph) -> &mut Node {
    let is_branch = |node: &Node| matches!(node.op, Some(Op::If(_)));
    if !graph.nodes.iter().any(is_branch) {
        let port = graph.outputs[0].clone();
        let body = Graph {
            values: vec!["".into(), "h".into(), "y".into()],
            inputs: vec![Port { value: 1, ..port.clone() }],
            outputs: vec![Port { value: 2, ..port.clone() }],
            nodes: vec![Node { inputs: vec![1], outputs: vec![2], ..graph.nodes[1].clone() }],
            ..Graph::default()
        };
        graph.nodes[1] = Node {
            inputs: vec![5, 6],
            bodies: vec![body.clone(), body],
            op: Some(Op::If(If { dims: port.dims })),
            ..graph.nodes[1].clone()
        };
    }
    let branch = graph.nodes.iter_mut().find(|node| is_branch(node));
    branch.expect("just added")
}

/// A field of bytes, as protobuf writes it.
fn field(tag: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, &mut bytes);
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

/// A field that holds a field of the next number, and so on around `tags`, `depth` times.
fn nested(tags: &[u32], depth: usize) -> Vec<u8> {
    (0..depth).rev().fold(Vec::new(), |content, i| field(tags[i % tags.len()], &content))
}

/// A file with only a graph section of these bytes.
pub fn file_of(graph: &[u8]) -> Vec<u8> {
    lay_out(&[part(1, 1, graph)])
}

/// The draft's file, with other bytes in the graph section.
pub fn file_with_graph(draft: &Draft, graph: &[u8]) -> Vec<u8> {
    let mut parts = parts(draft);
    parts[0].content = graph.to_vec();
    lay_out(&parts)
}

/// The files of the directory `fixtures/hostile`.
pub fn all() -> Vec<Hostile> {
    let mut all = Vec::new();
    bytes(&mut all);
    layout(&mut all);
    tensors(&mut all);
    encodings(&mut all);
    graphs(&mut all);
    operators(&mut all);
    layers(&mut all);
    all
}

/// Headers and tables that are wrong where `edit` has changed them.
fn bytes(all: &mut Vec<Hostile>) {
    let mut add = |refused_by, what, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = lay_out(&parts(&little()));
        edit(&mut bytes);
        if refused_by != "H9" {
            seal_if_whole(&mut bytes);
        }
        all.push(Hostile { refused_by, what, bytes });
    };
    add("H1", "empty", &|file| file.clear());
    add("H1", "half-a-header", &|file| file.truncate(63));
    add("H2", "magic", &|file| file[0] = b'A');
    add("H2", "line-ends-changed", &|file| file.splice(4..6, [b'\n']).for_each(drop));
    add("H3", "major-version", &|file| file[8] = 2);
    add("H4", "header-length", &|file| file[12] = 128);
    add("H5", "truncated", &|file| file.truncate(file.len() - 1));
    add("H5", "length-of-all-ones", &|file| file[16..24].fill(0xff));
    add("H6", "required-feature", &|file| file[31] = 0x80);
    add("H7", "header-reserved", &|file| file[63] = 1);
    add("H7", "entry-reserved", &|file| file[64 + 28] = 1);
    add("H8", "table-elsewhere", &|file| file[48] = 128);
    add("H8", "more-sections-than-file", &|file| file[41] = 0xff);
    add("H9", "root-digest", &|file| file[64 + 64 * 5] ^= 1);
    add("H9", "entry-changed", &|file| file[64 + 64 + 40] ^= 1);
    add("sections", "count-of-all-ones", &|file| file[40..44].fill(0xff));
    add("S3", "unknown-flag", &|file| file[64 + 4] = 3);
    add("S3", "tensor-ancillary", &|file| file[128 + 4] = 0);
    add("S3", "provenance-critical", &|file| file[64 + 4 * 64 + 4] = 1);
    add("S4", "alignment", &|file| file[64 + 24] = 32);
    add("S5", "overlap", &|file| file.copy_within(64 + 8..64 + 16, 128 + 8));
    add("S5", "hole", &|file| file[128 + 9] += 1);
    add("S5", "length-of-all-ones", &|file| file[64 + 16..64 + 24].fill(0xff));
    add("S5", "offset-of-all-ones", &|file| file[64 + 8..64 + 16].fill(0xff));
    add("S6", "trailing-zeros", &|file| {
        file.resize(file.len() + 64, 0);
        let length = file.len() as u64;
        file[16..24].copy_from_slice(&length.to_le_bytes());
    });
    add("S7", "padding", &|file| file[64 + 64 * 5 + 32] = 1);
    add("S8", "graph-digest", &|file| file[64 + 32] ^= 1);
    add("S8", "data-changed", &|file| *file.last_mut().expect("a byte") ^= 1);
}

fn seal_if_whole(file: &mut [u8]) {
    if file.len() >= 64 {
        seal(file);
    }
}

/// Sections that are wrong together.
fn layout(all: &mut Vec<Hostile>) {
    let mut add = |refused_by, what, edit: &dyn Fn(&mut Vec<Part>)| {
        let mut parts = parts(&little());
        edit(&mut parts);
        all.push(Hostile { refused_by, what, bytes: lay_out(&parts) });
    };
    add("S1", "no-sections", &|parts| parts.clear());
    add("S1", "graph-second", &|parts| parts.swap(0, 1));
    add("S1", "two-graphs", &|parts| parts.push(parts[0].clone()));
    add("S2", "unknown-critical", &|parts| parts.push(part(77, 1, "new")));
    add("S9", "two-provenances", &|parts| parts.push(parts[4].clone()));
    add("S9", "bad-utf8", &|parts| parts[4].content = vec![b'"', 0xff, b'"']);
    add("T1", "section-of-no-tensor", &|parts| parts.push(part(2, 1, "more")));
    add("T1", "section-missing", &|parts| drop(parts.remove(3)));
    add("T4", "short", &|parts| parts[2].content.truncate(7));
    add("T4", "long", &|parts| parts[1].content.push(0));
    add("T5", "bool-of-two", &|parts| parts[3].content[0] = 2);
    add("T9", "bits-beyond-columns", &|parts| parts[1].content[23] = 0x80);
    add("T10", "coefficient-nan", &|parts| parts[1].content[48..50].fill(0xff));
    add("T10", "offset-infinite", &|parts| {
        let length = parts[1].content.len();
        parts[1].content[length - 2..].copy_from_slice(&[0, 0x7c]);
    });
    add("T11", "bias-nan", &|parts| parts[2].content.fill(0xff));
}

/// Tensors whose description is wrong.
fn tensors(all: &mut Vec<Hostile>) {
    let mut add = |refused_by, what, edit: &dyn Fn(&mut Vec<Tensor>)| {
        let mut draft = little();
        edit(&mut draft.graph.tensors);
        all.push(Hostile { refused_by, what, bytes: lay_out(&parts(&draft)) });
    };
    fn coding(tensors: &mut [Tensor]) -> &mut MultiBit {
        tensors[0].multi_bit.as_mut().expect("W is multi-bit")
    }
    add("T1", "section-of-another", &|tensors| tensors[0].section = 2);
    add("T2", "unknown-type", &|tensors| tensors[2].data_type = 99);
    add("T2", "unknown-coefficients", &|tensors| coding(tensors).coefficients = 2);
    add("T3", "elements-overflow", &|tensors| tensors[2].dims = vec![1 << 32; 3]);
    add("T3", "zero-times-overflow", &|tensors| tensors[2].dims = vec![0, 1 << 40, 1 << 40]);
    add("T3", "nine-axes", &|tensors| tensors[2].dims = vec![1; 9]);
    add("elements", "more-than-any-memory", &|tensors| tensors[2].dims = vec![1 << 59]);
    add("T6", "no-bits", &|tensors| coding(tensors).bits = 0);
    add("T6", "nine-bits", &|tensors| coding(tensors).bits = 9);
    add("T7", "more-columns-than-f32-counts", &|tensors| {
        tensors[2].data_type = DataType::F32 as i32;
        tensors[2].dims = vec![1, (1 << 24) + 1];
        tensors[2].multi_bit = Some(MultiBit { bits: 1, rows: 1, ..MultiBit::default() });
    });
    add("T6", "multi-bit-bool", &|tensors| tensors[2].multi_bit = tensors[0].multi_bit.clone());
    add("T7", "rows-of-zero", &|tensors| {
        tensors[2].data_type = DataType::F32 as i32;
        tensors[2].multi_bit = Some(MultiBit { bits: 1, ..MultiBit::default() });
    });
    add("T7", "rows-do-not-divide", &|tensors| {
        tensors[2].data_type = DataType::F32 as i32;
        tensors[2].multi_bit = Some(MultiBit { bits: 1, rows: 3, ..MultiBit::default() });
    });
    add("T8", "group-of-65", &|tensors| coding(tensors).group = 65);
    add("T8", "group-of-all-columns", &|tensors| coding(tensors).group = 128);
}

/// Graph sections that are no message, or not the message that they should be.
fn encodings(all: &mut Vec<Hostile>) {
    let mut add = |refused_by, what, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut parts = parts(&little());
        edit(&mut parts[0].content);
        all.push(Hostile { refused_by, what, bytes: lay_out(&parts) });
    };
    add("G1", "cut-short", &|graph| graph.truncate(graph.len() - 1));
    add("G1", "bad-utf8", &|graph| graph[4] = 0xff);
    add("G1", "overlong-varint", &|graph| graph.splice(..0, [0xff; 11]).for_each(drop));
    add("G1", "length-of-all-ones", &|graph| {
        graph.extend_from_slice(&[0x2a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
    });
    add("G1", "group", &|graph| graph.extend_from_slice(&[0x3b, 0x3c]));
    add("G1", "nested-bodies", &|graph| graph.extend(nested(&[5, 5], 3000)));
    add("G1", "nested-dimensions", &|graph| {
        graph.extend(field(2, &field(3, &nested(&[3, 2], 3000))));
    });
    add("G2", "unknown-field", &|graph| graph.extend(field(1000, b"hidden")));
    add("G2", "field-twice", &|graph| {
        let port = field(2, &[8, 1, 8, 2]);
        graph.extend(port);
    });
    add("G2", "explicit-default", &|graph| graph.extend(field(6, &[0x20, 0])));
    add("G2", "out-of-order", &|graph| graph.extend(field(1, b"late")));
    add("G2", "long-varint", &|graph| {
        graph.drain(..2);
        graph.splice(..0, [0x0a, 0x80, 0x00]);
    });
    add("G7", "operator-of-the-future", &|graph| graph.extend(field(5, &field(99, b""))));
}

fn graph_file(
    all: &mut Vec<Hostile>,
    refused_by: &'static str,
    what: &'static str,
    edit: &dyn Fn(&mut Graph),
) {
    let mut draft = little();
    edit(&mut draft.graph);
    all.push(Hostile { refused_by, what, bytes: lay_out(&parts(&draft)) });
}

/// Graphs whose parts do not fit together. Values: 1 x, 2 state, 3 W, 4 bias, 5 flags, 6 scores,
/// 7 y, 8 state.next. Nodes: linear, relu, next.
fn graphs(all: &mut Vec<Hostile>) {
    let mut add = |rule, what, edit: &dyn Fn(&mut Graph)| graph_file(all, rule, what, edit);
    add("G3", "same-name", &|graph| graph.values[8] = "x".into());
    add("G3", "no-name", &|graph| graph.values[8].clear());
    add("G3", "absent-value-named", &|graph| graph.values[0] = "0".into());
    add("G3", "no-values", &|graph| *graph = Graph::default());
    add("name_bytes", "long-name", &|graph| graph.values[8] = "n".repeat(5000));
    add("G4", "input-out-of-range", &|graph| graph.nodes[1].inputs[0] = 9);
    add("G4", "output-out-of-range", &|graph| graph.nodes[1].outputs[0] = u32::MAX);
    add("G4", "input-is-absent", &|graph| graph.nodes[0].inputs[1] = 0);
    add("G4", "port-is-absent", &|graph| graph.inputs[0].value = 0);
    add("G4", "tensor-out-of-range", &|graph| graph.tensors[0].value = 9);
    add("G4", "graph-output-out-of-range", &|graph| graph.outputs[0].value = 9);
    add("G5", "given-twice", &|graph| graph.nodes[1].outputs[0] = 6);
    add("G5", "input-given-by-node", &|graph| graph.nodes[1].outputs[0] = 1);
    add("G5", "never-given", &|graph| graph.values.push("ghost".into()));
    add("G6", "cycle", &|graph| graph.nodes[0].inputs[0] = 7);
    add("G6", "reads-itself", &|graph| graph.nodes[1].inputs[0] = 7);
    add("G6", "order", &|graph| graph.nodes.swap(0, 1));
    add("G7", "no-operator", &|graph| graph.nodes[1].op = None);
    add("G8", "version-two", &|graph| graph.nodes[1].version = 2);
    add("G8", "version-zero", &|graph| graph.nodes[1].version = 0);
    add("G9", "body", &|graph| graph.nodes[1].bodies.push(Graph::default()));
    add("G9", "size", &|graph| graph.nodes[1].binds.push("m".into()));
    add("G9", "one-body", &|graph| drop(branch(graph).bodies.pop()));
    add("G9", "body-with-a-constant", &|graph| {
        let body = &mut branch(graph).bodies[0];
        let dims = vec![1];
        body.tensors.push(Tensor { value: 2, section: 3, dims, ..Tensor::default() });
        body.nodes.clear();
    });
    add("G9", "body-with-fewer-inputs", &|graph| branch(graph).inputs.push(4));
    add("G9", "size-that-is-there", &|graph| branch(graph).binds.push("n".into()));
    add("G9", "deep-bodies", &|graph| {
        for _ in 0..10 {
            let inner = branch(graph).bodies[0].clone();
            let node = branch(graph).clone();
            branch(graph).bodies[0] = Graph {
                nodes: vec![Node { inputs: vec![1, 1], outputs: vec![2], ..node }],
                ..inner
            };
        }
    });
    add("G5", "body-gives-twice", &|graph| branch(graph).bodies[1].nodes[0].outputs[0] = 1);
    add("G12", "name-of-no-body", &|graph| {
        branch(graph).bodies[1].outputs[0].dims[0] = named("m");
    });
    add("G12", "unknown-name", &|graph| graph.outputs[0].dims[0] = named("m"));
    add("G12", "name-only-in-expression", &|graph| {
        graph.inputs[0].dims[0] = named("n").mul(&2.into()).expect("a product");
    });
    add("G12", "empty-name", &|graph| graph.inputs[0].dims[0] = named(""));
    add("G12", "negative-output", &|graph| graph.outputs[0].dims[1] = (-2).into());
    add("G12", "no-dimension", &|graph| graph.outputs[0].dims[1] = Dim::default());
    add("G14", "multi-bit-output", &|graph| graph.outputs[0].value = 3);
    add("G16", "input-of-size-zero", &|graph| graph.inputs[0].dims[1] = 0.into());
    add("G12", "input-of-negative-size", &|graph| graph.inputs[0].dims[1] = (-1).into());
    add("G16", "output-twice", &|graph| graph.outputs[1].value = 7);
    add("T2", "port-of-unknown-type", &|graph| graph.inputs[0].data_type = 99);
    add("T2", "port-of-unknown-precision", &|graph| graph.inputs[0].precision = 3);
    add("T2", "integers-with-a-precision", &|graph| {
        graph.inputs[0].data_type = DataType::I64 as i32;
        graph.inputs[0].precision = 1;
    });
    add("T3", "port-of-nine-axes", &|graph| graph.inputs[0].dims = vec![1.into(); 9]);
    add("G17", "other-name", &|graph| graph.states[0].name = "memory".into());
    add("G17", "no-input", &|graph| graph.states[0].input = 8);
    add("G17", "no-output", &|graph| graph.states[0].output = 6);
    add("G17", "twice", &|graph| graph.states.push(graph.states[0].clone()));
    add("G17", "shapes-differ", &|graph| graph.outputs[1].dims[0] = 2.into());
    add("G17", "types-differ", &|graph| graph.outputs[1].data_type = DataType::I32 as i32);
    add("G17", "initial-is-no-constant", &|graph| graph.states[0].initial = 1);
    add("G17", "initial-of-other-shape", &|graph| graph.states[0].initial = 4);
    add("G14", "initial-is-multi-bit", &|graph| graph.states[0].initial = 3);
    add("G18", "no-port", &|graph| graph.streams[0].value = 6);
    add("G18", "time-out-of-range", &|graph| graph.streams[0].time_axis = 2);
    add("G18", "time-is-batch", &|graph| graph.streams[0].batch_axis = Some(0));
    add("G18", "batch-out-of-range", &|graph| graph.streams[0].batch_axis = Some(2));
    add("G18", "twice", &|graph| graph.streams.push(graph.streams[0].clone()));
}

/// Operators that are wrong in themselves.
fn operators(all: &mut Vec<Hostile>) {
    let mut add = |rule, what, edit: &dyn Fn(&mut Graph)| graph_file(all, rule, what, edit);
    add("G10", "too-few-inputs", &|graph| graph.nodes[0].inputs.truncate(1));
    add("G10", "too-many-inputs", &|graph| graph.nodes[1].inputs.push(1));
    add("G10", "too-many-outputs", &|graph| graph.nodes[1].outputs.push(0));
    add("G11", "unknown-function", &|graph| {
        graph.nodes[1].op = Some(Op::Unary(Unary { function: 99, ..Unary::default() }));
    });
    add("G11", "alpha-nan", &|graph| {
        graph.nodes[1].op = Some(Op::Unary(Unary { alpha: f32::NAN, ..Unary::default() }));
    });
    add("G11", "axis-of-all-ones", &|graph| {
        graph.nodes[1].op = Some(Op::Softmax(Softmax { axis: u32::MAX, log: false }));
    });
    add("G11", "axes-repeated", &|graph| {
        let reduce = Reduce { axes: vec![1, 1], ..Reduce::default() };
        graph.nodes[1].op = Some(Op::Reduce(reduce));
    });
    add("G11", "no-permutation", &|graph| {
        graph.nodes[1].op = Some(Op::Transpose(Transpose { perm: vec![0, 2] }));
    });
    let slice = |steps| {
        let (starts, ends) = (vec![0.into()], vec![1.into()]);
        Some(Op::Slice(Slice { axes: vec![0], starts, ends, steps }))
    };
    add("G11", "step-of-zero", &|graph| graph.nodes[1].op = slice(vec![0]));
    add("G11", "too-few-steps", &|graph| graph.nodes[1].op = slice(vec![]));
    add("G11", "pad-ends-missing", &|graph| {
        let pad = Pad { begins: vec![1.into()], ..Pad::default() };
        graph.nodes[1].op = Some(Op::Pad(pad));
    });
    add("G11", "cast-to-unknown", &|graph| {
        graph.nodes[1].op = Some(Op::Cast(Cast { to: -1 }));
    });
    let pool = |kernel, strides, pads| {
        let dilations = vec![1];
        Some(Op::Pool(Pool { kernel, strides, dilations, pads, ..Pool::default() }))
    };
    add("G11", "stride-of-zero", &|graph| {
        graph.nodes[1].op = pool(vec![2], vec![0], vec![0, 0]);
    });
    add("G11", "kernel-of-all-ones", &|graph| {
        graph.nodes[1].op = pool(vec![u64::MAX], vec![1], vec![0, 0]);
    });
    add("G11", "pads-as-wide-as-the-window", &|graph| {
        graph.nodes[1].op = pool(vec![2], vec![1], vec![2, 0]);
    });
    add("G11", "activations-unknown", &|graph| {
        graph.nodes[0].op = Some(Op::Linear(Linear { activations: 99 }));
    });
    add("G12", "reshape-to-negative", &|graph| {
        graph.nodes[1].op = Some(Op::Reshape(Reshape { dims: vec![(-1).into()] }));
    });
    add("G13", "weight-is-no-constant", &|graph| graph.nodes[0].inputs[1] = 1);
    add("G13", "bias-of-other-type", &|graph| graph.nodes[0].inputs[2] = 5);
    add("G13", "bias-is-no-constant", &|graph| graph.nodes[0].inputs[2] = 2);
    add("G14", "multi-bit-bias", &|graph| graph.nodes[0].inputs[2] = 3);
    add("G14", "multi-bit-of-unary", &|graph| graph.nodes[1].inputs[0] = 3);
    add("G14", "rows-of-another-matrix", &|graph| {
        graph.tensors[0].multi_bit.as_mut().expect("W").rows = 1;
    });
    add("G15", "codes-with-eight-bits", &|graph| {
        graph.tensors[0].multi_bit.as_mut().expect("W").bits = 8;
        let activations = Activations::Codes1 as i32;
        graph.nodes[0].op = Some(Op::Linear(Linear { activations }));
    });
    add("G15", "int8-with-plain-weights", &|graph| graph.tensors[0].multi_bit = None);
}

/// Recurrent layers that are wrong.
fn layers(all: &mut Vec<Hostile>) {
    let mut add = |refused_by, what, edit: &dyn Fn(&mut Recurrent)| {
        let mut draft = golden::draft();
        for node in &mut draft.graph.nodes {
            if let ("lstm", Some(Op::Recurrent(recurrent))) = (node.name.as_str(), &mut node.op) {
                edit(recurrent);
            }
        }
        all.push(Hostile { refused_by, what, bytes: lay_out(&parts(&draft)) });
    };
    add("G11", "hidden-size-of-zero", &|lstm| lstm.hidden_size = 0);
    add("G11", "hidden-size-of-all-ones", &|lstm| lstm.hidden_size = u64::MAX);
    add("G11", "functions-missing", &|lstm| lstm.functions.truncate(lstm.functions.len() - 1));
    add("G11", "clip-of-a-gate", &|lstm| lstm.functions[0] = unary(UnaryFunction::Clip));
    add("G11", "clip-nan", &|lstm| lstm.clip = Some(f32::NAN));
    add("G11", "lstm-with-linear-before-reset", &|lstm| lstm.linear_before_reset = true);
    add("G13", "weights-of-other-hidden-size", &|lstm| lstm.hidden_size = 4);
    add("G10", "gru-with-inputs-of-lstm", &|lstm| {
        lstm.cell = Cell::Gru as i32;
        lstm.input_forget = false;
    });
}
