//! Times what loading a file takes, stage by stage: medians of some runs after the first, in milliseconds.
//!
//!     cargo run --release -p amq-runtime --example load -- model.amq
//!
//! Dimensions that have a name are 1. The file is read often, so it is in the system's cache.
#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::error::Error;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use amq_runtime::amq_format::Validated;
use amq_runtime::amq_format::graph::{DataType, Port};
use amq_runtime::{LoadOptions, Model, Session, Threads, View};
use sha2::{Digest, Sha256};

const RUNS: usize = 7;
const STAGES: [&str; 9] = [
    "std::fs::read",
    "amq_runtime::read",
    "SHA-256 of the bytes",
    "check (Validated::new)",
    "pack (Model::with_options)",
    "first answer",
    "pack with two threads (Model::with_workers)",
    "keep in the file (Model::in_file)",
    "first answer from there",
];

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: load MODEL.amq")?;
    // A model whose weights stay in the file needs it until the end.
    let kept = Validated::new(amq_runtime::read(&path)?.leak())?;
    let mut times = STAGES.map(|_| Vec::new());
    for _ in 0..=RUNS {
        for (times, time) in times.iter_mut().zip(once(&path, &kept)?) {
            times.push(time);
        }
    }
    for (stage, times) in STAGES.iter().zip(&mut times) {
        // Pages and caches are cold in the first.
        let times = &mut times[1..];
        times.sort_by(f64::total_cmp);
        println!("{stage:44} {:6.1} ms", times[RUNS / 2]);
    }
    Ok(())
}

/// Loads the file and answers once: milliseconds of each stage.
fn once(path: &str, kept: &Validated<'static>) -> Result<[f64; STAGES.len()], Box<dyn Error>> {
    let mut times = [0.0; STAGES.len()];
    let mut start = Instant::now();
    let mut lap = |stage: usize| {
        times[stage] = start.elapsed().as_secs_f64() * 1e3;
        start = Instant::now();
    };
    drop(black_box(std::fs::read(path)?));
    lap(0);
    let bytes = amq_runtime::read(path)?;
    lap(1);
    black_box(Sha256::digest(&bytes));
    lap(2);
    let file = Validated::new(&bytes)?;
    lap(3);
    let model = Arc::new(Model::with_options(&file, &LoadOptions::default())?);
    lap(4);
    let zeros = |port: &Port| {
        let sizes = port.dims.iter().map(|dim| dim.as_size().map_or(Ok(1), usize::try_from));
        let dims = sizes.collect::<Result<Vec<usize>, _>>()?;
        let floats = vec![0.0f32; dims.iter().product()];
        match port.data_type() {
            DataType::F32 => Ok((port.value, dims, floats)),
            other => Err(Box::<dyn Error>::from(format!("an input of {}", other.name()))),
        }
    };
    let graph = model.graph();
    let inputs = graph.inputs.iter().map(zeros).collect::<Result<Vec<_>, _>>()?;
    let views: Vec<_> = inputs
        .iter()
        .map(|(value, dims, floats)| {
            (graph.values[*value as usize].as_str(), View::f32(dims, floats))
        })
        .collect();
    let mut session = Session::new(Arc::clone(&model));
    session.run(&views)?;
    lap(5);
    let threads = Threads::new(NonZeroUsize::MIN.saturating_add(1));
    let by_two = Model::with_workers(&file, &LoadOptions::default(), &threads)?;
    lap(6);
    let model = Model::in_file(kept, &LoadOptions::default())?;
    lap(7);
    Session::new(Arc::new(model)).run(&views)?;
    lap(8);
    drop(by_two);
    Ok(times)
}
