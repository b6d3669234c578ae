use std::fs;
use std::path::Path;

use prost::Message;

use super::*;
use crate::onnx::tests::{Build, f32s};
use crate::options::ConvertOptions;

fn choose(path: &Path, bits: f64) -> Result<Chosen> {
    let options = ConvertOptions::default();
    let task = Task { path, options: &options, data: None, isa: amq_runtime::Isa::detect() };
    task.choose(Budget::Bits(bits), &|_, _, _| ())
}

/// Rows of 16 columns take 1.125 or more bits a weight for each code.
#[test]
fn the_least_that_a_model_takes_does_not_depend_on_what_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let weights: Vec<f32> = (0..16 * 512).map(|i| (i as f32 * 0.7).sin()).collect();
    let build = Build::new(13).input("x", "n 16").initializer(f32s("w", &[16, 512], &weights));
    let build = build.node("MatMul", "x w", "y").output("y");
    fs::write(&path, build.model.encode_to_vec()).unwrap();
    let least = choose(&path, 1.0).unwrap_err().to_string();
    assert!(least.contains("the least that the model takes is"), "{least}");
    let words = least.split("the model takes is ").nth(1).unwrap();
    let least: f64 = words.split(' ').next().unwrap().parse().unwrap();
    let mut before = f64::INFINITY;
    for target in [least + 0.01, 3.0, 4.5, 6.0, 8.0] {
        let chosen = choose(&path, target).unwrap();
        assert!(chosen.bits_per_weight <= target, "{target}: {}", chosen.bits_per_weight);
        assert!(chosen.loss <= before, "{target}: {} after {before}", chosen.loss);
        before = chosen.loss;
    }
}
