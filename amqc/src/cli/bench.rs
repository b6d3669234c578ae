//! `amqc bench`

use std::io::Write;
use std::path::PathBuf;

use amq_runtime::Isa;
use clap::Args;
use serde::Serialize;

use super::interface::{Dims, Ports, open};
use super::verify::By;
use super::{Outcome, Running, output, size};
use crate::bench::{Timing, bench};
use crate::error::Result;
use crate::interface::Interface;
use crate::loaded::Loaded;
use crate::open::is_amq;
use crate::page::SpeedPage;
use crate::profile::{NodeTime, profile};
use crate::roofs::Roofs;
use crate::table::Table;

/// Measure how long a step of a model takes
///
/// The model runs on seeded inputs, its states carried along. With --against the two models take
/// turns of a millisecond, so that both meet the same conditions. Two figures are told of each: the
/// median by the clock, and the least time of the processor (on several threads, by the clock), which
/// other programs do not falsify.
#[derive(Debug, Args)]
pub(super) struct Bench {
    /// An .amq file or an ONNX model, run in float
    file: PathBuf,
    /// A second model to compare with; ratios are its median and its least divided by the first one's
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Size of a dimension (repeatable) [default: 1]
    #[arg(long, value_name = "NAME=N", value_parser = size)]
    dim: Vec<(String, i64)>,
    /// Read other memory before each step, so that it finds nothing of its model in caches
    #[arg(long)]
    cold: bool,
    /// Time each node of the first model as well: the slowest first
    ///
    /// Nodes run one by one then, those too that a step otherwise runs in one pass.
    #[arg(long, value_name = "WHAT")]
    by: Option<By>,
    /// Write a page of HTML too: each node beside what this machine reaches at most
    #[arg(long, value_name = "R.html")]
    html: Option<PathBuf>,
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
    /// The same of the least times.
    #[serde(skip_serializing_if = "Option::is_none")]
    least_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Timing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Vec<NodeTime>>,
    /// Whether the other one is an ONNX model, which this program runs itself.
    #[serde(skip)]
    onnx: bool,
}

impl Bench {
    pub(super) fn execute(&self, isa: Isa) -> Result<Outcome> {
        let threads = self.running.threads()?;
        if let Some(html) = &self.html {
            output::check_not_read(html, [&self.file].into_iter().chain(&self.against))?;
        }
        let load = |path: &PathBuf| {
            // Of an .amq file nothing is to be said, so that it can stand beside its model.
            let interface = match is_amq(path)? {
                true => Interface::default(),
                false => self.ports.interface(&Dims::default()),
            };
            self.running.load(&open(path, &interface)?, isa, &threads)
        };
        let models: Vec<Loaded> =
            [&self.file].into_iter().chain(&self.against).map(load).collect::<Result<_>>()?;
        let timings = bench(&models.iter().collect::<Vec<_>>(), &self.dim, self.cold)?;
        let warnings = timings.iter().filter_map(Timing::warning).collect();
        let mut nodes = match (self.by.is_some() || self.html.is_some(), models.first()) {
            (true, Some(model)) => {
                let known = model.dimensions();
                let own = self.dim.iter().filter(|(name, _)| known.contains(name.as_str()));
                Some(profile(model, &own.cloned().collect::<Vec<_>>())?)
            }
            _ => None,
        };
        let mut timings = timings.into_iter();
        let Some(timing) = timings.next() else { return Ok(Outcome::default()) };
        let against = timings.next();
        let ratio = against.as_ref().map(|other| other.median_us / timing.median_us);
        let least_ratio = against.as_ref().map(|other| other.least_us / timing.least_us);
        if let (Some(path), Some(times)) = (&self.html, &nodes) {
            let roofs = Roofs::measure(isa, &threads)?;
            let (timing, against) = (&timing, against.as_ref());
            let (isa, threads) = (isa.name(), threads.count());
            let html = SpeedPage { timing, against, isa, threads, nodes: times, roofs }.html();
            output::write_whole(path, |file| file.write_all(html.as_bytes()))?;
        }
        nodes = nodes.filter(|_| self.by.is_some());
        let (isa, threads) = (isa.name(), threads.count());
        let onnx = self.against.as_ref().map_or(Ok(false), |path| is_amq(path).map(|amq| !amq))?;
        let benched = Benched { timing, isa, threads, ratio, least_ratio, against, nodes, onnx };
        let outcome = Outcome::of(self.json, &benched, Benched::text)?;
        Ok(Outcome { warnings, ..outcome })
    }
}

fn text(timing: &Timing) -> String {
    let Timing { file, median_us, p99_us, least_us, steps, multiplications, .. } = timing;
    let Timing { quantization, weight_bytes, read_us, .. } = timing;
    let mut text = format!(
        "{file}: a step takes {median_us:.2} us, 99% at most {p99_us:.2} us, the least {least_us:.2} us; \
         {steps} steps\n"
    );
    if *multiplications > 0 {
        text += &format!(
            "  {multiplications} multiplications a step, {:.1} a nanosecond; weights of {weight_bytes} \
             bytes, which a thread reads in {read_us:.2} us; quantizing activations takes {:.0}% of a step\n",
            *multiplications as f64 / (1e3 * least_us),
            100.0 * quantization
        );
    }
    text
}

/// A line for each node that takes a thousandth of the time or more.
fn by_node(times: &[NodeTime]) -> String {
    let mut table = Table::new(&["node", "op", "us", "share"], "llrr");
    let mut others = 0;
    for NodeTime { node, op, median_us, share, .. } in times {
        match *share < 0.001 {
            true => others += 1,
            false => table.row(vec![
                node.clone(),
                (*op).into(),
                format!("{median_us:.2}"),
                format!("{:.1}%", 100.0 * share),
            ]),
        }
    }
    let sum: f64 = times.iter().map(|time| time.median_us).sum();
    format!("{}{others} others; {sum:.2} us in sum, one by one\n\n", table.render())
}

impl Benched {
    fn text(&self) -> String {
        let Benched { timing, isa, threads, ratio, least_ratio, against, nodes, onnx } = self;
        let mut all = nodes.as_deref().map(by_node).unwrap_or_default();
        all += &text(timing);
        if let (Some(against), Some(ratio), Some(least)) = (against, ratio, least_ratio) {
            let words = |ratio: f64| match ratio >= 1.0 {
                true => format!("{ratio:.2} times faster"),
                false => format!("{:.2} times slower", 1.0 / ratio),
            };
            all += &text(against);
            let (ratio, least) = (words(*ratio), words(*least));
            let by = if *onnx { ", which amqc runs in float itself" } else { "" };
            all += &format!(
                "{} is {ratio} than {}{by} (by the least times, {least})\n",
                timing.file, against.file
            );
        }
        all + &format!("isa {isa}, threads {threads}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(file: &str, median_us: f64, p99_us: f64) -> Timing {
        let least_us = median_us / 2.0;
        Timing { file: file.into(), median_us, p99_us, least_us, steps: 1000, ..Timing::default() }
    }

    #[test]
    fn the_ratio_says_its_direction() {
        let text = |mine, other| {
            let timing = timing("a.amq", mine, mine);
            let against = Some(self::timing("b.onnx", other, other));
            let [ratio, least_ratio] = [Some(other / mine); 2];
            let (isa, threads) = ("scalar", 1);
            Benched { timing, isa, threads, ratio, least_ratio, against, nodes: None, onnx: true }
                .text()
        };
        assert!(text(2.0, 10.0).contains(
            "a.amq is 5.00 times faster than b.onnx, which amqc runs in float itself (by the least"
        ));
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
