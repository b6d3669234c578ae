//! Valid but weird: files with right digests whose graph was changed at random, and models that would
//! take more memory than they are worth.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod common;

use std::sync::Arc;

use amq_format::graph::*;
use amq_runtime::{Data, Error, LoadOptions, Model, Session, View};
use common::{Builder, HIDDEN, VOCABULARY, language_model, named, sized};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

const GOLDEN: &[u8] = include_bytes!("../../fixtures/golden/v1.0.amq");

/// Puts right digests on a file whose graph section was changed.
fn sign(file: &mut [u8]) {
    let number = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize;
    let count = u32::from_le_bytes(file[40..44].try_into().unwrap()) as usize;
    let graph = number(72)..number(72) + number(80);
    let digest = Sha256::digest(&file[graph]);
    file[96..128].copy_from_slice(&digest);
    let table = 64 + 64 * count;
    let digest = Sha256::digest(&file[..table]);
    file[table..table + 32].copy_from_slice(&digest);
}

/// Runs a model on small inputs; what it says does not matter.
fn run(model: Model, size: i64) {
    let mut session = Session::new(Arc::new(model));
    let model = session.model().clone();
    let shapes: Vec<Vec<usize>> = model
        .inputs()
        .iter()
        .map(|port| port.dims.iter().map(|dim| dim.eval(&|_| Some(size)).unwrap_or(1)))
        .map(|dims| dims.map(|size| size.clamp(0, 64) as usize).collect())
        .collect();
    if shapes.iter().any(|dims| dims.iter().product::<usize>() > 1 << 16) {
        return;
    }
    let (floats, long, int) = (vec![0.5; 1 << 16], vec![1; 1 << 16], vec![1; 1 << 16]);
    let (byte, signed) = (vec![1; 1 << 16], vec![1; 1 << 16]);
    let (short, word) = (vec![1; 1 << 16], vec![1; 1 << 16]);
    let (unsigned, wide) = (vec![1; 1 << 16], vec![1; 1 << 16]);
    let inputs = model.inputs().iter().zip(&shapes).map(|(port, dims)| {
        let len = dims.iter().product::<usize>();
        let data = match port.data_type {
            DataType::F32 => Data::F32(&floats[..len]),
            DataType::I64 => Data::I64(&long[..len]),
            DataType::I32 => Data::I32(&int[..len]),
            DataType::U8 => Data::U8(&byte[..len]),
            DataType::I8 => Data::I8(&signed[..len]),
            DataType::Bool => Data::Bool(&byte[..len]),
            DataType::I16 => Data::I16(&short[..len]),
            DataType::U16 => Data::U16(&word[..len]),
            DataType::U32 => Data::U32(&unsigned[..len]),
            DataType::U64 => Data::U64(&wide[..len]),
        };
        (port.name.as_str(), View { dims, data })
    });
    let inputs: Vec<_> = inputs.collect();
    let _ = session.run(&inputs).map(|outputs| outputs.iter().count());
    let state =
        |name: &str| model.states().iter().any(|state| model.inputs()[state.input].name == name);
    let steps: Vec<_> = inputs.into_iter().filter(|(name, _)| !state(name)).collect();
    for _ in 0..2 {
        let _ = session.step(&steps).map(|outputs| outputs.iter().count());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(20_000)
    ))]
    #[test]
    fn changed_graphs_are_refused_or_run(
        base in 0usize..4,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        size in 1i64..4,
    ) {
        let mut file = match base {
            0 => language_model(Cell::Lstm, Activations::Int8),
            1 => language_model(Cell::Gru, Activations::Codes2),
            _ => GOLDEN.to_vec(),
        };
        let length = u64::from_le_bytes(file[80..88].try_into().unwrap()) as usize;
        let offset = u64::from_le_bytes(file[72..80].try_into().unwrap()) as usize;
        for (at, change) in changes {
            let byte = &mut file[offset + at.index(length)];
            *byte = if change < 64 { *byte ^ 1 << (change % 8) } else { change % 128 };
        }
        sign(&mut file);
        let options = LoadOptions {
            max_arena_bytes: 1 << 26,
            max_iterations: 1 << 8,
            ..LoadOptions::default()
        };
        let file = amq_format::Validated::new(&file);
        if let Ok(model) = file.map_err(Error::from).and_then(|file| Model::with_options(&file, &options)) {
            run(model, size);
        }
    }
}

/// Many nodes that each copy one large constant: biases are not shared, as matrices are.
#[test]
fn constants_copied_without_end_are_refused() {
    let mut b = Builder::new();
    let x = b.input("x", DataType::F32, &[sized(1), sized(1), named("n")]);
    let w = b.random_floats("w", &[1 << 16, 1, 1]);
    let bias = b.random_floats("bias", &[1 << 16]);
    for i in 0..2000 {
        let y = b.value(&format!("y{i}"));
        let conv = Conv {
            strides: vec![1],
            dilations: vec![1],
            pads: vec![0; 2],
            groups: 1,
            ..Conv::default()
        };
        b.node(Op::Conv(conv), &[x, w, bias], &[y]);
        if i == 0 {
            b.output(y, DataType::F32, &[sized(1), sized(1 << 16), named("n")]);
        }
    }
    let error = Model::load(&b.finish()).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("too many nodes take copies of large constants"), "{error}");
}

/// Many nodes that each repeat one long name.
#[test]
fn shapes_repeated_without_end_are_refused() {
    let mut b = Builder::new();
    let names: Vec<Dim> = (0..8).map(|i| named(&i.to_string().repeat(4000))).collect();
    let mut x = b.input("x", DataType::F32, &names);
    for i in 0..20_000 {
        x = b.unary(UnaryFunction::Relu, x, &format!("v{i}"));
    }
    b.output(x, DataType::F32, &names);
    let error = Model::load(&b.finish()).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("the shapes up to here"), "{error}");
}

/// What a product needs beside its values counts against the limit, before it is taken.
#[test]
fn working_memory_counts() {
    let file = language_model(Cell::Lstm, Activations::Int8);
    let file = amq_format::Validated::new(&file).unwrap();
    let tokens = [1; 64];
    let inputs = [("tokens", View::i64(&[32, 2], &tokens))];
    let call = |limit| {
        let options = LoadOptions { max_arena_bytes: limit, ..LoadOptions::default() };
        let mut session = Session::new(Arc::new(Model::with_options(&file, &options).unwrap()));
        session.run(&inputs).map(|_| ())
    };
    let needed = |limit| match call(limit) {
        Err(Error::Memory { needed, .. }) => needed,
        other => panic!("{other:?}"),
    };
    let mut limit = 1;
    while call(limit).is_err() {
        limit = needed(limit).max(limit + 1);
    }
    // Logits and the layer's outputs, at least; gates of four times as many numbers lie beside them.
    let values = 32 * 2 * (HIDDEN + VOCABULARY) as u64 * 4;
    assert!(needed(values) > values && limit > values, "{limit}");
}
