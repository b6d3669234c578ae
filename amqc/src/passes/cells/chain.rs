//! Steps that follow each other become a layer.

use std::collections::{BTreeMap, BTreeSet};

use amq_format::graph::{ABSENT, Concat, Dim, Op, Reshape, Slice, ValueId};

use super::cell::{Found, Weights, readings};
use super::expr::{Exprs, Matrix, Source, Step, zeros};
use super::layer::Builder;
use crate::error::Result;
use crate::ir::{Module, Names, in_order};

/// Most layers of a graph that are looked for: each puts all nodes in order anew.
const MOST_LAYERS: usize = 256;

pub(super) fn run(module: &mut Module) -> Result<()> {
    let facts = module.facts()?;
    let exprs = Exprs::new(module, &facts, ABSENT);
    let (order, steps) = steps(module, &exprs);
    let zeros = zeros(module);
    let chains = find(&exprs, &zeros, &order, &steps);
    let plans: Vec<Plan> = chains
        .iter()
        .take(MOST_LAYERS)
        .filter_map(|chain| Plan::new(&exprs, &zeros, chain))
        .collect();
    let mut builder = Builder { names: Names::of(module), module };
    for plan in plans {
        // Each layer that is there lets more depend on each other.
        if !plan.enters_itself(builder.module) {
            plan.emit(&mut builder)?;
            let nodes = std::mem::take(&mut builder.module.graph.nodes);
            builder.module.graph.nodes = in_order(nodes);
        }
    }
    Ok(())
}

/// What each value may be the hidden state after.
fn steps(module: &Module, exprs: &Exprs<'_>) -> (Vec<ValueId>, BTreeMap<ValueId, Vec<Found>>) {
    let (mut order, mut steps) = (Vec::new(), BTreeMap::new());
    for node in &module.graph.nodes {
        let &[output] = node.outputs.as_slice() else { continue };
        let expr = exprs.get(output);
        if expr.value != output {
            continue;
        }
        let mut found = readings(exprs, &expr);
        found.retain(|found| found.weights.is_allowed());
        if !found.is_empty() {
            steps.insert(output, found);
            order.push(output);
        }
    }
    (order, steps)
}

/// The chains of steps, each in the order of time.
fn find<'s>(
    exprs: &Exprs<'_>,
    zeros: &BTreeSet<ValueId>,
    order: &[ValueId],
    steps: &'s BTreeMap<ValueId, Vec<Found>>,
) -> Vec<Vec<&'s Found>> {
    let same = |a: &Matrix, b: &Matrix| {
        (&a.rows, &a.columns) == (&b.rows, &b.columns)
            && (a.value == b.value || exprs.constant(a.value) == exprs.constant(b.value))
    };
    let mut used = BTreeSet::new();
    let mut chains = Vec::new();
    for last in order.iter().rev() {
        if used.contains(last) {
            continue;
        }
        let chains_of = steps[last].iter().filter(|last| last.weights.is_whole()).map(|last| {
            let mut chain = vec![last];
            loop {
                let next = chain[chain.len() - 1];
                let before = next.h.filter(|h| !used.contains(h)).and_then(|h| steps.get(&h));
                let found = before.into_iter().flatten().find(|before| {
                    before.weights.is_of(&last.weights, &same)
                        && before.c.map(|(_, after)| after) == next.c.map(|(before, _)| before)
                        && (before.weights.is_whole()
                            || before.h.is_none_or(|h| zeros.contains(&h)))
                });
                let Some(found) = found else { break };
                chain.push(found);
                if !found.weights.is_whole() {
                    break;
                }
            }
            chain
        });
        let Some(mut chain) = chains_of.max_by_key(Vec::len).filter(|chain| chain.len() > 1) else {
            continue;
        };
        chain.reverse();
        used.extend(chain.iter().map(|found| found.y));
        chains.push(chain);
    }
    chains
}

/// A layer that is to be.
struct Plan {
    weights: Weights,
    /// What enters each step, by part: a value, or an entry of it along an axis.
    entries: Vec<Vec<(ValueId, Option<Slice>)>>,
    /// The first states, where they are not zero.
    states: [Option<ValueId>; 2],
    batch: Dim,
    /// The hidden states, with their shapes.
    y: Vec<(ValueId, Vec<Dim>)>,
    /// The last cell state.
    c: Option<(ValueId, Vec<Dim>)>,
}

impl Plan {
    fn new(exprs: &Exprs<'_>, zeros: &BTreeSet<ValueId>, chain: &[&Found]) -> Option<Plan> {
        let with_dims = |value: ValueId| (value, exprs.dims(value).to_vec());
        let (first, last) = (chain.first()?, chain.last()?);
        let batch = Dim::product(exprs.dims(last.y).split_last()?.1).ok()?;
        let h = first.h.filter(|&h| first.weights.is_whole() && !zeros.contains(&h));
        let c = first.c.map(|(before, _)| before).filter(|c| !zeros.contains(c));
        let c_last = last.c.map(|(_, after)| with_dims(after));
        let y: Vec<_> = chain.iter().map(|found| with_dims(found.y)).collect();
        let entry = |source: &Source| match *source {
            Source::Value(value) => Some((value, None)),
            Source::Step { value, axis, step: Step::Number(number) } => {
                Some((value, Some(entry(axis, number as i64))))
            }
            // Only the bodies of loops have it.
            Source::Step { step: Step::Iteration, .. } => None,
        };
        let entries = (0..first.x.len())
            .map(|part| chain.iter().map(|found| entry(found.x.get(part)?)).collect())
            .collect::<Option<Vec<_>>>()?;
        let weights = last.weights.clone();
        Some(Plan { weights, entries, states: [h, c], batch, y, c: c_last })
    }

    /// Whether what enters a step, beside the states, depends on another step.
    fn enters_itself(&self, module: &Module) -> bool {
        let given = self.y.iter().chain(&self.c);
        let mut dependent: BTreeSet<ValueId> = given.map(|(value, _)| *value).collect();
        for node in &module.graph.nodes {
            if node.inputs.iter().any(|input| dependent.contains(input)) {
                dependent.extend(&node.outputs);
            }
        }
        self.entries.iter().flatten().any(|(value, _)| dependent.contains(value))
    }

    fn emit(self, builder: &mut Builder<'_>) -> Result<()> {
        let Some(name) = self.y.last().map(|(last, _)| builder.module.name(*last).to_owned())
        else {
            return Ok(());
        };
        let dims = |of: usize| vec![Dim::from(1), self.batch.clone(), Dim::from(of as i64)];
        let mut parts = Vec::new();
        for (entries, features) in self.entries.into_iter().zip(self.weights.features()) {
            let mut steps = Vec::new();
            for (value, slice) in entries {
                let value = match slice {
                    Some(slice) => {
                        builder.node(&format!("{name}/x"), Op::Slice(slice), vec![value])
                    }
                    None => value,
                };
                steps.push(builder.shaped(&format!("{name}/x"), value, dims(features)));
            }
            let concat = Op::Concat(Concat { axis: 0 });
            parts.push(builder.node(&format!("{name}/x"), concat, steps));
        }
        let x = builder.joined(&format!("{name}/x"), parts);
        let states = self.states.map(|state| match state {
            Some(state) => {
                builder.shaped(&format!("{name}/state"), state, dims(self.weights.hidden()))
            }
            None => ABSENT,
        });
        let [y, _, c] = builder.layer(&name, &self.weights, [x, states[0], states[1]])?;
        let steps = self.y.len();
        builder.note(&format!("{steps} steps that give {name:?}"), &self.weights);
        let mut given = Vec::new();
        for (number, (value, dims)) in self.y.into_iter().enumerate() {
            let slice = Op::Slice(entry(0, number as i64));
            given.push((value, builder.node(&format!("{name}/y"), slice, vec![y]), dims));
        }
        given.extend(self.c.map(|(value, dims)| (value, c, dims)));
        replace(builder, given);
        Ok(())
    }
}

/// One entry along an axis.
fn entry(axis: usize, number: i64) -> Slice {
    Slice {
        axes: vec![axis as u32],
        starts: vec![Dim::from(number)],
        ends: vec![Dim::from(number + 1)],
        steps: vec![1],
    }
}

/// Lets values be others in these shapes; what gave them gives something that is not read.
fn replace(builder: &mut Builder<'_>, given: Vec<(ValueId, ValueId, Vec<Dim>)>) {
    let mut old = BTreeMap::new();
    for (value, ..) in &given {
        let name = format!("{}/old", builder.module.name(*value));
        let name = builder.names.unique(&name, '.');
        old.insert(*value, builder.module.add_value(name));
    }
    for output in builder.module.graph.nodes.iter_mut().flat_map(|node| &mut node.outputs) {
        *output = *old.get(output).unwrap_or(output);
    }
    for (value, by, dims) in given {
        let name = builder.module.name(value).to_owned();
        builder.module.add_node(&name, Op::Reshape(Reshape { dims }), vec![by], vec![value]);
    }
}
