//! `amqc bench`

use std::path::PathBuf;
use std::time::{Duration, Instant};

use amq_runtime::{Isa, Session, View};
use clap::Args;
use serde::Serialize;

use super::{Outcome, Threads, size};
use crate::error::Result;
use crate::feed::seeded::{seeded, sizes};
use crate::open::{Loaded, Opened};
use crate::tensor::views;

/// Measure how long a step of a model takes
///
/// The model runs on seeded inputs, its states carried along. With --against the two models take
/// turns, so that both meet the same conditions.
#[derive(Debug, Args)]
pub(super) struct Bench {
    /// An .amq file or an ONNX model, run in float
    file: PathBuf,
    /// A second model to compare with; ratio is its median divided by the first one's
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Size of a dimension (repeatable) [default: 1]
    #[arg(long, value_name = "NAME=N", value_parser = size)]
    dim: Vec<(String, i64)>,
    #[command(flatten)]
    threads: Threads,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Benched {
    #[serde(flatten)]
    timing: Timing,
    isa: &'static str,
    threads: usize,
    /// Median of the other model over this one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Timing>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Timing {
    file: String,
    median_us: f64,
    p99_us: f64,
    steps: usize,
}

impl Bench {
    pub(super) fn execute(&self, isa: Isa) -> Result<Outcome> {
        let threads = self.threads.check()?;
        let paths = [Some(&self.file), self.against.as_ref()];
        let models: Vec<Loaded> = (paths.into_iter().flatten())
            .map(|path| Opened::read(path)?.load(isa))
            .collect::<Result<_>>()?;
        let sizes = sizes(&self.dim, &models.iter().collect::<Vec<_>>())?;
        let inputs: Vec<_> =
            models.iter().map(|model| seeded(model, &sizes)).collect::<Result<_>>()?;
        let mut runs: Vec<_> = (models.iter().zip(&inputs))
            .map(|(model, inputs)| Steps::new(model, views(inputs)))
            .collect();
        measure(&mut runs)?;
        let mut timings = runs.into_iter().map(Steps::timing);
        let Some(timing) = timings.next() else { return Ok(Outcome::default()) };
        let against = timings.next();
        let ratio = against.as_ref().map(|other| other.median_us / timing.median_us);
        let unsteady: Vec<String> = [Some(&timing), against.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(Timing::warning)
            .collect();
        let benched = Benched { timing, isa: isa.name(), threads, ratio, against };
        let outcome = Outcome::of(self.json, &benched, Benched::text)?;
        Ok(Outcome { warnings: unsteady, ..outcome })
    }
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
        let session = Session::new(loaded.model.clone());
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
    fn warning(&self) -> Option<String> {
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

    fn text(&self) -> String {
        let Timing { file, median_us, p99_us, steps } = self;
        format!(
            "{file}: a step takes {median_us:.2} us, 99% at most {p99_us:.2} us; {steps} steps\n"
        )
    }
}

impl Benched {
    fn text(&self) -> String {
        let Benched { timing, isa, threads, ratio, against } = self;
        let mut text = timing.text();
        if let (Some(against), Some(ratio)) = (against, ratio) {
            let (ratio, word) =
                if *ratio >= 1.0 { (*ratio, "faster") } else { (1.0 / ratio, "slower") };
            text += &against.text();
            text += &format!("{} is {ratio:.2} times {word} than {}\n", timing.file, against.file);
        }
        text + &format!("isa {isa}, threads {threads}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(file: &str, median_us: f64, p99_us: f64) -> Timing {
        Timing { file: file.into(), median_us, p99_us, steps: 1000 }
    }

    #[test]
    fn the_ratio_says_its_direction() {
        let text = |mine, other| {
            let timing = timing("a.amq", mine, mine);
            let against = Some(self::timing("b.onnx", other, other));
            Benched { timing, isa: "scalar", threads: 1, ratio: Some(other / mine), against }.text()
        };
        assert!(text(2.0, 10.0).contains("a.amq is 5.00 times faster than b.onnx"));
        assert!(text(10.0, 2.0).contains("a.amq is 5.00 times slower than b.onnx"));
    }

    #[test]
    fn unsteady_measurements_are_told() {
        assert!(timing("a", 1.0, 4.0).warning().is_some());
        assert!(timing("a", 1.0, 2.0).warning().is_none());
        assert!(Timing { steps: 3, ..timing("a", 1.0, 1.0) }.warning().is_some());
    }

    #[test]
    fn sizes_are_positive_numbers() {
        assert_eq!(size("seq=35"), Ok(("seq".into(), 35)));
        for bad in ["seq", "seq=", "=3", "seq=0", "seq=-1", "seq=x"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
