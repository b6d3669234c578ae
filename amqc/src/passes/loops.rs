//! Takes out of loops what they leave as it is, and counts the iterations of those whose conditions
//! only compare sizes. Exporters carry weights and counters from one iteration to the next.

use std::collections::BTreeMap;

use amq_format::graph::{
    ABSENT, BinaryFunction, Cast, DataType, Dim, Graph, Loop, Node, Op, Reshape, ValueId,
};

use super::unify::Equal;
use crate::error::{Error, Result};
use crate::ir::{self, Module, fact, producers};
use crate::tensor::{Data, Tensor};

pub(super) fn run(module: &mut Module) -> Result<()> {
    if !module.graph.nodes.iter().any(|node| matches!(node.op, Some(Op::Loop(_)))) {
        return Ok(());
    }
    let facts = module.facts()?;
    let uses = module.uses();
    let mut around = Counts::default();
    for (value, fact) in facts.iter().enumerate() {
        let known = fact.as_ref().and_then(|fact| fact.value.as_ref());
        if let Some([size]) = known.map(|known| known.values.as_slice()) {
            around.0.insert(value as ValueId, Count::of(size.clone()));
        }
    }
    around.0.extend(module.constants.iter().filter_map(|(&value, t)| Some((value, integer(t)?))));
    around.follow(&module.graph.nodes);
    let outer = producers(&module.graph.nodes);
    let nodes = std::mem::take(&mut module.graph.nodes);
    let begins = |condition: ValueId| around.holds(&nodes, &outer, condition) == Some(true);
    let mut equal = Equal::default();
    let mut changed = Vec::with_capacity(nodes.len());
    for node in &nodes {
        let Some(Op::Loop(op)) = &node.op else {
            changed.push(node.clone());
            continue;
        };
        let mut rounds = Rounds { op: op.clone(), node: node.clone(), copies: Vec::new() };
        rounds.release_invariants(&|value| fact(&facts, value).map(|fact| fact.dims.clone()));
        let counters = rounds.counters(&around);
        if let Some(trips) = rounds.trips(&around, &counters, &begins) {
            rounds.count(trips, &mut equal)?;
        }
        rounds.replace_counters(&counters, &|value| uses.contains_key(&value));
        let Rounds { op, mut node, copies } = rounds;
        node.op = Some(Op::Loop(op));
        changed.push(node);
        changed.extend(copies);
    }
    module.graph.nodes = changed;
    equal.apply(module)
}

/// An integer that depends on the number of the iteration: `base + each * number`.
#[derive(Clone, Debug, PartialEq)]
struct Count {
    base: Dim,
    each: i64,
}

impl Count {
    fn of(base: Dim) -> Count {
        Count { base, each: 0 }
    }
}

fn holds_sizes(data_type: DataType) -> bool {
    matches!(data_type, DataType::F32 | DataType::I32 | DataType::I64)
}

/// A constant of one element that is an integer.
fn integer(tensor: &Tensor) -> Option<Count> {
    let number = match &tensor.data {
        // Up to here every integer is a float.
        Data::F32(data) if data.len() == 1 && data[0].abs() <= 16_777_216.0 => {
            (data[0].fract() == 0.0).then_some(data[0] as i64)?
        }
        Data::F32(_) => return None,
        data if data.len() == 1 => *data.integers()?.first()?,
        _ => return None,
    };
    Some(Count::of(Dim::from(number)))
}

/// The integers that are known, by value. Sizes are taken to be exact as floats: they are up to 2^24,
/// and no call has more iterations than that unless it is told to.
#[derive(Clone, Default)]
struct Counts(BTreeMap<ValueId, Count>);

impl Counts {
    /// Adds what follows from those that are known.
    fn follow(&mut self, nodes: &[Node]) {
        for node in nodes {
            let found = match (&node.op, node.inputs.as_slice()) {
                (Some(Op::Cast(cast)), &[x]) if holds_sizes(cast.to()) => self.get(x),
                (Some(Op::Reshape(_)), &[x]) => self.get(x),
                (Some(Op::Binary(op)), &[a, b]) => self.sum(op.function(), a, b),
                _ => None,
            };
            if let (Some(found), Some(&output)) = (found, node.outputs.first()) {
                self.0.entry(output).or_insert(found);
            }
        }
    }

    fn get(&self, value: ValueId) -> Option<Count> {
        self.0.get(&value).cloned()
    }

    fn sum(&self, function: BinaryFunction, a: ValueId, b: ValueId) -> Option<Count> {
        let (a, b) = (self.0.get(&a)?, self.0.get(&b)?);
        let (base, each) = match function {
            BinaryFunction::Add => (a.base.add(&b.base), a.each.checked_add(b.each)),
            BinaryFunction::Sub => (a.base.sub(&b.base), a.each.checked_sub(b.each)),
            _ => return None,
        };
        Some(Count { base: base.ok()?, each: each? })
    }

    /// The comparison `a < b` that a node makes, in integers.
    fn less(&self, node: &Node) -> Option<(Count, Count)> {
        let (Some(Op::Binary(op)), &[a, b]) = (&node.op, node.inputs.as_slice()) else {
            return None;
        };
        let (mut a, mut b) = (self.get(a)?, self.get(b)?);
        let function = op.function();
        if matches!(function, BinaryFunction::Greater | BinaryFunction::GreaterOrEqual) {
            std::mem::swap(&mut a, &mut b);
        }
        match function {
            BinaryFunction::Less | BinaryFunction::Greater => {}
            BinaryFunction::LessOrEqual | BinaryFunction::GreaterOrEqual => {
                b.base = b.base.add(&Dim::from(1)).ok()?;
            }
            _ => return None,
        }
        Some((a, b))
    }

    /// The comparisons that a condition is made of, if it is made of nothing else.
    fn comparisons(
        &self,
        nodes: &[Node],
        given: &BTreeMap<ValueId, usize>,
        condition: ValueId,
    ) -> Option<Vec<(Count, Count)>> {
        let mut found = Vec::new();
        let mut open = vec![condition];
        while let Some(value) = open.pop() {
            if self.0.get(&value) == Some(&Count::of(Dim::from(1))) {
                continue;
            }
            let node = &nodes[*given.get(&value)?];
            match &node.op {
                Some(Op::Binary(op)) if op.function() == BinaryFunction::And => {
                    open.extend(&node.inputs);
                }
                Some(Op::Cast(_) | Op::Reshape(_)) => open.extend(&node.inputs),
                _ => found.push(self.less(node)?),
            }
        }
        Some(found)
    }

    /// Whether a condition that does not depend on iterations is true, if that is known.
    fn holds(
        &self,
        nodes: &[Node],
        given: &BTreeMap<ValueId, usize>,
        condition: ValueId,
    ) -> Option<bool> {
        for (a, b) in self.comparisons(nodes, given, condition)? {
            let next = a.base.add(&Dim::from(1)).ok()?;
            let true_always = a.each == 0 && b.each == 0 && next.smaller(&b.base).ok()? == next;
            true_always.then_some(())?;
        }
        Some(true)
    }
}

/// A value that grows by as much in each iteration.
struct Counter {
    /// Its number among those that are carried.
    carried: usize,
    /// The body's input.
    input: ValueId,
    count: Count,
}

/// A loop that is changed.
struct Rounds {
    op: Loop,
    node: Node,
    /// What gives values that the loop gives no more.
    copies: Vec<Node>,
}

impl Rounds {
    fn body(&self) -> &Graph {
        &self.node.bodies[0]
    }

    /// Outputs of the body before those that are carried.
    fn skipped(&self) -> usize {
        usize::from(self.op.conditional)
    }

    /// Where the sizes of a carried value stand among those of all outputs.
    fn dims_of(&self, carried: usize) -> std::ops::Range<usize> {
        let ranks = self.body().inputs[1..].iter().map(|port| port.dims.len());
        let start = ranks.take(carried).sum();
        start..start + self.body().inputs[1 + carried].dims.len()
    }

    /// Carries a value no more; gives its first value and the output of the loop.
    fn release(&mut self, carried: usize) -> (ValueId, ValueId) {
        let (dims, skipped, leading) = (self.dims_of(carried), self.skipped(), self.op.leading());
        self.op.dims.drain(dims);
        self.op.carried -= 1;
        self.node.bodies[0].inputs.remove(1 + carried);
        self.node.bodies[0].outputs.remove(skipped + carried);
        (self.node.inputs.remove(leading + carried), self.node.outputs.remove(carried))
    }

    /// Captures what each iteration gives as it got it.
    fn release_invariants(&mut self, dims: &dyn Fn(ValueId) -> Option<Vec<Dim>>) {
        let mut carried = 0;
        while carried < self.op.carried as usize {
            let body = self.body();
            let given = producers(&body.nodes);
            let port = body.inputs[1 + carried].clone();
            let next = seen_through(body, &given, body.outputs[self.skipped() + carried].value);
            let first = self.node.inputs[self.op.leading() + carried];
            if next != port.value || dims(first).as_ref() != Some(&port.dims) {
                carried += 1;
                continue;
            }
            let (first, output) = self.release(carried);
            if output != ABSENT {
                let copy = Op::Reshape(Reshape { dims: port.dims.clone() });
                self.copies.push(ir::node(&self.node.name, copy, vec![first], vec![output]));
            }
            let captures = self.op.leading() + self.op.carried as usize;
            let known = self.node.inputs[captures..].iter().position(|&known| known == first);
            match known {
                Some(known) => {
                    let at = 1 + self.op.carried as usize + known;
                    let same = self.body().inputs[at].value;
                    replace(&mut self.node.bodies[0], port.value, same);
                }
                None => {
                    self.node.inputs.push(first);
                    self.node.bodies[0].inputs.push(port);
                }
            }
        }
    }

    /// The carried values that count.
    fn counters(&self, around: &Counts) -> Vec<Counter> {
        let body = self.body();
        let given = producers(&body.nodes);
        let constants = self.known(around);
        let counter = |carried: usize| {
            let input = body.inputs[1 + carried].value;
            let first = around.get(self.node.inputs[self.op.leading() + carried])?;
            let next = seen_through(body, &given, body.outputs[self.skipped() + carried].value);
            let node = &body.nodes[*given.get(&next)?];
            let (Some(Op::Binary(op)), &[a, b]) = (&node.op, node.inputs.as_slice()) else {
                return None;
            };
            let step = match op.function() {
                BinaryFunction::Add if a == input => b,
                BinaryFunction::Add if b == input => a,
                _ => return None,
            };
            let step = constants.get(step).filter(|step| step.each == 0)?.base.as_size()?;
            (first.each == 0).then_some(())?;
            Some(Counter { carried, input, count: Count { base: first.base, each: step } })
        };
        (0..self.op.carried as usize).filter_map(counter).collect()
    }

    /// What is known in the body of its captures and of the iteration.
    fn known(&self, around: &Counts) -> Counts {
        let carried = self.op.carried as usize;
        let captured = self.node.inputs.iter().skip(self.op.leading() + carried);
        let ports = self.body().inputs.iter().skip(1 + carried);
        let known = ports.zip(captured).filter_map(|(port, &v)| Some((port.value, around.get(v)?)));
        let mut known: BTreeMap<_, _> = known.collect();
        known.insert(self.body().inputs[0].value, Count { base: Dim::from(0), each: 1 });
        Counts(known)
    }

    /// How often it runs, where its condition only compares sizes with counters.
    fn trips(
        &self,
        around: &Counts,
        counters: &[Counter],
        begins: &dyn Fn(ValueId) -> bool,
    ) -> Option<Dim> {
        let leading = self.op.leading();
        (self.op.conditional && begins(self.node.inputs[leading - 1])).then_some(())?;
        let mut counts = self.known(around);
        counts.0.extend(counters.iter().map(|counter| (counter.input, counter.count.clone())));
        let body = self.body();
        counts.follow(&body.nodes);
        let given = producers(&body.nodes);
        let one = Dim::from(1);
        let mut limits = Vec::new();
        for (a, b) in counts.comparisons(&body.nodes, &given, body.outputs[0].value)? {
            ((a.each, b.each) == (1, 0)).then_some(())?;
            // It runs once more after the last iteration for which this is true.
            limits.push(b.base.sub(&a.base).ok()?.add(&one).ok()?.larger(&one).ok()?);
        }
        if self.op.counted {
            let most = around.get(self.node.inputs[0])?.base;
            // More than any call may have means no limit.
            if most.as_size().is_none_or(|size| size < i64::from(i32::MAX)) {
                limits.push(most.larger(&Dim::from(0)).ok()?);
            }
        }
        let mut limits = limits.into_iter();
        let first = limits.next()?;
        limits.try_fold(first, |least, limit| limit.smaller(&least).ok())
    }

    /// Lets it run so often, without a condition.
    fn count(&mut self, trips: Dim, equal: &mut Equal) -> Result<()> {
        let more = trips.add(&Dim::from(1)).map_err(|error| {
            Error::unsupported(format!("the iterations of {:?}: {error}", self.node.name))
        })?;
        let leading = self.op.leading();
        self.node.inputs.drain(..leading);
        self.node.bodies[0].outputs.remove(0);
        (self.op.counted, self.op.conditional) = (false, false);
        // Scans have as many parts.
        let carried = self.op.carried as usize;
        let mut at: usize =
            self.body().inputs[1..=carried].iter().map(|port| port.dims.len()).sum();
        for port in &self.node.bodies[0].outputs[carried..] {
            if let Some(name) = self.op.dims[at].as_given()
                && let Some(own) = self.node.binds.iter().position(|own| own == name)
            {
                equal.replace(name, more.clone());
                self.node.binds.remove(own);
            }
            at += 1 + port.dims.len();
        }
        self.op.trips = vec![trips];
        Ok(())
    }

    /// Lets the body read the number of the iteration in place of what counts from 0, where nothing
    /// reads what such a counter is in the end.
    fn replace_counters(&mut self, counters: &[Counter], is_read: &dyn Fn(ValueId) -> bool) {
        for Counter { carried, input, count } in counters.iter().rev() {
            let from_zero = *count == Count { base: Dim::from(0), each: 1 };
            if !from_zero || is_read(self.node.outputs[*carried]) {
                continue;
            }
            let port = self.body().inputs[1 + carried].clone();
            self.release(*carried);
            let body = &mut self.node.bodies[0];
            let number = body.inputs[0].value;
            let name = format!("{}/count", body.values[*input as usize]);
            let cast = body.values.len() as ValueId;
            body.values.push(name.clone());
            let to = Op::Cast(Cast { to: port.data_type });
            let shape = Op::Reshape(Reshape { dims: port.dims });
            let nodes = [
                ir::node(&name, to, vec![number], vec![cast]),
                ir::node(&name, shape, vec![cast], vec![*input]),
            ];
            body.nodes.splice(..0, nodes);
        }
    }
}

/// The value that a value of a body is a copy of.
fn seen_through(body: &Graph, given: &BTreeMap<ValueId, usize>, mut value: ValueId) -> ValueId {
    while let Some(&index) = given.get(&value)
        && let Node { op: Some(Op::Reshape(_)), inputs, .. } = &body.nodes[index]
        && let Some(port) = body.inputs.iter().find(|port| port.value == inputs[0])
        && body.outputs.iter().any(|output| output.value == value && output.dims == port.dims)
    {
        value = port.value;
    }
    value
}

/// Lets a body read `new` where it read `old`.
fn replace(body: &mut Graph, old: ValueId, new: ValueId) {
    let read = body.nodes.iter_mut().flat_map(|node| &mut node.inputs);
    for value in read.chain(body.outputs.iter_mut().map(|port| &mut port.value)) {
        if *value == old {
            *value = new;
        }
    }
}
