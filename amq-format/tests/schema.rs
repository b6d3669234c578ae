//! The derived messages and `proto/amq.proto` are the same schema.
#![allow(unreachable_pub, reason = "shared with the generators")]

mod samples;

use amq_format::graph::*;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage, Value};
use std::collections::BTreeSet;

fn schema() -> DescriptorPool {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let files = protox::compile(["amq.proto"], [folder]).expect("the schema compiles");
    DescriptorPool::from_file_descriptor_set(files).expect("the schema is complete")
}

/// Messages in which every field has a value that is not its default.
fn everything() -> Graph {
    let dim = samples::named("a").add(&samples::named("b")).expect("a sum");
    let product = samples::named("a").mul(&samples::named("b")).expect("a product");
    let dims = vec![dim, product, 7.into()];
    let unary = Unary { function: 26, alpha: 1.5, beta: -2.5 };
    let (strides, dilations, pads) = (vec![1, 2], vec![3, 4], vec![5, 6, 7, 8]);
    let ops = [
        Op::Linear(Linear { activations: 1 }),
        Op::MatMul(MatMul {}),
        Op::Conv(Conv {
            strides: strides.clone(),
            dilations: dilations.clone(),
            pads: pads.clone(),
            auto_pad: 1,
            groups: 9,
            activations: 5,
        }),
        Op::Pool(Pool {
            kind: 1,
            kernel: vec![9, 9],
            strides,
            dilations,
            pads,
            auto_pad: 2,
            ceil_mode: true,
            count_include_pad: true,
        }),
        Op::Recurrent(Box::new(Recurrent {
            cell: 2,
            hidden_size: 300,
            direction: 1,
            functions: vec![unary],
            clip: Some(0.0),
            input_forget: true,
            linear_before_reset: true,
            activations: 3,
            recurrent_activations: 2,
        })),
        Op::Gather(Gather { axis: 1 }),
        Op::Unary(unary),
        Op::Binary(Binary { function: 15 }),
        Op::Select(Select {}),
        Op::Reduce(Reduce { kind: 3, axes: vec![0, 1], keep_dims: true }),
        Op::Softmax(Softmax { axis: 2, log: true }),
        Op::Concat(Concat { axis: 3 }),
        Op::Slice(Slice {
            axes: vec![1],
            starts: dims.clone(),
            ends: dims.clone(),
            steps: vec![-1, i64::MAX],
        }),
        Op::Reshape(Reshape { dims: dims.clone() }),
        Op::Transpose(Transpose { perm: vec![1, 0] }),
        Op::Pad(Pad { mode: 3, begins: dims.clone(), ends: dims.clone() }),
        Op::Expand(Expand { dims: dims.clone() }),
        Op::Cast(Cast { to: 5 }),
        Op::Dims(Dims { dims: dims.clone() }),
        Op::TopK(TopK { axis: 1, k: dims.clone(), smallest: true, unsorted: true }),
        Op::GatherElements(GatherElements { axis: 1 }),
        Op::GatherNd(GatherNd { batch_axes: 1 }),
        Op::ScatterElements(ScatterElements { axis: 1, kind: 2 }),
        Op::ScatterNd(ScatterNd { kind: 4 }),
        Op::Cumulative(Cumulative { kind: 1, axis: 2, exclusive: true, reverse: true }),
        Op::ReverseSequence(ReverseSequence { time_axis: 1, batch_axis: 2 }),
        Op::Fold(Fold {
            kernel: vec![1, 2],
            strides: vec![3, 4],
            dilations: vec![5, 6],
            pads: vec![7, 8],
            sizes: dims.clone(),
        }),
        Op::Resize(Resize {
            mode: 2,
            placement: 6,
            rounding: 3,
            axes: vec![1, 2],
            sizes: dims.clone(),
            scales: vec![0.5, 2.0],
            region: vec![0.25, 0.75],
            cubic: -0.75,
            exclude_outside: true,
            antialias: true,
            outside: 1.5,
        }),
        Op::GridSample(GridSample { mode: 1, padding: 2, align_corners: true }),
        Op::RoiAlign(RoiAlign {
            max: true,
            height: 2,
            width: 3,
            samples: 4,
            scale: 0.5,
            half_pixel: true,
        }),
        Op::Fourier(Fourier { points: dims.clone(), inverse: true, onesided: true }),
        Op::If(If { dims: dims.clone() }),
        Op::Loop(Loop {
            carried: 1,
            trips: dims.clone(),
            dims: dims.clone(),
            counted: true,
            conditional: true,
        }),
        Op::Sizes(Sizes {}),
        Op::NonZero(NonZero {}),
        Op::Unique(Unique { unsorted: true }),
        Op::Series(Series {}),
        Op::NonMaxSuppression(NonMaxSuppression { centered: true }),
    ];
    let node = |op| Node {
        name: "node".into(),
        inputs: vec![1, 300],
        outputs: vec![2],
        version: 3,
        bodies: vec![Graph::default()],
        binds: vec!["n".into()],
        op: Some(op),
    };
    let port = Port { value: 1, data_type: 2, dims, precision: 1 };
    let multi_bit = MultiBit { bits: 2, rows: 3, group: 64, coefficients: 1, offset: true };
    let multi_bit = Some(multi_bit);
    let tensor = Tensor { value: 4, data_type: 1, dims: vec![1 << 40], section: 5, multi_bit };
    Graph {
        values: vec!["".into(), "one".into()],
        inputs: vec![port.clone()],
        outputs: vec![port],
        tensors: vec![tensor],
        nodes: ops.into_iter().map(node).collect(),
        states: vec![State { name: "state".into(), input: 1, output: 2, initial: 3 }],
        streams: vec![Stream { value: 1, time_axis: 2, batch_axis: Some(0) }],
    }
}

/// Collects the fields that are set, and requires that none is unknown.
fn visit(message: &DynamicMessage, seen: &mut BTreeSet<String>) {
    let name = message.descriptor().full_name().to_owned();
    assert_eq!(message.unknown_fields().count(), 0, "{name} has fields that the schema has not");
    for (field, value) in message.fields() {
        seen.insert(field.full_name().to_owned());
        let values = match value {
            Value::List(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        for value in values {
            if let Value::Message(inner) = value {
                visit(inner, seen);
            }
        }
    }
}

#[test]
fn messages_are_those_of_the_schema() {
    let schema = schema();
    let graph = schema.get_message_by_name("amq.v1.Graph").expect("Graph");
    let encoded = everything().encode_to_vec();
    let dynamic = DynamicMessage::decode(graph, encoded.as_slice()).expect("a message");
    let mut seen = BTreeSet::new();
    visit(&dynamic, &mut seen);
    let declared: BTreeSet<_> = schema
        .all_messages()
        .flat_map(|message: MessageDescriptor| message.fields().collect::<Vec<_>>())
        .map(|field| field.full_name().to_owned())
        .collect();
    assert_eq!(seen, declared);

    let again = Graph::decode(dynamic.encode_to_vec().as_slice()).expect("a graph");
    assert_eq!(again, everything());
    assert_eq!(again.encode_to_vec(), encoded);
}

/// Names as the schema has them: `LeakyRelu` of `UnaryFunction` is `UNARY_FUNCTION_LEAKY_RELU`.
fn shouted(name: &str) -> String {
    let mut shouted = String::new();
    for (i, c) in name.char_indices() {
        if c.is_ascii_uppercase() && i > 0 {
            shouted.push('_');
        }
        shouted.push(c.to_ascii_uppercase());
    }
    shouted
}

fn enumeration<E: TryFrom<i32> + std::fmt::Debug>(name: &str) -> (String, Vec<(i32, String)>) {
    let values = (-1..1000).filter_map(|n| Some((n, E::try_from(n).ok()?)));
    let named = values.map(|(n, value)| (n, shouted(&format!("{name}{value:?}")))).collect();
    (name.into(), named)
}

#[test]
fn enumerations_are_those_of_the_schema() {
    let mut derived = vec![
        enumeration::<DataType>("DataType"),
        enumeration::<CoefficientType>("CoefficientType"),
        enumeration::<Activations>("Activations"),
        enumeration::<Precision>("Precision"),
        enumeration::<AutoPad>("AutoPad"),
        enumeration::<PoolKind>("PoolKind"),
        enumeration::<Cell>("Cell"),
        enumeration::<Direction>("Direction"),
        enumeration::<UnaryFunction>("UnaryFunction"),
        enumeration::<BinaryFunction>("BinaryFunction"),
        enumeration::<ReduceKind>("ReduceKind"),
        enumeration::<PadMode>("PadMode"),
        enumeration::<ScatterKind>("ScatterKind"),
        enumeration::<CumulativeKind>("CumulativeKind"),
        enumeration::<Interpolation>("Interpolation"),
        enumeration::<Placement>("Placement"),
        enumeration::<Rounding>("Rounding"),
        enumeration::<SamplePadding>("SamplePadding"),
        enumeration::<DimOp>("DimOp"),
    ];
    let mut declared: Vec<_> = schema()
        .all_enums()
        .map(|e| {
            let values = e.values().map(|value| (value.number(), value.name().to_owned()));
            (e.name().to_owned(), values.collect::<Vec<_>>())
        })
        .collect();
    derived.sort();
    declared.sort();
    assert_eq!(derived, declared);
}
