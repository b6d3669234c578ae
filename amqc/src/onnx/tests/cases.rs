//! ONNX's own node cases: imported, run and found right, or refused for a reason that is known.

use std::fs;
use std::sync::Arc;

use amq_format::graph::{Dim, Tensor};
use amq_format::{Draft, write};
use amq_runtime::{Data, Model, Session, View};

use super::*;
use crate::error::ErrorKind;
use crate::ir::{Constant, ConstantData};
use crate::onnx::tensor::{Store, data_type};

/// Sizes of the tensors that an operator declares to give, where they are all known.
fn declared(info: &ValueInfoProto) -> Option<(i32, Vec<i64>)> {
    let tensor = info.r#type.as_ref()?.tensor_type.as_ref()?;
    let dims = tensor.shape.as_ref()?.dim.iter().map(|d| d.dim_value).collect::<Option<_>>()?;
    Some((data_type(tensor.elem_type)?.0.into(), dims))
}

/// Makes constants of all inputs but the first, and of that if it is a shape: these cases feed
/// weights, shapes and axes as inputs.
fn with_constants(mut model: ModelProto, folder: &Path) -> ModelProto {
    let graph = model.graph.as_mut().unwrap();
    let data = usize::from(graph.node[0].op_type != "ConstantOfShape").min(graph.input.len());
    for (i, input) in graph.input.split_off(data).iter().enumerate() {
        let bytes = fs::read(folder.join(format!("input_{}.pb", i + data))).unwrap();
        let tensor = TensorProto::decode(bytes.as_slice()).unwrap();
        graph.initializer.push(TensorProto { name: input.name.clone(), ..tensor });
    }
    model
}

fn import(model: &ModelProto) -> Result<Module> {
    let bytes = model.encode_to_vec();
    crate::onnx::import(&Source::decode(bytes, Path::new("."), &Limits::default())?)
}

/// The tensor in a file of a case.
fn read(path: &Path) -> Constant {
    let tensor = TensorProto::decode(fs::read(path).unwrap().as_slice()).unwrap();
    Store::new(Path::new("."), &Limits::default()).constant(&tensor).unwrap().0
}

/// The module as an `.amq` file in float.
fn emit(module: &Module) -> Vec<u8> {
    let mut graph = module.graph.clone();
    let mut data = Vec::new();
    for (&value, Constant { dims, data: elements }) in &module.constants {
        graph.tensors.push(Tensor {
            value,
            data_type: elements.data_type().into(),
            dims: dims.iter().map(|&d| d as u64).collect(),
            ..Tensor::default()
        });
        data.push(match elements {
            ConstantData::F32(x) => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
            ConstantData::I64(x) => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
            ConstantData::I32(x) => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
            ConstantData::U8(x) | ConstantData::Bool(x) => x.clone(),
            ConstantData::I8(x) => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
        });
    }
    write(Draft { graph, data, provenance: None }).unwrap()
}

fn view(constant: &Constant) -> View<'_> {
    let dims = constant.dims.as_slice();
    match &constant.data {
        ConstantData::F32(x) => View::f32(dims, x),
        ConstantData::I64(x) => View::i64(dims, x),
        ConstantData::I32(x) => View::i32(dims, x),
        ConstantData::U8(x) => View::u8(dims, x),
        ConstantData::I8(x) => View::i8(dims, x),
        ConstantData::Bool(x) => View::bool(dims, x),
    }
}

/// Largest difference of two floats that count as equal; halves have 8 to 11 bits,
/// and some cases are written with four digits.
fn tolerance(model: &ModelProto) -> f32 {
    let types = |info: &ValueInfoProto| {
        info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()).map_or(0, |t| t.elem_type)
    };
    let graph = model.graph.as_ref().unwrap();
    let narrow = [ElementType::Float16 as i32, ElementType::Bfloat16 as i32];
    let any = graph.input.iter().chain(&graph.output).any(|info| narrow.contains(&types(info)));
    if any { 1e-2 } else { 1e-4 }
}

fn assert_equal(name: &str, found: View<'_>, wanted: &Constant, tolerance: f32) {
    assert_eq!(found.dims, wanted.dims, "{name}");
    let close = |(a, b): (&f32, &f32)| {
        (a - b).abs() <= tolerance * (1.0 + b.abs()) || a == b || (a.is_nan() && b.is_nan())
    };
    match (found.data, &wanted.data) {
        (Data::F32(a), ConstantData::F32(b)) => {
            assert!(a.iter().zip(b).all(close), "{name}: {a:?} instead of {b:?}");
        }
        (Data::I64(a), ConstantData::I64(b)) => assert_eq!(a, b, "{name}"),
        (Data::I32(a), ConstantData::I32(b)) => assert_eq!(a, b, "{name}"),
        (Data::U8(a), ConstantData::U8(b)) => assert_eq!(a, b, "{name}"),
        (Data::Bool(a), ConstantData::Bool(b)) => assert_eq!(a, b, "{name}"),
        (Data::I8(a), ConstantData::I8(b)) => assert_eq!(a, b, "{name}"),
        (found, wanted) => panic!("{name}: {found:?} instead of {wanted:?}"),
    }
}

/// Runs a case and compares its outputs.
fn run(name: &str, case: &Path, model: &ModelProto, module: &Module) {
    let graph = model.graph.as_ref().unwrap();
    let input = |i| read(&case.join(format!("input_{i}.pb")));
    let inputs: Vec<Constant> = (0..graph.input.len()).map(input).collect();
    if inputs.iter().any(|input| input.dims.contains(&0)) {
        // Names stand for sizes of at least 1.
        return;
    }
    let views: Vec<_> =
        graph.input.iter().zip(&inputs).map(|(info, x)| (info.name.as_str(), view(x))).collect();
    let mut session = Session::new(Arc::new(Model::load(&emit(module)).unwrap()));
    let outputs = session.run(&views).unwrap_or_else(|error| panic!("{name}: {error}\n{module}"));
    for (i, info) in graph.output.iter().enumerate() {
        let wanted = read(&case.join(format!("output_{i}.pb")));
        assert_equal(name, outputs.get(&info.name).unwrap(), &wanted, tolerance(model));
    }
}

#[test]
fn node_cases_are_right_or_refused_by_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/node");
    let mut cases: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    let mut refused = String::new();
    for case in &cases {
        let name = case.file_name().unwrap().to_string_lossy();
        let bytes = fs::read(case.join("model.onnx")).unwrap();
        let model = with_constants(ModelProto::decode(bytes.as_slice()).unwrap(), case);
        let module = match import(&model) {
            Ok(module) => module,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}: {error}");
                refused += &format!("{name}: {}\n", error.message());
                continue;
            }
        };
        run(&name, case, &model, &module);
        for (port, info) in module.graph.outputs.iter().zip(&model.graph.as_ref().unwrap().output) {
            // Sizes of 0 count as unknown and become names.
            if let Some((data_type, sizes)) = declared(info) {
                let known = |(dim, &size): (&Dim, &i64)| dim.as_size().unwrap_or(size);
                let found: Vec<i64> = port.dims.iter().zip(&sizes).map(known).collect();
                let found = (port.data_type, port.dims.len(), found);
                assert_eq!((data_type, sizes.len(), sizes), found, "{name}\n{module}");
            }
        }
    }
    assert!(cases.len() > 400, "{} cases", cases.len());
    insta::assert_snapshot!("refused", refused);
}

/// Recurrent layers with every feature, their results from an implementation of the specification.
#[test]
fn recurrent_cases_are_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/recurrent");
    for entry in fs::read_dir(folder).unwrap() {
        let case = entry.unwrap().path();
        let bytes = fs::read(case.join("model.onnx")).unwrap();
        let model = ModelProto::decode(bytes.as_slice()).unwrap();
        let module = import(&model).unwrap_or_else(|error| panic!("{}: {error}", case.display()));
        run(&case.to_string_lossy(), &case, &model, &module);
    }
}

/// The cases as they are, with everything an input: never a panic, and never taken for damaged.
#[test]
fn node_cases_whose_shapes_are_data_are_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/node");
    for entry in fs::read_dir(folder).unwrap() {
        let case = entry.unwrap().path();
        let source = crate::onnx::load(&case.join("model.onnx"), &Limits::default()).unwrap();
        if let Err(error) = crate::onnx::import(&source) {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{}: {error}", case.display());
        }
    }
}
