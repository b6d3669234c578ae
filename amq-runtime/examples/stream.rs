//! Feeds tokens to a language model one by one and prints the most likely next token of each step.
//!
//!     cargo run --release --example stream -- model.amq 17 4 256
#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::error::Error;
use std::sync::Arc;

use amq_runtime::{Model, Session, View};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: stream MODEL.amq TOKEN...")?;

    // Loaded once; any number of sessions, on any threads, share it.
    let model = Arc::new(Model::load(&amq_runtime::read(path)?)?);

    // The one input that is no state takes the tokens, the one output that is no state gives scores.
    let is_state = |port: usize| model.states().iter().any(|state| state.input == port);
    let is_next_state = |port: usize| model.states().iter().any(|state| state.output == port);
    let input = (0..model.inputs().len()).find(|&port| !is_state(port));
    let output = (0..model.outputs().len()).find(|&port| !is_next_state(port));
    let input = &model.inputs()[input.ok_or("the model has no input but states")?];
    let output = &model.outputs()[output.ok_or("the model has no output but states")?];

    // One stream, one step at a time: its state stays in the session.
    let mut session = Session::new(Arc::clone(&model));
    let dims = vec![1; input.dims.len()];
    for token in arguments {
        let token = [token.parse::<i64>()?];
        let outputs = session.step(&[(&input.name, View::i64(&dims, &token))])?;
        let scores = outputs.get(&output.name).and_then(|view| view.as_f32());
        let scores = scores.ok_or("the scores are no floats")?;
        let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        println!("{} -> {}", token[0], best.ok_or("there are no scores")?);
    }
    Ok(())
}
