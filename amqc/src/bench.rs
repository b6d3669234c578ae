//! How long a step of a model takes.

use std::time::{Duration, Instant};

use amq_runtime::{Session, View};
use serde::Serialize;

use crate::error::Result;
use crate::feed::seeded::{seeded, sizes};
use crate::open::Loaded;
use crate::tensor::views;

/// How long the steps of a model took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timing {
    /// The model's file.
    pub file: String,
    /// Median of a step, in microseconds.
    pub median_us: f64,
    /// What 99% of the steps took at most, in microseconds.
    pub p99_us: f64,
    /// Steps that were measured.
    pub steps: usize,
}

/// Steps the models by turns, so that all meet the same conditions: on seeded inputs, with these sizes
/// of dimensions by name (others are 1), their states carried along. Gives a timing for each.
///
/// # Errors
/// Sizes that no model has or can take.
pub fn bench(models: &[&Loaded], dims: &[(String, i64)]) -> Result<Vec<Timing>> {
    let sizes = sizes(dims, models)?;
    let inputs: Vec<_> = models.iter().map(|model| seeded(model, &sizes)).collect::<Result<_>>()?;
    let mut runs: Vec<_> = (models.iter().zip(&inputs))
        .map(|(model, inputs)| Steps::new(model, views(inputs)))
        .collect();
    measure(&mut runs)?;
    Ok(runs.into_iter().map(Steps::timing).collect())
}

/// A model that is stepped and timed.
struct Steps<'a> {
    loaded: &'a Loaded,
    inputs: Vec<(&'a str, View<'a>)>,
    session: Session,
    nanoseconds: Vec<u64>,
}

impl<'a> Steps<'a> {
    fn new(loaded: &'a Loaded, inputs: Vec<(&'a str, View<'a>)>) -> Steps<'a> {
        let session = loaded.session();
        Steps { loaded, inputs, session, nanoseconds: Vec::new() }
    }

    fn step(&mut self) -> Result<u64> {
        let start = Instant::now();
        let stepped = self.session.step(&self.inputs).map(|_| ());
        let taken = start.elapsed();
        stepped.map_err(|error| self.loaded.error(error))?;
        Ok(u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX))
    }

    fn timing(mut self) -> Timing {
        self.nanoseconds.sort_unstable();
        let steps = self.nanoseconds.len();
        let at = |per_cent: usize| self.nanoseconds[(steps * per_cent).div_ceil(100) - 1] as f64;
        Timing {
            file: self.loaded.path.display().to_string(),
            median_us: at(50) / 1e3,
            p99_us: at(99) / 1e3,
            steps,
        }
    }
}

/// Steps in a turn.
const TURN: usize = 20;
/// Steps that are measured at least, unless that takes longer than `PATIENCE`.
const LEAST_STEPS: usize = 200;
const LEAST_TIME: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);
const WARM_UP: Duration = Duration::from_millis(100);

/// Lets the models take turns until there are enough steps of each.
fn measure(runs: &mut [Steps<'_>]) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < WARM_UP * runs.len() as u32 {
        for run in &mut *runs {
            run.step()?;
        }
    }
    let models = u32::try_from(runs.len()).unwrap_or(1);
    let start = Instant::now();
    loop {
        for run in &mut *runs {
            let turn = Instant::now();
            for _ in 0..TURN {
                let taken = run.step()?;
                run.nanoseconds.push(taken);
                if turn.elapsed() > LEAST_TIME {
                    break;
                }
            }
        }
        let elapsed = start.elapsed();
        let enough = runs.iter().all(|run| run.nanoseconds.len() >= LEAST_STEPS);
        if enough && elapsed >= LEAST_TIME * models || elapsed >= PATIENCE {
            return Ok(());
        }
    }
}

impl Timing {
    /// Why the figures may not be those of the model, if there is a reason.
    pub fn warning(&self) -> Option<String> {
        let Timing { file, median_us, p99_us, steps } = self;
        if *steps < LEAST_STEPS {
            return Some(format!("{file}: only {steps} steps were measured"));
        }
        (*p99_us > 3.0 * median_us).then(|| {
            format!(
                "{file}: one step in a hundred took {:.1} times the median or longer: something \
                 else keeps this machine busy, and the figures may not be those of the model",
                p99_us / median_us
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(file: &str, median_us: f64, p99_us: f64) -> Timing {
        Timing { file: file.into(), median_us, p99_us, steps: 1000 }
    }

    #[test]
    fn unsteady_measurements_are_told() {
        assert!(timing("a", 1.0, 4.0).warning().is_some());
        assert!(timing("a", 1.0, 2.0).warning().is_none());
        assert!(Timing { steps: 3, ..timing("a", 1.0, 1.0) }.warning().is_some());
    }
}
