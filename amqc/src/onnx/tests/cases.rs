//! ONNX's own node cases: imported with the declared result, or refused for a reason that is known.

use std::fs;

use amq_format::graph::Dim;

use super::*;
use crate::error::ErrorKind;
use crate::onnx::tensor::data_type;

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

#[test]
fn node_cases_are_imported_or_refused_by_name() {
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
        for (port, info) in module.graph.outputs.iter().zip(&model.graph.as_ref().unwrap().output) {
            // Sizes of 0 count as unknown and become names.
            if let Some((data_type, sizes)) = declared(info).filter(|_| !name.contains("_ceil")) {
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
