//! Branches and loops.

use std::collections::HashSet;

use amq_format::graph::{
    Binary, BinaryFunction, DataType, Dim, Gather, If, Loop, Node, Op, Slice, Transpose,
};
use amq_format::{Elements, Fact, list};

use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::Value;

const SETTLE: &str =
    "--fix NAME=VALUE makes an input a constant, --dim NAME=N a dimension a number";

pub(in crate::onnx) fn branch(r: &mut Reader<'_, '_>) -> Result<()> {
    let condition = r.input(0)?;
    let bodies = [(r.graph("then_branch")?, "then"), (r.graph("else_branch")?, "else")];
    if let Some(taken) = truth(r, condition)? {
        let (graph, part) = bodies[usize::from(!taken)];
        let outputs = r.inline(graph, part, &[])?;
        return give_all(r, outputs);
    }
    let (mut parts, mut facts, mut like) = (Vec::new(), Vec::new(), Vec::new());
    for (graph, part) in bodies {
        let around = r.builder.open();
        let outputs = match r.inline(graph, part, &[]) {
            Ok(outputs) => outputs,
            Err(error) => {
                r.builder.discard(around);
                return Err(error);
            }
        };
        facts.push(facts_of(r, &outputs));
        like.clone_from(&outputs);
        parts.push(r.builder.close(around, &[], &outputs)?);
    }
    let (mut dims, mut binds) = (Vec::new(), Vec::new());
    for (i, (a, b)) in facts[0].iter().zip(&facts[1]).enumerate() {
        if a.data_type != b.data_type || a.dims.len() != b.dims.len() {
            return Err(Error::unsupported(format!(
                "its branches give {} {} and {} {} as output {i}: one type and number of axes is \
                 supported",
                a.data_type.name(),
                list(&a.dims),
                b.data_type.name(),
                list(&b.dims)
            ))
            .remedy(SETTLE));
        }
        for (axis, (a, b)) in a.dims.iter().zip(&b.dims).enumerate() {
            let known = r.builder.dim_names();
            dims.push(if a == b && a.check(&|name| known.contains(name)).is_ok() {
                a.clone()
            } else {
                let name = r.dim_name(&format!("{i}.{axis}"));
                binds.push(name.clone());
                Dim::given(name)
            });
        }
    }
    let outputs = r.emit_bodies(Op::If(If { dims }), &[condition], parts, binds)?;
    keep_precision(r, &outputs, &like);
    give_all(r, outputs)
}

fn facts_of(r: &Reader<'_, '_>, values: &[Value]) -> Vec<Fact> {
    values.iter().map(|&value| r.builder.fact(value).clone()).collect()
}

/// Floats that come out of a body are of the type that they have in it.
fn keep_precision(r: &mut Reader<'_, '_>, values: &[Value], like: &[Value]) {
    for (&value, &like) in values.iter().zip(like) {
        let precision = r.builder.precision(like);
        r.builder.set_precision(value, precision);
    }
}

fn give_all(r: &mut Reader<'_, '_>, outputs: Vec<Value>) -> Result<()> {
    let (found, needed) = (outputs.len(), r.output_count());
    if found != needed {
        return Err(Error::bad_file(format!("it has {needed} outputs, its body gives {found}")));
    }
    outputs.into_iter().enumerate().try_for_each(|(i, value)| r.give(i, value))
}

/// A condition, where it is known.
fn truth(r: &Reader<'_, '_>, condition: Value) -> Result<Option<bool>> {
    if r.data_type(condition) != DataType::Bool {
        return Err(Error::bad_file("its condition is not of type bool"));
    }
    let known = r.builder.elements_of(condition).and_then(Elements::numbers);
    Ok(known.and_then(|known| match known.as_slice() {
        [truth] => Some(*truth != 0),
        _ => None,
    }))
}

pub(in crate::onnx) fn looped(r: &mut Reader<'_, '_>) -> Result<()> {
    let (count, condition) = (r.optional_input(0), r.optional_input(1));
    let graph = r.graph("body")?;
    let carried = carried(r, 2)?;
    let mut trips = None;
    if let Some(count) = count {
        if r.data_type(count) != DataType::I64 {
            return Err(Error::bad_file("its number of iterations is not of type int64"));
        }
        let known = r.builder.elements_of(count);
        let known = known.filter(|known| known.values.len() == 1);
        trips = known.and_then(|known| known.values.first().cloned());
    }
    if let Some(condition) = condition
        && truth(r, condition)? == Some(false)
    {
        trips = Some(Dim::from(0));
    }
    let rounds = Rounds { carried, count, condition, trips };
    let outputs = rounds.read(r, |r, iteration, carried| {
        let truth = Elements { dims: Vec::new(), values: vec![Dim::from(1)] };
        // It is true in every iteration that takes place.
        let mut inputs = vec![iteration, r.known(DataType::Bool, truth)?];
        inputs.extend(carried);
        let mut outputs = r.inline(graph, "body", &inputs)?;
        if outputs.is_empty() {
            return Err(Error::bad_file("its body has no outputs"));
        }
        let goes_on = outputs.remove(0);
        Ok((Some(goes_on), outputs))
    })?;
    give_all(r, outputs)
}

/// The inputs from one on.
fn carried(r: &mut Reader<'_, '_>, first: usize) -> Result<Vec<Value>> {
    (first..r.input_count()).map(|i| r.input(i)).collect()
}

/// A loop, before it is known how its values change.
pub(super) struct Rounds {
    pub(super) carried: Vec<Value>,
    pub(super) count: Option<Value>,
    pub(super) condition: Option<Value>,
    /// How often at most, where that is known.
    pub(super) trips: Option<Dim>,
}

/// Attempts to find which sizes of carried values change.
const ATTEMPTS: usize = 8;

impl Rounds {
    /// Reads the body, which gives whether to go on and its outputs, and adds the loop; its outputs.
    pub(super) fn read<'r, 'b>(
        self,
        r: &mut Reader<'r, 'b>,
        mut body: impl FnMut(
            &mut Reader<'r, 'b>,
            Value,
            Vec<Value>,
        ) -> Result<(Option<Value>, Vec<Value>)>,
    ) -> Result<Vec<Value>> {
        let name = r.name().to_owned();
        let outer: HashSet<String> = r.builder.dim_names().clone();
        // What is carried has other elements each time, and maybe other sizes.
        let first = facts_of(r, &self.carried);
        let fact = |fact: &Fact| Fact::new(fact.data_type, fact.dims.clone());
        let mut facts: Vec<Fact> = first.iter().map(fact).collect();
        for _ in 0..ATTEMPTS {
            let around = r.builder.open();
            let iteration =
                r.builder.body_input(&format!("{name}/i"), Fact::new(DataType::I64, Vec::new()))?;
            let mut inputs = vec![iteration];
            for fact in &facts {
                inputs.push(r.builder.body_input(&format!("{name}/carried"), fact.clone())?);
            }
            keep_precision(r, &inputs[1..], &self.carried);
            let (goes_on, outputs) = match body(r, iteration, inputs[1..].to_vec()) {
                Ok(read) => read,
                Err(error) => {
                    r.builder.discard(around);
                    return Err(error);
                }
            };
            let given = facts_of(r, &outputs);
            if given.len() < facts.len() {
                return Err(Error::bad_file(
                    "its body has fewer outputs than values that it carries",
                ));
            }
            let mut changed = false;
            for (i, (fact, next)) in facts.iter_mut().zip(&given).enumerate() {
                let fits = fact.data_type == next.data_type && fact.dims.len() == next.dims.len();
                if !fits {
                    return Err(Error::unsupported(format!(
                        "what it carries becomes {} {} after {} {}: the type and the number of axes \
                         must stay",
                        next.data_type.name(),
                        list(&next.dims),
                        fact.data_type.name(),
                        list(&fact.dims)
                    )));
                }
                for (axis, (dim, next)) in fact.dims.iter_mut().zip(&next.dims).enumerate() {
                    if dim != next && dim.as_given().is_none_or(|name| outer.contains(name)) {
                        *dim = Dim::given(r.dim_name(&format!("{i}.{axis}")));
                        changed = true;
                    }
                }
            }
            if changed {
                r.builder.discard(around);
                continue;
            }
            return self.emit(r, (around, &outer), &facts, &inputs, (goes_on, outputs));
        }
        Err(Error::unsupported("the sizes of what it carries change in too many ways"))
    }

    /// Adds the loop whose body was read, after the nodes `around` it; `outer` has the names of
    /// dimensions that are known outside, `facts` what is known of what is carried.
    fn emit(
        self,
        r: &mut Reader<'_, '_>,
        (around, outer): (Vec<Node>, &HashSet<String>),
        facts: &[Fact],
        inputs: &[Value],
        (goes_on, outputs): (Option<Value>, Vec<Value>),
    ) -> Result<Vec<Value>> {
        let known = |r: &Reader<'_, '_>, value: Option<Value>| match value {
            Some(value) => truth(r, value).map(|truth| truth == Some(true)),
            None => Ok(true),
        };
        let (begins, always) = (known(r, self.condition)?, known(r, goes_on)?);
        let never = self.trips == Some(Dim::from(0));
        let conditional = !(never || begins && always);
        let trips = match self.trips.filter(|_| !conditional) {
            Some(trips) => Some(trips.larger(&Dim::from(0)).map_err(|error| {
                Error::unsupported(format!("its number of iterations: {error}"))
            })?),
            None => None,
        };
        let counted = self.count.filter(|_| trips.is_none());
        if !conditional && trips.is_none() && counted.is_none() {
            return Err(Error::unsupported("nothing ends it"));
        }
        let yes = Elements { dims: Vec::new(), values: vec![Dim::from(1)] };
        let yes = r.known(DataType::Bool, yes)?;

        let given = facts_of(r, &outputs);
        let mut all: Vec<Value> = conditional.then(|| goes_on.unwrap_or(yes)).into_iter().collect();
        all.extend(&outputs);
        let part = r.builder.close(around, inputs, &all)?;
        let (mut dims, mut binds) = (Vec::new(), Vec::new());
        for dim in facts.iter().flat_map(|fact| &fact.dims) {
            let own = dim.as_given().filter(|name| !outer.contains(*name));
            binds.extend(own.map(str::to_owned));
            dims.push(dim.clone());
        }
        for (i, fact) in given.iter().enumerate().skip(facts.len()) {
            let length = trips.as_ref().ok_or(());
            let parts = fact
                .dims
                .iter()
                .map(|dim| dim.check(&|name| outer.contains(name)).map(|()| dim).map_err(drop));
            for (axis, dim) in std::iter::once(length).chain(parts).enumerate() {
                dims.push(match dim {
                    Ok(dim) => dim.clone(),
                    Err(()) => {
                        let name = r.dim_name(&format!("{i}.{axis}"));
                        binds.push(name.clone());
                        Dim::given(name)
                    }
                });
            }
        }
        let mut values: Vec<Value> = counted.into_iter().collect();
        values.extend(conditional.then(|| self.condition.unwrap_or(yes)));
        values.extend(self.carried);
        let op = Loop {
            carried: facts.len() as u32,
            trips: trips.into_iter().collect(),
            dims,
            counted: counted.is_some(),
            conditional,
        };
        let results = r.emit_bodies(Op::Loop(op), &values, vec![part], binds)?;
        keep_precision(r, &results, &outputs);
        Ok(results)
    }
}

/// Scan of opset 8: for each entry of a batch by itself.
fn scan_batch(r: &mut Reader<'_, '_>) -> Result<()> {
    let graph = r.graph("body")?;
    if r.optional_input(0).is_some() {
        return Err(Error::unsupported("its lengths of sequences are not supported")
            .remedy("export the model with a newer opset"));
    }
    let (scanned, total) = (r.int("num_scan_inputs")?, r.input_count());
    let scanned = scanned.and_then(|n| usize::try_from(n).ok()).filter(|n| (1..total).contains(n));
    let scanned =
        scanned.ok_or_else(|| Error::bad_file("its attribute num_scan_inputs does not fit"))?;
    let states = total - 1 - scanned;
    let directions = r.ints("directions")?.map_or_else(|| vec![0; scanned], <[i64]>::to_vec);
    if directions.len() != scanned || directions.iter().any(|d| !matches!(d, 0 | 1)) {
        return Err(Error::bad_file(format!("its directions are {directions:?}")));
    }
    let inputs = carried(r, 1)?;
    let dims = r.dims(inputs[states]);
    let [batch, length, ..] = dims.as_slice() else {
        return Err(Error::bad_file("what it scans has fewer than two axes"));
    };
    let last = r.dim(length.add(&Dim::from(-1)))?;
    let rounds = |carried: Vec<Value>, trips: &Dim| Rounds {
        carried,
        count: None,
        condition: None,
        trips: Some(trips.clone()),
    };
    let at = |r: &mut Reader<'_, '_>, part: &str, x: Value, i: Value| {
        r.emit(part, Op::Gather(Gather { axis: 0 }), &[x, i])
    };
    let outputs = rounds(Vec::new(), batch).read(r, |r, entry, _| {
        let own = inputs.iter().map(|&x| at(r, "entry", x, entry)).collect::<Result<Vec<_>>>()?;
        let (first, scans) = own.split_at(states);
        let outputs = rounds(first.to_vec(), length).read(r, |r, step, mut inputs| {
            for (&x, &direction) in scans.iter().zip(&directions) {
                let mut place = step;
                if direction == 1 {
                    let last = Elements { dims: Vec::new(), values: vec![last.clone()] };
                    let last = r.known(DataType::I64, last)?;
                    let function = BinaryFunction::Sub as i32;
                    place = r.emit("back", Op::Binary(Binary { function }), &[last, step])?;
                }
                inputs.push(at(r, "step", x, place)?);
            }
            Ok((None, r.inline(graph, "body", &inputs)?))
        })?;
        Ok((None, outputs))
    })?;
    give_all(r, outputs)
}

pub(in crate::onnx) fn scan(r: &mut Reader<'_, '_>) -> Result<()> {
    if r.opset < 9 {
        return scan_batch(r);
    }
    let graph = r.graph("body")?;
    let scanned = r.int("num_scan_inputs")?;
    let total = r.input_count();
    let scanned = scanned.and_then(|n| usize::try_from(n).ok()).filter(|n| (1..=total).contains(n));
    let scanned =
        scanned.ok_or_else(|| Error::bad_file("its attribute num_scan_inputs does not fit"))?;
    let states = total - scanned;
    let results = graph.output.len().checked_sub(states);
    let results = results.ok_or_else(|| {
        let found = graph.output.len();
        Error::bad_file(format!("its body has {found} outputs, it carries {states} values"))
    })?;
    let mut numbers = |name: &str, count: usize| {
        let given = r.ints(name)?.map_or_else(|| vec![0; count], <[i64]>::to_vec);
        match given.len() == count {
            true => Ok(given),
            false => Err(Error::bad_file(format!("its attribute {name} has not {count} numbers"))),
        }
    };
    let input_axes = numbers("scan_input_axes", scanned)?;
    let input_directions = numbers("scan_input_directions", scanned)?;
    let output_axes = numbers("scan_output_axes", results)?;
    let output_directions = numbers("scan_output_directions", results)?;
    if input_directions.iter().chain(&output_directions).any(|d| !matches!(d, 0 | 1)) {
        return Err(Error::bad_file("a direction is neither 0 nor 1"));
    }
    let carried = (0..states).map(|i| r.input(i)).collect::<Result<Vec<_>>>()?;
    let mut slices = Vec::new();
    for (i, &axis) in input_axes.iter().enumerate() {
        let x = r.input(states + i)?;
        slices.push((x, r.axis(axis, r.rank(x))?, input_directions[i] == 1));
    }
    let (x, axis, _) = slices[0];
    let length = r.dims(x)[axis].clone();
    let rounds = Rounds { carried, count: None, condition: None, trips: Some(length.clone()) };
    let backwards = length.add(&Dim::from(-1));
    let last = backwards.map_err(|e| Error::unsupported(format!("its number of steps: {e}")))?;
    let outputs = rounds.read(r, |r, iteration, carried| {
        let mut inputs = carried;
        for &(x, axis, reverse) in &slices {
            let index = match reverse {
                true => {
                    let last = Elements { dims: Vec::new(), values: vec![last.clone()] };
                    let last = r.known(DataType::I64, last)?;
                    let function = BinaryFunction::Sub as i32;
                    r.emit("back", Op::Binary(Binary { function }), &[last, iteration])?
                }
                false => iteration,
            };
            inputs.push(r.emit("step", Op::Gather(Gather { axis: axis as u32 }), &[x, index])?);
        }
        Ok((None, r.inline(graph, "body", &inputs)?))
    })?;
    let mut all = Vec::new();
    for (i, mut value) in outputs.into_iter().enumerate() {
        if let Some(scan) = i.checked_sub(states) {
            if output_directions[scan] == 1 {
                let slice = Slice {
                    axes: vec![0],
                    starts: vec![Dim::from(-1)],
                    ends: vec![Dim::from(i64::MIN)],
                    steps: vec![-1],
                };
                value = r.emit("turned", Op::Slice(slice), &[value])?;
            }
            let axis = r.axis(output_axes[scan], r.rank(value))?;
            if axis > 0 {
                let mut perm: Vec<u32> = (1..r.rank(value) as u32).collect();
                perm.insert(axis, 0);
                value = r.emit("scan", Op::Transpose(Transpose { perm }), &[value])?;
            }
        }
        all.push(value);
    }
    give_all(r, all)
}
