//! How long a step of a model takes.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use amq_format::graph::{CoefficientType, Graph, Tensor};
use amq_format::multi_bit_bytes;
use amq_runtime::{Probe, Product, Session, View};
use serde::Serialize;

use crate::error::Result;
use crate::feed::seeded::{seeded, sizes};
use crate::loaded::Loaded;
use crate::tensor::views;

/// How long the steps of a model took.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Timing {
    /// The model's file.
    pub file: String,
    /// Median of a step, by the clock, in microseconds.
    pub median_us: f64,
    /// What 99% of the steps took at most, by the clock, in microseconds.
    pub p99_us: f64,
    /// The least of all slices: what a step of the slice took of the processor, in microseconds. On
    /// several threads by the clock.
    pub least_us: f64,
    /// Steps that were measured.
    pub steps: usize,
    /// Multiplications with constant matrices in a step.
    pub multiplications: u64,
    /// Bytes of those matrices, as the file holds them.
    pub weight_bytes: u64,
    /// What the quantization of activations takes of a step, as a share of its time.
    pub quantization: f64,
    /// The least time in which one thread reads so many bytes again and again, in microseconds: no step
    /// takes less.
    pub read_us: f64,
}

/// Steps the models by turns, so that all meet the same conditions: on seeded inputs, with these sizes
/// of dimensions by name (others are 1), their states carried along. `cold` steps find nothing of their
/// model in caches. Gives a timing for each.
///
/// # Errors
/// Sizes that no model has or can take.
pub fn bench(models: &[&Loaded], dims: &[(String, i64)], cold: bool) -> Result<Vec<Timing>> {
    let sizes = sizes(dims, models)?;
    let inputs: Vec<_> = models.iter().map(|model| seeded(model, &sizes)).collect::<Result<_>>()?;
    let mut runs: Vec<_> = (models.iter().zip(&inputs))
        .map(|(model, inputs)| Steps::new(model, views(inputs)))
        .collect::<Result<_>>()?;
    let mut other = cold.then(|| Read::new(EVICTING));
    measure(&mut runs, |run| match &mut other {
        None => run.slice(),
        Some(other) => run.cold_step(other),
    })?;
    Ok(runs.into_iter().map(Steps::timing).collect())
}

/// A model that is stepped and timed.
struct Steps<'a> {
    loaded: &'a Loaded,
    inputs: Vec<(&'a str, View<'a>)>,
    session: Session,
    started: Instant,
    nanoseconds: Vec<u64>,
    /// Of each slice, nanoseconds of the processor a step.
    slices: Vec<f64>,
    multiplications: u64,
    /// The share of quantization.
    quantization: f64,
    read: Read,
}

impl<'a> Steps<'a> {
    fn new(loaded: &'a Loaded, inputs: Vec<(&'a str, View<'a>)>) -> Result<Steps<'a>> {
        let shapes = inputs.iter().map(|(name, view)| (*name, view.dims));
        let sizes = loaded.sizes_of(shapes);
        let mut products = Products::default();
        let counted = loaded.session().step_with(&inputs, &mut products).map(|_| ());
        // Inputs are seeded: what does not fit is their sizes.
        counted.map_err(|error| loaded.error_of_sizes(loaded.error(error), &sizes))?;
        Ok(Steps {
            loaded,
            inputs,
            session: loaded.session(),
            started: Instant::now(),
            nanoseconds: Vec::new(),
            slices: Vec::new(),
            multiplications: products.nodes.values().sum(),
            quantization: 0.0,
            read: Read::new(weight_bytes(loaded.graph(), products.nodes.keys().copied())),
        })
    }

    fn step(&mut self) -> Result<()> {
        let stepped = self.session.step(&self.inputs).map(|_| ());
        stepped.map_err(|error| self.loaded.error(error))
    }

    /// Steps for as long as a slice lasts, half of it one by one, then as often without looking at a
    /// clock in between.
    fn slice(&mut self) -> Result<()> {
        let start = Instant::now();
        let mut steps = 0u32;
        while steps == 0 || start.elapsed() < SLICE / 2 {
            let start = Instant::now();
            self.step()?;
            let taken = start.elapsed().as_nanos();
            self.nanoseconds.push(u64::try_from(taken).unwrap_or(u64::MAX));
            steps += 1;
        }
        let start = self.clock();
        for _ in 0..steps {
            self.step()?;
        }
        self.slices.push((self.clock() - start).as_nanos() as f64 / f64::from(steps));
        Ok(())
    }

    /// One step, after other memory was read, so that nothing of the model is left in caches.
    fn cold_step(&mut self, other: &mut Read) -> Result<()> {
        other.once();
        let start = Instant::now();
        let clock = self.clock();
        self.step()?;
        self.slices.push((self.clock() - clock).as_nanos() as f64);
        self.nanoseconds.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Finds the share of quantization, in steps of their own: the meter takes time, too.
    fn meter(&mut self) -> Result<()> {
        static START: OnceLock<Instant> = OnceLock::new();
        let now = || START.get_or_init(Instant::now).elapsed();
        self.session.meter_quantization(now);
        let start = now();
        while now() - start < READING {
            self.step()?;
        }
        let taken = (now() - start).as_secs_f64();
        self.quantization = self.session.quantization_time().as_secs_f64() / taken;
        Ok(())
    }

    /// A time from which only differences tell: of the processor for this thread, where it runs alone.
    fn clock(&self) -> Duration {
        match self.loaded.threads.count() {
            1 => processor_time(),
            _ => self.started.elapsed(),
        }
    }

    fn timing(mut self) -> Timing {
        self.nanoseconds.sort_unstable();
        let steps = self.nanoseconds.len();
        let at = |per_cent: usize| self.nanoseconds[(steps * per_cent).div_ceil(100) - 1] as f64;
        Timing {
            file: self.loaded.path.display().to_string(),
            median_us: at(50) / 1e3,
            p99_us: at(99) / 1e3,
            least_us: self.slices.iter().copied().fold(f64::INFINITY, f64::min) / 1e3,
            steps,
            multiplications: self.multiplications,
            quantization: self.quantization,
            weight_bytes: 8 * self.read.words.len() as u64,
            read_us: self.read.nanoseconds() / 1e3,
        }
    }
}

/// What this thread has used of a processor.
#[cfg(unix)]
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The system does not tell what a thread has used: time by the clock.
#[cfg(not(unix))]
fn processor_time() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// Counts what products do.
#[derive(Default)]
pub(crate) struct Products {
    /// By node, multiplications with its constant matrices.
    pub(crate) nodes: BTreeMap<usize, u64>,
}

impl Probe for Products {
    fn product(&mut self, product: &Product<'_>) {
        let multiplications = product.results.len() as u64 * product.columns as u64;
        *self.nodes.entry(product.node).or_default() += multiplications;
    }
}

/// Bytes of the constants that these nodes read.
pub(crate) fn weight_bytes(graph: &Graph, nodes: impl Iterator<Item = usize>) -> u64 {
    let inputs = nodes.filter_map(|node| graph.nodes.get(node));
    let read: BTreeSet<_> = inputs.flat_map(|node| &node.inputs).collect();
    let bytes = |tensor: &Tensor| {
        let elements: u64 = tensor.dims.iter().product();
        let Some(codes) = &tensor.multi_bit else {
            return Some(elements * tensor.data_type().size() as u64);
        };
        let columns = elements.checked_div(codes.rows)?;
        let groups = columns.checked_div(codes.group).map_or(1, |_| columns.div_ceil(codes.group));
        let size = if codes.coefficients() == CoefficientType::F16 { 2 } else { 4 };
        multi_bit_bytes(codes.rows, columns, codes.bits, groups, size, codes.offset)
    };
    graph.tensors.iter().filter(|tensor| read.contains(&tensor.value)).filter_map(bytes).sum()
}

/// Memory that is read as fast as it can be.
pub(crate) struct Read {
    words: Vec<u64>,
    least: Duration,
}

impl Read {
    pub(crate) fn new(bytes: u64) -> Read {
        let words = usize::try_from(bytes / 8).unwrap_or(0);
        // Written, so that each page is its own.
        Read { words: vec![1; words], least: Duration::MAX }
    }

    /// Reads again and again, for a while. Not between steps: it evicts what they left in caches.
    fn measure(&mut self) {
        let start = Instant::now();
        while self.least == Duration::MAX || start.elapsed() < READING {
            self.once();
        }
    }

    pub(crate) fn once(&mut self) {
        let start = Instant::now();
        let mut sums = [0u64; 32];
        let words = black_box(&self.words).as_chunks::<32>().0;
        words
            .iter()
            .for_each(|words| sums.iter_mut().zip(words).for_each(|(sum, word)| *sum ^= word));
        black_box(sums);
        self.least = self.least.min(start.elapsed());
    }

    /// The least time in which all was read.
    pub(crate) fn nanoseconds(&self) -> f64 {
        self.least.as_nanos() as f64
    }
}

/// How long a model has its turn, if its steps are shorter: less than a scheduler's slice.
const SLICE: Duration = Duration::from_millis(1);
/// Bytes that are read to leave nothing else in caches.
const EVICTING: u64 = 256 << 20;
/// Steps that are measured at least, unless that takes longer than `PATIENCE`.
const LEAST_STEPS: usize = 200;
const LEAST_TIME: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);
const READING: Duration = Duration::from_millis(20);
const WARM_UP: Duration = Duration::from_millis(100);

/// Lets the models take turns until there are enough steps of each.
fn measure<'a>(
    runs: &mut [Steps<'a>],
    mut turn: impl FnMut(&mut Steps<'a>) -> Result<()>,
) -> Result<()> {
    let models = u32::try_from(runs.len()).unwrap_or(1);
    let start = Instant::now();
    while start.elapsed() < WARM_UP * models {
        for run in &mut *runs {
            turn(run)?;
        }
    }
    for run in &mut *runs {
        run.nanoseconds.clear();
        run.slices.clear();
    }
    let start = Instant::now();
    loop {
        for run in &mut *runs {
            turn(run)?;
        }
        let elapsed = start.elapsed();
        let enough = runs.iter().all(|run| run.nanoseconds.len() >= LEAST_STEPS);
        if enough && elapsed >= LEAST_TIME * models || elapsed >= PATIENCE {
            break;
        }
    }
    for run in runs {
        run.meter()?;
        run.read.measure();
    }
    Ok(())
}

impl Timing {
    /// Why the figures may not be those of the model, if there is a reason.
    pub fn warning(&self) -> Option<String> {
        let Timing { file, median_us, p99_us, steps, .. } = self;
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
        Timing { file: file.into(), median_us, p99_us, steps: 1000, ..Timing::default() }
    }

    #[test]
    fn unsteady_measurements_are_told() {
        assert!(timing("a", 1.0, 4.0).warning().is_some());
        assert!(timing("a", 1.0, 2.0).warning().is_none());
        assert!(Timing { steps: 3, ..timing("a", 1.0, 1.0) }.warning().is_some());
    }
}
