//! Loops whose body is a step become a layer.

use std::collections::BTreeSet;

use amq_format::graph::{ABSENT, Dim, Loop, Node, Op, Reshape, ValueId};

use super::cell::{Found, readings};
use super::expr::{Exprs, Source, Step, zeros};
use super::layer::Builder;
use crate::error::Result;
use crate::ir::{Module, Names, fact};

pub(super) fn run(module: &mut Module) -> Result<()> {
    if !module.graph.nodes.iter().any(|node| matches!(node.op, Some(Op::Loop(_)))) {
        return Ok(());
    }
    let facts = module.facts()?;
    let (uses, zeros) = (module.uses(), zeros(module));
    let dims = |value: ValueId| fact(&facts, value).map(|fact| fact.dims.clone());
    let mut builder = Builder { names: Names::of(module), module };
    for node in std::mem::take(&mut builder.module.graph.nodes) {
        let plan = match &node.op {
            Some(Op::Loop(op)) => {
                Plan::new(builder.module, &zeros, op, &node, &dims, &|v| uses.contains_key(&v))?
            }
            _ => None,
        };
        match plan {
            Some(plan) => plan.emit(&mut builder, &node.name)?,
            None => builder.module.graph.nodes.push(node),
        }
    }
    Ok(())
}

/// A layer that is to be.
struct Plan {
    found: Found,
    /// The parts of the sequence: each with its axis of steps and its shape.
    x: Vec<(ValueId, usize, Vec<Dim>)>,
    trips: Dim,
    /// The first states.
    states: [Option<ValueId>; 2],
    /// What the loop gives: the last states and the sequence of hidden ones, with their shapes.
    last: [Option<(ValueId, Vec<Dim>)>; 2],
    scans: Vec<(ValueId, Vec<Dim>)>,
    batch: Dim,
}

impl Plan {
    fn new(
        module: &Module,
        zeros: &BTreeSet<ValueId>,
        op: &Loop,
        node: &Node,
        dims: &dyn Fn(ValueId) -> Option<Vec<Dim>>,
        is_read: &dyn Fn(ValueId) -> bool,
    ) -> Result<Option<Plan>> {
        let (Some(trips), false, false) = (op.trips.first(), op.counted, op.conditional) else {
            return Ok(None);
        };
        let carried = op.carried as usize;
        let (body, outer) = module.body(node, 0);
        let facts = body.facts()?;
        let ports = &body.graph.inputs;
        let exprs = Exprs::new(&body, &facts, ports[0].value);
        let next: Vec<ValueId> =
            body.graph.outputs.iter().map(|port| exprs.get(port.value).value).collect();
        let place = |value: ValueId| ports[1..=carried].iter().position(|port| port.value == value);
        // The step whose states are what the loop carries.
        let step = (0..carried).find_map(|h| {
            readings(&exprs, &exprs.get(next[h])).into_iter().find_map(|found| {
                let fits = found.h.and_then(place) == Some(h)
                    && found.weights.is_whole()
                    && found.weights.is_allowed();
                let c = match found.c {
                    Some((before, after)) => Some(place(before).filter(|&c| next[c] == after)?),
                    None => None,
                };
                fits.then_some((found, h, c))
            })
        });
        let Some((mut found, h, c)) = step else { return Ok(None) };
        let with_dims = |value: ValueId| Some((value, dims(value)?));
        let plan = || {
            let part = |source: &Source| {
                let &Source::Step { value, axis, step: Step::Iteration } = source else {
                    return None;
                };
                let value = *outer.get(&value)?;
                let dims = dims(value)?;
                (dims.get(axis) == Some(trips)).then_some((value, axis, dims))
            };
            let x = found.x.iter().map(part).collect::<Option<Vec<_>>>()?;
            // Nothing else may be carried and read, or given by a scan.
            let others = (0..carried).filter(|&i| i != h && Some(i) != c);
            let idle = |i: usize| node.outputs[i] == ABSENT || !is_read(node.outputs[i]);
            others.into_iter().all(idle).then_some(())?;
            let mut scans = Vec::new();
            for (&output, &value) in node.outputs.iter().zip(&next).skip(carried) {
                if output != ABSENT && is_read(output) {
                    (value == found.y).then_some(())?;
                    scans.push(with_dims(output)?);
                }
            }
            let first = |i: usize| node.inputs[op.leading() + i];
            let last = |i: usize| Some(node.outputs[i]).filter(|&v| v != ABSENT && is_read(v));
            let batch = dims(first(h))?;
            let state = |value: ValueId| Some(value).filter(|&value| !zeros.contains(&value));
            Some((
                x,
                [state(first(h)), c.map(first).and_then(state)],
                [last(h).and_then(with_dims), c.and_then(last).and_then(with_dims)],
                scans,
                Dim::product(batch.split_last()?.1).ok()?,
            ))
        };
        let Some((x, states, last, scans, batch)) = plan() else { return Ok(None) };
        // Weights are constants of the graph around.
        for gate in &mut found.weights.gates {
            for matrix in gate.w.iter_mut().chain(&mut gate.r) {
                let Some(&value) = outer.get(&matrix.value) else { return Ok(None) };
                matrix.value = value;
            }
        }
        Ok(Some(Plan { found, x, trips: trips.clone(), states, last, scans, batch }))
    }

    fn emit(self, builder: &mut Builder<'_>, name: &str) -> Result<()> {
        let Plan { found, x, trips, states, last, scans, batch } = self;
        let dims = |steps: Dim, of: usize| vec![steps, batch.clone(), Dim::from(of as i64)];
        let mut parts = Vec::new();
        for ((value, axis, of_x), features) in x.into_iter().zip(found.weights.features()) {
            let name = &format!("{name}/x");
            let turned = builder.turned(name, value, of_x.len(), axis, true);
            parts.push(builder.shaped(name, turned, dims(trips.clone(), features)));
        }
        let x = builder.joined(&format!("{name}/x"), parts);
        let hidden = found.weights.hidden();
        let states = states.map(|state| match state {
            Some(state) => {
                builder.shaped(&format!("{name}/state"), state, dims(Dim::from(1), hidden))
            }
            None => ABSENT,
        });
        let [y, h, c] = builder.layer(name, &found.weights, [x, states[0], states[1]])?;
        builder.note(&format!("the loop {name:?}"), &found.weights);
        let given = scans.into_iter().map(|scan| (y, scan));
        let last = [h, c].into_iter().zip(last).filter_map(|(from, last)| Some((from, last?)));
        for (from, (value, dims)) in given.chain(last) {
            let shape = Op::Reshape(Reshape { dims });
            builder.module.add_node(name, shape, vec![from], vec![value]);
        }
        Ok(())
    }
}
