//! The shipped models, compiled and loaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use amq_format::Validated;
use amq_runtime::{Isa, LoadOptions, Model, View};
use amqc::compile::compile;
use amqc::options::ConvertOptions;
use amqc::settings::{Given, parse_activations};

pub(crate) fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(path)
}

/// The `.amq` file of a shipped model, with these bits and activations.
pub(crate) fn convert(model: &str, [bits, activations]: [&str; 2]) -> Vec<u8> {
    let flags = Given {
        bits: Some(bits.parse().unwrap()),
        activations: Some(parse_activations(activations).unwrap()),
        ..Given::default()
    };
    let options = ConvertOptions { flags, ..ConvertOptions::default() };
    compile(&fixture(&format!("{model}/model.onnx")), &options, &|_| {}).unwrap().bytes
}

pub(crate) fn load(file: &[u8], isa: Isa) -> Arc<Model> {
    let options = LoadOptions { isa, ..LoadOptions::default() };
    Arc::new(Model::with_options(&Validated::new(file).unwrap(), &options).unwrap())
}

/// The same numbers in `0..below` every time.
pub(crate) fn numbers(count: usize, below: u32) -> impl Iterator<Item = u32> {
    let mut seed = 1u64;
    std::iter::repeat_with(move || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 32) as u32 % below
    })
    .take(count)
}

pub(crate) fn bits(view: View<'_>) -> Vec<u32> {
    view.as_f32().unwrap().iter().map(|x| x.to_bits()).collect()
}
