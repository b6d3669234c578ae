//! One stream for very long: memory stays as it is, and a session that is restored from saved states goes on to the same bits.
//!
//!     cargo run --release -p amq-runtime --example soak -- model.amq 10000000
//!
//! A tenth of the way apart, the states are saved and restored in a new session, which then takes the next thousand steps
//! beside the first. Ends with an error where an output or a state differs in a bit, or where memory grew. The model has one input that
//! is no state, of integers.
#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use amq_runtime::{Data, Model, Outputs, Session, View};

/// Steps that a restored session takes.
const BESIDE: u64 = 1000;
/// Bytes by which a process may grow: what the system and the allocator count in.
const SLACK: u64 = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: soak MODEL.amq STEPS")?;
    let steps: u64 = arguments.next().ok_or("usage: soak MODEL.amq STEPS")?.parse()?;
    let tenth = (steps / 10).max(1);
    let model = Arc::new(Model::load(&amq_runtime::read(path)?)?);
    let is_state = |port: usize| model.states().iter().any(|state| state.input == port);
    let input = (0..model.inputs().len()).find(|&port| !is_state(port));
    let input = &model.inputs()[input.ok_or("the model has no input but states")?];
    let dims = vec![1; input.dims.len()];
    let mut session = Session::new(Arc::clone(&model));
    let mut restored: Option<Session> = None;
    let (mut seed, mut first, mut sum) = (1u64, None, 0u64);
    let begin = Instant::now();
    for step in 0..steps {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let token = [(seed >> 33) as i64 % 16];
        let inputs = [(input.name.as_str(), View::i64(&dims, &token))];
        let digest = digest(&session.step(&inputs)?);
        sum = sum.rotate_left(1) ^ digest;
        if let Some(other) = &mut restored
            && digest != self::digest(&other.step(&inputs)?)
        {
            return Err(format!("a restored session differs in step {step}").into());
        }
        if step % tenth == BESIDE.min(tenth - 1)
            && let Some(other) = restored.take()
            && other.save() != session.save()
        {
            return Err(format!("the states differ after step {step}").into());
        }
        if step % tenth == 0 {
            let mut other = Session::new(Arc::clone(&model));
            other.restore(&session.save())?;
            restored = Some(other);
        }
        // The first tenth has had all that a session ever needs.
        if step % tenth == tenth - 1 {
            let (taken, seconds) = (resident(), begin.elapsed().as_secs_f64());
            println!("{} steps, {seconds:.0} s, {} KiB, {sum:016x}", step + 1, taken / 1024);
            let first = *first.get_or_insert(taken);
            if taken > first + SLACK {
                return Err(format!("memory grew from {first} to {taken} bytes").into());
            }
        }
    }
    Ok(())
}

/// A number for the bits of all outputs (FNV-1a).
fn digest(outputs: &Outputs<'_>) -> u64 {
    let floats = outputs.iter().filter_map(|(_, view)| match view.data {
        Data::F32(floats) => Some(floats),
        _ => None,
    });
    let fold = |hash: u64, x: &f32| (hash ^ u64::from(x.to_bits())).wrapping_mul(0x0100_0000_01b3);
    floats.flatten().fold(0xcbf2_9ce4_8422_2325, fold)
}

/// Bytes of memory that the process has, where the system tells (Linux).
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
