//! Files of the format.

use std::sync::Arc;

use amq_format::graph::DataType;
use amq_format::{Error as FormatError, TensorView, Validated};
use amq_runtime::{Data, Isa, LoadOptions, Model, Session, View};

use super::fate;
use crate::amq::sign;
use crate::random::hash;

/// Reads a file whose digests are right, and all of what it gives.
pub fn read_amq(bytes: &[u8]) -> u64 {
    let mut file = bytes.to_vec();
    sign(&mut file);
    match Validated::new(&file) {
        Ok(read) => {
            let mut elements = 0;
            for index in 0..read.graph().tensors.len() {
                elements += match read.tensor(index) {
                    TensorView::Plain(view) => view.f32s().filter(|x| x.is_finite()).count(),
                    TensorView::MultiBit(view) => view.rows.min(view.bits),
                };
            }
            let unknown = read.unknown_sections().count();
            let text = read.provenance().map_or(0, str::len).min(1);
            hash(&[
                read.graph().nodes.len() as u8,
                elements.min(255) as u8,
                unknown as u8,
                text as u8,
            ])
        }
        Err(error) => fate_of(&error),
    }
}

fn fate_of(error: &FormatError) -> u64 {
    let rule = error.rule().map_or("limit", |rule| rule.code());
    hash(rule.as_bytes()) ^ fate(&error.to_string())
}

/// Reads a file, loads it and runs it on every instruction set: the answers are the same to the bit.
pub fn run_validated(bytes: &[u8]) -> u64 {
    let mut file = bytes.to_vec();
    sign(&mut file);
    match Validated::new(&file) {
        Ok(read) => run(&read, bytes.len() as i64 % 4 + 1),
        Err(error) => fate_of(&error),
    }
}

/// Loads a file on every instruction set and runs it. Gives a number for what came of it.
pub(super) fn run(file: &Validated<'_>, size: i64) -> u64 {
    let mut first = None;
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        let options = LoadOptions { isa, max_arena_bytes: 1 << 24, max_iterations: 1 << 8 };
        let answer = match Model::with_options(file, &options) {
            Ok(model) => answers(model, size),
            Err(error) => vec![Err(error.to_string())],
        };
        match &first {
            None => first = Some(answer),
            Some(first) => {
                assert!(*first == answer, "{isa} differs from the first instruction set")
            }
        }
    }
    let told = first.unwrap_or_default();
    let told = told.iter().map(|call| match call {
        Ok(bytes) => bytes.len().min(64) as u64,
        Err(error) => fate(error),
    });
    told.fold(0, |all, one| all.rotate_left(5) ^ one)
}

/// The outputs of a call and of two steps, or why there are none.
type Answers = Vec<Result<Vec<u8>, String>>;

fn answers(model: Model, size: i64) -> Answers {
    let mut session = Session::new(Arc::new(model));
    let model = session.model().clone();
    let shapes: Vec<Vec<usize>> = (model.inputs().iter())
        .map(|port| port.dims.iter().map(|dim| dim.eval(&|_| Some(size)).unwrap_or(1)))
        .map(|dims| dims.map(|size| size.clamp(0, 64) as usize).collect())
        .collect();
    if shapes.iter().any(|dims| dims.iter().product::<usize>() > 1 << 14) {
        return Vec::new();
    }
    let floats: Vec<f32> = (0..1 << 14).map(|i| (i % 19) as f32 * 0.37 - 3.1).collect();
    let (long, int) = (vec![1; 1 << 14], vec![1; 1 << 14]);
    let (byte, signed) = (vec![1; 1 << 14], vec![1; 1 << 14]);
    let (short, word) = (vec![1; 1 << 14], vec![1; 1 << 14]);
    let (unsigned, wide) = (vec![1; 1 << 14], vec![1; 1 << 14]);
    let inputs = model.inputs().iter().zip(&shapes).map(|(port, dims)| {
        let length = dims.iter().product::<usize>();
        let data = match port.data_type {
            DataType::F32 => Data::F32(&floats[..length]),
            DataType::I64 => Data::I64(&long[..length]),
            DataType::I32 => Data::I32(&int[..length]),
            DataType::U8 => Data::U8(&byte[..length]),
            DataType::I8 => Data::I8(&signed[..length]),
            DataType::Bool => Data::Bool(&byte[..length]),
            DataType::I16 => Data::I16(&short[..length]),
            DataType::U16 => Data::U16(&word[..length]),
            DataType::U32 => Data::U32(&unsigned[..length]),
            DataType::U64 => Data::U64(&wide[..length]),
        };
        (port.name.as_str(), View { dims, data })
    });
    let inputs: Vec<_> = inputs.collect();
    let state =
        |name: &str| model.states().iter().any(|state| model.inputs()[state.input].name == name);
    let mut all = vec![outputs(session.run(&inputs))];
    let steps: Vec<_> = inputs.into_iter().filter(|(name, _)| !state(name)).collect();
    for _ in 0..2 {
        all.push(outputs(session.step(&steps)));
    }
    all
}

fn outputs(given: Result<amq_runtime::Outputs<'_>, amq_runtime::Error>) -> Result<Vec<u8>, String> {
    let outputs = given.map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    for (name, view) in outputs.iter() {
        bytes.extend(name.as_bytes());
        bytes.extend(view.dims.iter().flat_map(|dim| dim.to_le_bytes()));
        match view.data {
            Data::F32(data) => bytes.extend(data.iter().flat_map(|x| x.to_bits().to_le_bytes())),
            Data::I64(data) => bytes.extend(data.iter().flat_map(|x| x.to_le_bytes())),
            Data::I32(data) => bytes.extend(data.iter().flat_map(|x| x.to_le_bytes())),
            Data::U8(data) | Data::Bool(data) => bytes.extend(data),
            Data::I8(data) => bytes.extend(data.iter().map(|&x| x as u8)),
            Data::I16(data) => bytes.extend(data.iter().flat_map(|x| x.to_le_bytes())),
            Data::U16(data) => bytes.extend(data.iter().flat_map(|x| x.to_le_bytes())),
            Data::U32(data) => bytes.extend(data.iter().flat_map(|x| x.to_le_bytes())),
            Data::U64(data) => bytes.extend(data.iter().flat_map(|x| x.to_le_bytes())),
        }
    }
    Ok(bytes)
}
