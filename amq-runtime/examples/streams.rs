//! How many streams one core carries: all take a step together, again and again.
//!
//!     cargo run --release --example streams -- model.amq 1000 100
//!
//! takes 1,000 streams, which a service has to serve 100 times a second each. Inputs are floats drawn by chance.
#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use amq_runtime::{Batch, Model, StreamId, View};

/// How long steps are timed, and how many at least.
const TIME: Duration = Duration::from_secs(2);
const LEAST: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, count, rate] = arguments.as_slice() else {
        return Err("usage: streams MODEL.amq STREAMS STEPS_A_SECOND".into());
    };
    let (count, rate): (usize, f64) = (count.parse()?, rate.parse()?);
    let model = Arc::new(Model::load(&amq_runtime::read(path)?)?);
    let is_state = |port: usize| model.states().iter().any(|state| state.input == port);
    let input = (0..model.inputs().len()).find(|&port| !is_state(port));
    let input = &model.inputs()[input.ok_or("the model has no input but states")?];

    let mut batch = Batch::new(Arc::clone(&model))?;
    let streams: Vec<StreamId> = (0..count).map(|_| batch.add()).collect();

    // One step of each: the axis of streams is the one whose name the states have too.
    let names = model.states().iter().flat_map(|state| &model.inputs()[state.input].dims);
    let names: Vec<&str> = names.filter_map(|dim| dim.as_name()).collect();
    let size = |name: &str| if names.contains(&name) { count } else { 1 };
    let dims = input.dims.iter().map(|dim| {
        let number = dim.as_size().and_then(|size| usize::try_from(size).ok());
        number.or_else(|| dim.as_name().map(size)).unwrap_or(1)
    });
    let dims: Vec<usize> = dims.collect();
    let mut chance = 1u64;
    let mut draw = || {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (chance >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let elements: Vec<f32> = (0..dims.iter().product()).map(|_| draw()).collect();

    let mut times = Vec::new();
    let begun = Instant::now();
    while times.len() < LEAST || begun.elapsed() < TIME {
        let step = Instant::now();
        batch.step(&streams, &[(&input.name, View::f32(&dims, &elements))])?;
        times.push(step.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let step = times[times.len() / 2];
    println!(
        "{count} streams: {:.3} ms a step, {:.0} streams at {rate} steps a second",
        1e3 * step,
        count as f64 / (step * rate)
    );
    Ok(())
}
