//! Gives dimensions that must be equal one name. Exporters name a layer's batch and that of its
//! initial states differently, or not at all; states can only be found where both are the same.

use std::collections::HashMap;

use amq_format::graph::{Dim, Graph, Op};

use crate::error::{Error, Result};
use crate::ir::{Module, fact};

/// Names, each with what stands in its place.
#[derive(Default)]
pub(crate) struct Equal(HashMap<String, Dim>);

pub(crate) fn run(module: &mut Module) -> Result<()> {
    let facts = module.facts()?;
    let mut equal = Equal::default();
    for node in &module.graph.nodes {
        let Some(Op::Recurrent(_)) = &node.op else { continue };
        let batch = |input: usize, axis: usize| {
            fact(&facts, *node.inputs.get(input)?)?.dims.get(axis).cloned()
        };
        // The batch of X; of sequence_lens, initial_h and initial_c.
        let Some(of_x) = batch(0, 1) else { continue };
        for other in [batch(4, 0), batch(5, 1), batch(6, 1)].into_iter().flatten() {
            equal.add(of_x.clone(), other);
        }
    }
    equal.apply(module)
}

impl Equal {
    /// Adds that two dimensions are equal, if one is a name; the first keeps its name.
    pub(crate) fn add(&mut self, first: Dim, second: Dim) {
        let (first, second) = (self.stand_in(first), self.stand_in(second));
        let (name, dim) = match (first.as_name(), second.as_name()) {
            (_, Some(name)) if first.as_name().is_some() || first.as_size().is_some() => {
                (name, &first)
            }
            (Some(name), None) if second.as_size().is_some() => (name, &second),
            _ => return,
        };
        if first != second {
            self.0.insert(name.to_owned(), dim.clone());
        }
    }

    /// Puts `dim` in the place of a name.
    pub(crate) fn replace(&mut self, name: &str, dim: Dim) {
        self.0.insert(name.to_owned(), dim);
    }

    /// What stands in a name's place in the end; other dimensions themselves.
    fn stand_in(&mut self, mut dim: Dim) -> Dim {
        let mut passed = Vec::new();
        while let Some(next) = dim.as_name().and_then(|name| self.0.get(name)) {
            let next = next.clone();
            passed.extend(dim.as_name().map(str::to_owned));
            dim = next;
        }
        for name in passed {
            self.0.insert(name, dim.clone());
        }
        dim
    }

    /// Puts them in the place of the names, wherever the module has dimensions.
    pub(crate) fn apply(mut self, module: &mut Module) -> Result<()> {
        let names: Vec<String> = self.0.keys().cloned().collect();
        for name in names {
            self.stand_in(Dim::named(name));
        }
        if self.0.is_empty() {
            return Ok(());
        }
        self.apply_to(&mut module.graph)
    }

    fn apply_to(&self, graph: &mut Graph) -> Result<()> {
        let of_ports = graph.inputs.iter_mut().chain(&mut graph.outputs);
        let of_ports = of_ports.flat_map(|port| &mut port.dims);
        let of_ops = graph.nodes.iter_mut().filter_map(|node| node.op.as_mut());
        for dim in of_ports.chain(of_ops.flat_map(|op| op.operator_mut().dims_mut()).flatten()) {
            let stand_in =
                |name: &str| Some(self.0.get(name).cloned().unwrap_or_else(|| Dim::named(name)));
            *dim = dim
                .substitute(&stand_in)
                .map_err(|error| Error::unsupported(format!("the dimension {dim}: {error}")))?;
        }
        let bodies = graph.nodes.iter_mut().flat_map(|node| &mut node.bodies);
        bodies.into_iter().try_for_each(|body| self.apply_to(body))
    }
}
