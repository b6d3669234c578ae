//! Models of which data decide sizes, written as ONNX and read again.

use std::path::Path;

use amq_format::Validated;
use amq_runtime::Isa;
use prost::Message;

use super::export;
use crate::compile::compile;
use crate::loaded::Loaded;
use crate::onnx::tests::{A, Build};
use crate::open::Opened;
use crate::options::ConvertOptions;
use crate::tensor::{Data, Tensor};

fn compiled(path: &Path, onnx: &[u8]) -> Vec<u8> {
    std::fs::write(path, onnx).unwrap();
    compile(path, &ConvertOptions::float(), &|_| {}).unwrap().bytes
}

fn loaded(path: &Path, amq: &[u8]) -> Loaded {
    Opened::of_bytes(path, amq).load(Isa::detect()).unwrap()
}

/// What is written has the answers of the model that was read, for images of several sizes.
#[test]
fn transposed_convolutions_of_any_size() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let cases: [&[(&str, A<'_>)]; 4] = [
        &[("strides", A::Is(&[2, 2]))],
        &[
            ("strides", A::Is(&[2, 2])),
            ("pads", A::Is(&[1, 1, 1, 1])),
            ("output_padding", A::Is(&[1, 1])),
        ],
        &[("strides", A::Is(&[4, 3])), ("output_padding", A::Is(&[2, 0]))],
        &[("dilations", A::Is(&[2, 1])), ("pads", A::Is(&[1, 0, 2, 1]))],
    ];
    for attributes in cases {
        let build = Build::new(17).input("x", "n 3 h w").weight("v", &[3, 4, 3, 3]);
        let build = build.node_with("ConvTranspose", "x v", "y", attributes).output("y");
        let first = compiled(&path, &build.model.encode_to_vec());
        let exported = export(&Validated::new(&first).unwrap()).unwrap();
        let again = compiled(&path, &exported.bytes);
        let [expected, found] = [&first, &again].map(|amq| loaded(&path, amq));
        for dims in [[1, 3, 4, 5], [2, 3, 7, 3]] {
            let count: usize = dims.iter().product();
            let data = (0..count).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
            let x = Tensor { dims: dims.to_vec(), data: Data::F32(data) };
            let inputs = [("x".to_owned(), x)];
            let [expected, found] = [&expected, &found].map(|model| model.run(&inputs).unwrap());
            let Data::F32(y) = &expected[0].1.data else { panic!("floats") };
            assert!(y.iter().any(|x| *x != y[0]));
            assert_eq!(found, expected, "{dims:?}");
        }
    }
}
