//! How long each node of a model takes.

use std::time::{Duration, Instant};

use amq_runtime::{Probe, View};
use serde::Serialize;

use crate::bench::{Products, weight_bytes};
use crate::error::Result;
use crate::feed::seeded::{seeded, sizes};
use crate::loaded::Loaded;
use crate::tensor::views;
use crate::weights::op_name;

/// How long a node takes in a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeTime {
    /// The node.
    pub node: String,
    /// Its operator or cell.
    pub op: &'static str,
    /// Median, by the clock, in microseconds.
    pub median_us: f64,
    /// Of the sum of all nodes' medians.
    pub share: f64,
    /// Multiplications with constant matrices in a step.
    pub multiplications: u64,
    /// Bytes of those matrices, as the file holds them.
    pub weight_bytes: u64,
}

/// Steps that are taken, unless that takes longer than [`PATIENCE`]; but [`FEWEST`] are.
const STEPS: usize = 200;
const FEWEST: usize = 5;
const PATIENCE: Duration = Duration::from_secs(5);

/// Steps a model on seeded inputs, with these sizes of dimensions by name (others are 1), its states carried along, and times
/// each node: the slowest first. Nodes run one by one, those too that a step without a clock runs in one pass.
///
/// # Errors
/// Sizes that the model does not have or cannot take.
pub fn profile(loaded: &Loaded, dims: &[(String, i64)]) -> Result<Vec<NodeTime>> {
    let nodes = &loaded.graph().nodes;
    let inputs = seeded(loaded, &sizes(dims, &[loaded])?)?;
    let shapes = inputs.iter().map(|(name, x)| (name.as_str(), &x.dims[..]));
    let given = loaded.sizes_of(shapes);
    let inputs = views(&inputs);
    let fail = |error| loaded.error_of_sizes(loaded.error(error), &given);
    let mut products = Products::default();
    loaded.session().step_with(&inputs, &mut products).map(|_| ()).map_err(fail)?;
    let mut session = loaded.session();
    let mut taken: Vec<Vec<f64>> = vec![Vec::new(); nodes.len()];
    let start = Instant::now();
    // The first step plans, and is not counted.
    for step in 0..=STEPS {
        if step > FEWEST && start.elapsed() > PATIENCE {
            break;
        }
        let mut clock = Clock { last: Instant::now(), nodes: vec![Duration::ZERO; nodes.len()] };
        session.step_with(&inputs, &mut clock).map(|_| ()).map_err(fail)?;
        if step > 0 {
            let times = taken.iter_mut().zip(&clock.nodes);
            times.for_each(|(taken, time)| taken.push(time.as_secs_f64() * 1e6));
        }
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or(0.0)
    };
    let medians: Vec<f64> = taken.iter_mut().map(median).collect();
    let sum: f64 = medians.iter().sum();
    let time = |(index, &median_us): (usize, &f64)| {
        let multiplications = products.nodes.get(&index).copied().unwrap_or(0);
        NodeTime {
            node: nodes[index].name.clone(),
            op: op_name(&nodes[index]),
            median_us,
            share: if sum > 0.0 { median_us / sum } else { 0.0 },
            multiplications,
            weight_bytes: match multiplications {
                0 => 0,
                _ => weight_bytes(loaded.graph(), [index].into_iter()),
            },
        }
    };
    let mut times: Vec<NodeTime> = medians.iter().enumerate().map(time).collect();
    times.sort_by(|a, b| b.median_us.total_cmp(&a.median_us));
    Ok(times)
}

/// Notes the time between two nodes' outputs.
struct Clock {
    last: Instant,
    nodes: Vec<Duration>,
}

impl Probe for Clock {
    fn wants_products(&self, _: usize) -> bool {
        false
    }

    fn output(&mut self, node: usize, _: usize, _: View<'_>) {
        let now = Instant::now();
        if let Some(time) = self.nodes.get_mut(node) {
            *time += now - self.last;
        }
        self.last = Instant::now();
    }
}
