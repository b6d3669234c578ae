//! Files that are damaged, hostile, or beyond what is supported.

use std::fs;

use super::*;
use crate::error::ErrorKind;

fn relu() -> Build {
    Build::new(13).input("x", "n").node("Relu", "x", "y").output("y")
}

#[test]
fn every_truncation_is_an_error_or_a_smaller_model() {
    let bytes = relu().weight("w", &[3]).model.encode_to_vec();
    for length in 0..bytes.len() {
        let source = Source::decode(bytes[..length].to_vec(), Path::new("."), &Limits::default());
        let imported =
            source.and_then(|source| crate::onnx::import(&source, &Interface::default()));
        assert!(imported.is_err(), "cut at {length}");
    }
}

#[test]
fn flipped_bytes_never_panic() {
    let bytes = relu().weight("w", &[3]).model.encode_to_vec();
    for i in 0..bytes.len() {
        for flip in [1, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[i] ^= flip;
            let source = Source::decode(bytes, Path::new("."), &Limits::default());
            // Some flips give another valid model; none may panic.
            let _ = source.and_then(|source| crate::onnx::import(&source, &Interface::default()));
        }
    }
}

#[test]
fn empty_nodes_without_end_are_refused_before_decoding() {
    // Field 7 of the model, the graph, holds empty nodes of two bytes each.
    let nodes = 2_000_000;
    let mut bytes = vec![0x08, 0x08, 0x3a];
    prost::encoding::encode_varint(2 * nodes, &mut bytes);
    bytes.extend([0x0a, 0x00].repeat(nodes as usize));
    let error = Source::decode(bytes, Path::new("."), &Limits::default()).unwrap_err();
    assert!(error.to_string().contains("they would take more than 256 MiB"), "{error}");
}

#[test]
fn large_files_are_refused_by_size() {
    let limits = Limits { file_bytes: 10, ..Limits::default() };
    let error = Source::decode(vec![0; 11], Path::new("."), &limits).unwrap_err();
    assert!(error.to_string().contains("11 bytes, more than 10"), "{error}");
    let limits = Limits { constant_bytes: 11, ..Limits::default() };
    let build = Build::new(13).weight("w", &[3]).node("Relu", "w", "y").output("y");
    let source = Source::decode(build.model.encode_to_vec(), Path::new("."), &limits).unwrap();
    let error = crate::onnx::import(&source, &Interface::default()).unwrap_err();
    assert!(error.to_string().contains("take more than 11 bytes"), "{error}");
}

#[test]
fn shapes_without_end_are_refused() {
    let mut many = Build::new(13).initializer(i64s("v0", &[1024], &[1; 1024]));
    for i in 0..3000 {
        many = many.node("Neg", &format!("v{i}"), &format!("v{}", i + 1));
    }
    let error = many.output("v3000").error();
    assert!(error.contains("the model computes too many shapes"), "{error}");

    // Each step multiplies the expression's size by more than its length.
    let mut deep = Build::new(13).input("x", "a b").ints("three", &[3]);
    deep = deep.node_with("Shape", "x", "s0", &[]);
    for i in 0..40 {
        let square = format!("q{i}");
        deep = deep.node("Add", &format!("s{i} three"), &format!("p{i}"));
        deep = deep.node("Mul", &format!("p{i} p{i}"), &square);
        deep = deep.node("Div", &format!("{square} three"), &format!("s{}", i + 1));
    }
    // From where it is too long on, it is computed when the model runs.
    let text = deep.node("Expand", "x s40", "y").output("y").text();
    assert!(text.contains("= Sizes "), "{text}");
}

#[test]
fn graphs_that_contradict_themselves_are_bad_files() {
    let bad = |build: Build, what: &str| {
        let error = build.import().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadFile, "{error}");
        assert!(error.to_string().contains(what), "{error}");
    };
    bad(relu().node("Abs", "x", "y"), "the value \"y\" is defined twice");
    bad(relu().node("Abs", "x", "x"), "the value \"x\" is defined twice");
    bad(relu().input("x", "n"), "the value \"x\" is defined twice");
    bad(relu().weight("w", &[1]).weight("w", &[1]), "the value \"w\" is defined twice");
    let cycle = Build::new(13).input("x", "n").node("Add", "x b", "a").node("Abs", "a", "b");
    bad(cycle.output("b"), "node \"\" (Add): what it reads follows from what it gives");
    bad(relu().output("z"), "output \"z\" is not defined");
    bad(relu().output("y"), "output \"y\" is there twice");
    bad(Build::new(13).input("x", "n"), "no outputs");
    bad(relu().node("Add", "x", "z").output("z"), "its input 1 is missing");
    let twice = [("axis", A::I(0)), ("axis", A::I(0))];
    bad(relu().node_with("Softmax", "x", "z", &twice).output("z"), "\"axis\" is there twice");
    let typed = relu().node_with("Softmax", "x", "z", &[("axis", A::F(0.0))]).output("z");
    bad(typed, "attribute \"axis\" is of type Float instead of Int");
    let axis = relu().node_with("Softmax", "x", "z", &[("axis", A::I(i64::MIN))]).output("z");
    bad(axis, "axis -9223372036854775808 of a tensor with 1 axes");
    let mut none = relu();
    none.model.graph = None;
    bad(none, "holds no graph");
}

/// What fuzzing found: inputs of fewer axes than their operator has, and numbers whose products are none.
#[test]
fn inputs_without_axes_and_endless_windows_are_refused() {
    let refused = |build: Build, what: &str| {
        let error = build.import().unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    };
    let heads = |v: &str| Build::new(23).input("q", "1 2 4 8").input("k", "1 2 4 8").input("v", v);
    for (v, axes) in [("4", "v has 1 axes"), ("4 4", "v has 2 axes")] {
        refused(heads(v).node("Attention", "q k v", "y").output("y"), axes);
    }
    let loss = Build::new(13).input("x", "3 5").typed("t", ElementType::Int64, "");
    refused(loss.node("NegativeLogLikelihoodLoss", "x t", "y").output("y"), "one number");
    let unpool = Build::new(13).input("x", "3").typed("i", ElementType::Int64, "3");
    let kernel = [("kernel_shape", A::Is(&[]))];
    refused(unpool.node_with("MaxUnpool", "x i", "y", &kernel).output("y"), "no channels");
    let cache = Build::new(24).input("c", "2 3 4 5").input("u", "2 3 4");
    let axis = [("axis", A::I(3))];
    refused(cache.node_with("TensorScatter", "c u", "y", &axis).output("y"), "has 3 axes");
    let wide = |name, numbers| {
        let build = Build::new(13).input("x", "1 1 9").weight("w", &[1, 1, 3]);
        build.node_with("Conv", "x w", "y", &[(name, A::Is(numbers))]).output("y")
    };
    refused(wide("dilations", &[i64::MAX]), "dilations is");
    refused(wide("pads", &[i64::MAX, 1]), "pads");
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let unsupported = |build: Build, what: &str| {
        let error = build.import().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains(what), "{error}");
    };
    let attribute = relu().node_with("Abs", "x", "z", &[("fast", A::S("yes"))]).output("z");
    unsupported(attribute, "node \"Abs_1\" (Abs): its attribute fast = \"yes\" is not supported");
    let input = relu().node("Abs", "x x", "z").output("z");
    unsupported(input, "node \"Abs_1\" (Abs): its input 1 (\"x\") is not supported");
    let other = relu().node("TfIdfVectorizer", "x", "z").output("z");
    unsupported(other, "node \"TfIdfVectorizer_1\" (TfIdfVectorizer): the operator is not");
    let mut domain = relu();
    domain.graph().node[0].domain = "com.microsoft".into();
    unsupported(domain, "its operator belongs to \"com.microsoft\"");
    let mut same = relu();
    same.graph().node[0].domain = "ai.onnx".into();
    assert!(same.import().is_ok());
    for opset in [0, 29] {
        let mut other = relu();
        other.model.opset_import[0].version = opset;
        unsupported(other, &format!("opset {opset}; supported are 1 to 28"));
    }
    unsupported(relu().typed("s", ElementType::String, "n"), "inputs of string are not supported");
    let mut shapeless = relu();
    let tensor = shapeless.graph().input[0].r#type.as_mut().unwrap().tensor_type.as_mut().unwrap();
    tensor.shape = None;
    unsupported(shapeless, "input \"x\": its number of axes is not known");
    let cast = relu().node_with("Cast", "x", "z", &[("to", A::I(8))]).output("z");
    unsupported(cast, "a cast to string is not supported");
}

#[test]
fn tensors_must_have_the_data_that_their_shapes_need() {
    let error = |tensor: TensorProto| {
        let build = Build::new(13).initializer(TensorProto { name: "w".into(), ..tensor });
        build.node("Identity", "w", "y").output("y").error()
    };
    assert!(error(f32s("", &[3], &[1.0])).contains("shape [3] needs 12 bytes, its data has 4"));
    assert!(error(f32s("", &[-1], &[1.0])).contains("a dimension of -1"));
    let huge = [i64::MAX, i64::MAX];
    assert!(error(f32s("", &huge, &[1.0])).contains("too many elements"));
    assert!(error(f32s("", &[i64::MAX / 2], &[])).contains("too many elements"));
    assert!(error(i64s("", &[2], &[1])).contains("needs 2 elements, its data has 1"));
    let both = TensorProto { float_data: vec![1.0], ..f32s("", &[1], &[1.0]) };
    assert!(error(both).contains("its data twice"));
    let string = TensorProto { data_type: ElementType::String as i32, ..TensorProto::default() };
    assert!(error(string).contains("a tensor of string is not supported"));
    let wide = TensorProto {
        data_type: ElementType::Uint8 as i32,
        dims: vec![1],
        int32_data: vec![256],
        ..TensorProto::default()
    };
    assert!(error(wide).contains("256 does not fit"));
    let unsigned = TensorProto {
        data_type: ElementType::Uint32 as i32,
        dims: vec![1],
        uint64_data: vec![1 << 32],
        ..TensorProto::default()
    };
    assert!(error(unsigned).contains("4294967296 does not fit"));
}

/// A model whose only weight is external, in a folder with a file `w.bin` of 16 bytes.
fn external(folder: &Path, entries: &[(&str, &str)]) -> Result<Module> {
    let entry = |(key, value): &(&str, &str)| StringStringEntryProto {
        key: (*key).into(),
        value: (*value).into(),
    };
    let tensor = TensorProto {
        raw_data: None,
        data_location: TensorProto::EXTERNAL,
        external_data: entries.iter().map(entry).collect(),
        ..f32s("w", &[2], &[])
    };
    let build = Build::new(13).initializer(tensor).node("Identity", "w", "y").output("y");
    let source = Source::decode(build.model.encode_to_vec(), folder, &Limits::default())?;
    crate::onnx::import(&source, &Interface::default())
}

#[test]
fn external_data_stays_inside_the_models_folder() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("model");
    fs::create_dir_all(folder.join("sub")).unwrap();
    let floats: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    for file in [folder.join("w.bin"), folder.join("sub/w.bin"), root.path().join("out.bin")] {
        fs::write(file, &floats).unwrap();
    }
    let read = |entries: &[(&str, &str)]| external(&folder, entries).map(|m| m.to_string());
    let at = |offset| [("location", "w.bin"), ("offset", offset), ("length", "8")];
    assert!(read(&at("8")).unwrap().contains("f32[2] = 3, 4"));
    assert!(
        read(&[("location", "./sub/w.bin"), ("length", "8")]).unwrap().contains("f32[2] = 1, 2")
    );
    let refused = |entries: &[(&str, &str)], what: &str| {
        let error = read(entries).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    let absolute = root.path().join("out.bin");
    for location in ["../out.bin", "sub/../../out.bin", "", absolute.to_str().unwrap()] {
        refused(&[("location", location), ("length", "8")], "not inside the model's folder");
    }
    refused(&[("length", "8")], "without a location");
    refused(&at("9"), "8 bytes from 9 are beyond the end");
    refused(&at("99999999999999999999"), "offset \"99999999999999999999\" is no number");
    refused(&[("location", "w.bin"), ("length", "16")], "needs 8 bytes, its data has 16");
    // Without a length the shape says it; a path may go back as far as it came.
    assert!(read(&[("location", "sub/../w.bin")]).unwrap().contains("f32[2] = 1, 2"));
    refused(&[("location", "w.bin"), ("offset", "12")], "8 bytes from 12 are beyond the end");
    refused(&[("location", "sub")], "is not a file");
    refused(&[("location", "none.bin")], "none.bin");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(root.path().join("out.bin"), folder.join("link.bin")).unwrap();
        std::os::unix::fs::symlink(folder.join("w.bin"), folder.join("same.bin")).unwrap();
        refused(&[("location", "link.bin"), ("length", "8")], "not inside the model's folder");
        assert!(read(&[("location", "same.bin"), ("length", "8")]).is_ok());
    }
}

#[test]
fn a_file_is_loaded_with_its_digest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, relu().model.encode_to_vec()).unwrap();
    let source = crate::onnx::load(&path, &Limits::default()).unwrap();
    assert_eq!(source.bytes(), fs::metadata(&path).unwrap().len());
    assert_eq!(source.sha256(), relu().source().unwrap().sha256());
    fs::write(&path, b"not a model").unwrap();
    let error = crate::onnx::load(&path, &Limits::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadFile);
    assert!(error.to_string().contains("model.onnx"), "{error}");
    let missing = crate::onnx::load(&folder.path().join("none"), &Limits::default());
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::Io);
}
