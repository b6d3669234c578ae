//! Writes the golden files, their inputs and their answers to `fixtures/golden`, those that are not
//! there yet; with `--renew` all of them, which is for changes of a version that was never released.
#![allow(unreachable_pub, missing_docs, reason = "shared with tests")]

#[path = "../tests/answers/mod.rs"]
mod answers;
#[path = "../../amq-format/tests/samples/builder.rs"]
mod builder;
#[path = "../../amq-format/tests/samples/golden.rs"]
mod golden;
#[path = "../../amq-format/tests/samples/products.rs"]
mod products;

use std::error::Error;
use std::fs;

use amq_format::Validated;
use amq_format::graph::{DataType, Dim};
use amq_runtime::{Isa, Model};
use answers::{Answers, Tensor};
use builder::*;

fn main() -> Result<(), Box<dyn Error>> {
    let renew = std::env::args().any(|argument| argument == "--renew");
    let products = products::all().into_iter();
    let products = products.map(|(name, draft)| (format!("products-{name}"), draft));
    for (name, draft) in products.chain([("v1.0".to_owned(), golden::draft())]) {
        let path = answers::folder().join(format!("{name}.amq"));
        if path.exists() && !renew {
            continue;
        }
        let file = amq_format::write(draft)?;
        let inputs = inputs(&file)?;
        let outputs = answers::run(&file, &inputs, Isa::Scalar)?;
        fs::write(&path, file)?;
        fs::write(path.with_extension("txt"), Answers { inputs, outputs }.text())?;
    }
    Ok(())
}

/// An input for each port that is no state.
fn inputs(file: &[u8]) -> Result<Vec<Tensor>, Box<dyn Error>> {
    let model = Model::with_options(&Validated::new(file)?, &amq_runtime::LoadOptions::default())?;
    let mut inputs = Vec::new();
    for (number, port) in model.inputs().iter().enumerate() {
        if model.states().iter().any(|state| state.input == number) {
            continue;
        }
        let size = |dim: &Dim| {
            let size = dim.eval(&|name| match name {
                "time" => Some(4),
                "batch" => Some(3),
                "items" => Some(2),
                _ => Some(6),
            })?;
            Ok(usize::try_from(size)?)
        };
        let dims: Vec<usize> = port.dims.iter().map(size).collect::<Result<_, Box<dyn Error>>>()?;
        let element = |i: i64| match port.data_type {
            // Numbers of many magnitudes.
            DataType::F32 => {
                let noise = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let scale = ((noise & 7) as f32 - 5.0).exp2();
                i64::from((((noise >> 40) as f32 / (1 << 23) as f32 - 1.0) * scale).to_bits())
            }
            // Lengths up to the number of steps.
            DataType::I32 => 4 - i % 3,
            DataType::Bool => 1,
            _ => (i * 7 + 3) % 5,
        };
        let elements = (0..dims.iter().product::<usize>() as i64).map(element).collect();
        inputs.push(Tensor { name: port.name.clone(), data_type: port.data_type, dims, elements });
    }
    Ok(inputs)
}
