//! Refusals: all that stops a model, at once.

use super::*;
use crate::error::ErrorKind;

#[test]
fn a_refusal_lists_all_that_is_missing() {
    let model = Build::new(13)
        .input("x", "n 4")
        .typed("s", ElementType::String, "n")
        .node("Fancy", "x", "a")
        .node("Relu", "a", "b")
        .node("Odd", "b", "c")
        .node_with("Abs", "x", "d", &[("fast", A::I(1))])
        .node("Fancy", "d", "e")
        .node("Fancy", "x", "f")
        .node("Relu", "x", "g")
        .output("c")
        .output("g");
    let error = model.import().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    insta::assert_snapshot!(error.to_string());
    let places: Vec<_> =
        error.missing().iter().map(|m| (m.what.as_str(), m.places.len())).collect();
    assert_eq!(places, [("input", 1), ("Fancy", 3), ("Odd", 1), ("Abs", 1)]);
}

#[test]
fn names_of_values_do_not_divide_what_is_missing() {
    let mut model = Build::new(13).input("x", "n 4").typed("k", ElementType::Int64, "m");
    for i in 0..9 {
        model = model.node("Expand", "x k", &format!("y{i}")).output(&format!("y{i}"));
    }
    let error = model.import().unwrap_err();
    assert_eq!(error.missing().len(), 1, "{error}");
    assert!(error.to_string().contains(" and 5 more"), "{error}");
}

#[test]
fn nodes_are_read_in_the_order_of_their_data() {
    let sorted = Build::new(13).input("x", "n").node("Abs", "x", "a").node("Neg", "a", "y");
    let mut other = sorted.clone();
    other.graph().node.reverse();
    let text = |build: Build| build.output("y").text().replace(['0', '1'], "");
    assert_eq!(text(other), text(sorted));
}

#[test]
fn sparse_tensors_are_read() {
    let sparse = |dims: &[i64], indices: TensorProto| SparseTensorProto {
        values: Some(f32s("w", &[2], &[3.0, -1.0])),
        indices: Some(indices),
        dims: dims.to_vec(),
    };
    let text = |sparse: SparseTensorProto| {
        let mut model = Build::new(13).input("x", "2 3").node("Add", "x w", "y").output("y");
        model.graph().sparse_initializer.push(sparse);
        model.text()
    };
    let constant = "constant %w: f32[2, 3] = 0, 3, 0, 0, 0, -1";
    assert!(text(sparse(&[2, 3], i64s("", &[2], &[1, 5]))).contains(constant));
    assert!(text(sparse(&[2, 3], i64s("", &[2, 2], &[0, 1, 1, 2]))).contains(constant));
    assert!(text(sparse(&[2, 3], i64s("", &[2], &[1, 6]))).contains("beyond its shape"));
    assert!(text(sparse(&[2, 3], i64s("", &[2, 2], &[0, 3, 1, 2]))).contains("beyond its shape"));
    assert!(text(sparse(&[2, 3], i64s("", &[3], &[1, 2, 3]))).contains("indices of shape [3]"));
    assert!(text(sparse(&[1 << 40, 1 << 10], i64s("", &[2], &[1, 5]))).contains("take more than"));
}

#[test]
fn a_model_of_other_domains_only_is_not_supported() {
    let mut model = Build::new(13).input("x", "n").node("Scaler", "x", "y").output("y");
    model.model.opset_import[0].domain = "ai.onnx.ml".into();
    let error = model.import().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("[\"ai.onnx.ml\"]"), "{error}");
}

/// As OnnxMLTools writes a classifier of trees: operators of both domains.
#[test]
fn trees_are_refused_by_name() {
    let mut model = Build::new(9).input("x", "n 4").node("TreeEnsembleClassifier", "x", "l p");
    model = model.node("Identity", "p", "q").node("ZipMap", "q", "y").output("l").output("y");
    for node in &mut model.graph().node {
        if node.op_type != "Identity" {
            node.domain = "ai.onnx.ml".into();
        }
    }
    let error = model.import().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let named: Vec<_> = error.missing().iter().map(|missing| missing.what.as_str()).collect();
    assert_eq!(named, ["TreeEnsembleClassifier", "ZipMap"]);
    for missing in error.missing() {
        assert!(missing.reason.contains("\"ai.onnx.ml\""), "{}", missing.reason);
        assert!(missing.help.as_ref().unwrap().contains("convert the network without"), "{error}");
    }
}

#[test]
fn a_newer_file_format_is_told() {
    let mut model = Build::new(13).input("x", "n").node("Abs", "x", "y").output("y");
    assert!(!model.text().contains("IR version"));
    model.model.ir_version = 99;
    assert!(model.text().starts_with("note the model's IR version 99 is newer"));
}

#[test]
fn a_pointer_of_git_lfs_is_named() {
    let file = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n".to_vec();
    let error = Source::decode(file, Path::new("."), &Limits::default()).unwrap_err();
    assert!(error.to_string().contains("git lfs pull"), "{error}");
}
