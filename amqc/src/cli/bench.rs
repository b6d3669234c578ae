//! `amqc bench`

use std::path::PathBuf;

use amq_runtime::Isa;
use clap::Args;
use serde::Serialize;

use super::interface::{Dims, Ports, open};
use super::{Outcome, Running, size};
use crate::bench::{Timing, bench};
use crate::error::Result;
use crate::interface::Interface;
use crate::open::{Loaded, is_amq};
use crate::threads::Threads;

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
    ports: Ports,
    #[command(flatten)]
    running: Running,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
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

impl Bench {
    pub(super) fn execute(&self, isa: Isa) -> Result<Outcome> {
        let threads = Threads::new(self.running.threads)?;
        let load = |path: &PathBuf| {
            // Of an .amq file nothing is to be said, so that it can stand beside its model.
            let interface = match is_amq(path)? {
                true => Interface::default(),
                false => self.ports.interface(&Dims::default()),
            };
            let loaded = open(path, &interface)?.load(isa)?;
            Ok(loaded.with_threads(threads.clone()))
        };
        let models: Vec<Loaded> =
            [&self.file].into_iter().chain(&self.against).map(load).collect::<Result<_>>()?;
        let timings = bench(&models.iter().collect::<Vec<_>>(), &self.dim)?;
        let warnings = timings.iter().filter_map(Timing::warning).collect();
        let mut timings = timings.into_iter();
        let Some(timing) = timings.next() else { return Ok(Outcome::default()) };
        let against = timings.next();
        let ratio = against.as_ref().map(|other| other.median_us / timing.median_us);
        let benched = Benched { timing, isa: isa.name(), threads: threads.count(), ratio, against };
        let outcome = Outcome::of(self.json, &benched, Benched::text)?;
        Ok(Outcome { warnings, ..outcome })
    }
}

fn text(timing: &Timing) -> String {
    let Timing { file, median_us, p99_us, steps } = timing;
    format!("{file}: a step takes {median_us:.2} us, 99% at most {p99_us:.2} us; {steps} steps\n")
}

impl Benched {
    fn text(&self) -> String {
        let Benched { timing, isa, threads, ratio, against } = self;
        let mut all = text(timing);
        if let (Some(against), Some(ratio)) = (against, ratio) {
            let (ratio, word) =
                if *ratio >= 1.0 { (*ratio, "faster") } else { (1.0 / ratio, "slower") };
            all += &text(against);
            all += &format!("{} is {ratio:.2} times {word} than {}\n", timing.file, against.file);
        }
        all + &format!("isa {isa}, threads {threads}\n")
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
    fn sizes_are_positive_numbers() {
        assert_eq!(size("seq=35"), Ok(("seq".into(), 35)));
        for bad in ["seq", "seq=", "=3", "seq=0", "seq=-1", "seq=x"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
