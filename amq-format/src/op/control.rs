//! Branches and loops: operators that run graphs.

use crate::dim::Dim;
use crate::error::Rule;
use crate::fact::{Fact, Facts, list, same};
use crate::fault::{Fault, Refusal, refuse_unless};
use crate::operator::{Arity, Captures, Operator, holds_dims, no_slots, unchanged};
use crate::spec::MAX_RANK;
use crate::value::DataType;
use crate::{ensure, fault};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// One of two graphs, by a condition.
///
/// Inputs: condition bool, one element; captures. Bodies: what runs if it is true, and if it is
/// false; their inputs are the captures. Outputs: those of the body that runs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct If {
    /// The shapes of all outputs, one after the other. Where they depend on which body runs, the sizes
    /// are such as the node gives.
    #[prost(message, repeated, tag = "1")]
    pub dims: Vec<Dim>,
}

impl Operator for If {
    fn arity(&self) -> Arity {
        Arity::of_bodies(2, Captures { first: 1, at: 0 })
    }

    unchanged!();

    fn attributes(&self) -> Result<(), Refusal> {
        check_dims(&self.dims)
    }

    no_slots!();
    holds_dims!(1 dims);

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        one_element("its condition", inputs.get(0)?, DataType::Bool)?;
        let captures = captures(inputs, 1)?;
        let then = inputs.bodies.infer(0, &captures)?;
        let otherwise = inputs.bodies.infer(1, &captures)?;
        let (a, b) = (then.len(), otherwise.len());
        ensure!(a == b, "its bodies have {a} and {b} outputs");
        for (i, (a, b)) in then.iter().zip(&otherwise).enumerate() {
            let (one, other) = (a.data_type.name(), b.data_type.name());
            ensure!(one == other, "output {i} is {one} or {other}, by which body runs");
            let (one, other) = (list(&a.dims), list(&b.dims));
            ensure!(
                a.dims.len() == b.dims.len(),
                "output {i} has shape {one} or {other}, by which body runs: its number of axes must \
                 be the same"
            );
        }
        let ranks = then.iter().map(|fact| fact.dims.len());
        let shapes = divide(&self.dims, ranks)?;
        check_binds(&self.dims, inputs.bodies.binds())?;
        let output = |(i, (shape, fact)): (usize, (Vec<Dim>, &Fact))| {
            fits(&format!("output {i}"), &fact.dims, &shape)?;
            fits(&format!("output {i}"), &otherwise[i].dims, &shape)?;
            Ok(Fact::new(fact.data_type, shape))
        };
        shapes.into_iter().zip(&then).enumerate().map(output).collect()
    }

    fn work(&self, _: &[Option<&Fact>], _: i64, _: i64) -> Option<i64> {
        None
    }

    fn text(&self) -> String {
        format!("If({})", list(&self.dims))
    }
}

/// A graph that runs again and again, each time with what it gave the time before.
///
/// Inputs: how often at most, i64, one element, if it is `counted`; whether to begin at all, bool, one
/// element, if it is `conditional`; the first values of what is carried; captures. Body's inputs: the
/// number of the iteration, i64 without axes; what is carried; the captures. Body's outputs: whether to
/// go on, bool, one element, if it is `conditional`; the next values of what is carried; and the parts
/// of scans. Outputs: the last values of what is carried; scans, which are their parts one after the
/// other along a new first axis.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Loop {
    /// How many values are carried.
    #[prost(uint32, tag = "1")]
    pub carried: u32,
    /// How often, where that is known from shapes: one, or none.
    #[prost(message, repeated, tag = "2")]
    pub trips: Vec<Dim>,
    /// The shapes of all outputs, one after the other.
    #[prost(message, repeated, tag = "3")]
    pub dims: Vec<Dim>,
    /// Whether it takes an input that says how often at most.
    #[prost(bool, tag = "4")]
    pub counted: bool,
    /// Whether it ends when the body says so.
    #[prost(bool, tag = "5")]
    pub conditional: bool,
}

impl Loop {
    /// Number of inputs before those that are carried.
    pub fn leading(&self) -> usize {
        usize::from(self.counted) + usize::from(self.conditional)
    }
}

impl Operator for Loop {
    fn arity(&self) -> Arity {
        let carried = self.carried as usize;
        Arity::of_bodies(1, Captures { first: self.leading() + carried, at: 1 + carried })
    }

    unchanged!();

    fn attributes(&self) -> Result<(), Refusal> {
        check_dims(&self.dims)?;
        let (trips, counted) = (self.trips.len(), self.counted);
        refuse_unless(trips <= 1 && !(trips == 1 && counted), Rule::G11, || {
            format!("it has {trips} numbers of iterations beside its input")
        })
    }

    no_slots!();
    holds_dims!(2 trips, 3 dims);

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let carried = self.carried as usize;
        let ends = self.counted || self.conditional || !self.trips.is_empty();
        ensure!(ends, "nothing ends it");
        if self.counted {
            one_element("its number of iterations", inputs.get(0)?, DataType::I64)?;
        }
        if self.conditional {
            let condition = inputs.get(usize::from(self.counted))?;
            one_element("its condition", condition, DataType::Bool)?;
        }
        let mut facts = inputs.bodies.inputs(0);
        let declared = facts.len();
        ensure!(declared > carried, "its body has {declared} inputs, it carries {carried}");
        one_element("its body's first input", &facts[0], DataType::I64)?;
        facts.truncate(1 + carried);
        for (i, fact) in facts[1..].iter().enumerate() {
            alike(&format!("carried value {i} at first"), inputs.get(self.leading() + i)?, fact)?;
        }
        facts.extend(captures(inputs, self.leading() + carried)?);
        let given = inputs.bodies.infer(0, &facts)?;
        let skipped = usize::from(self.conditional);
        let (found, needed) = (given.len(), skipped + carried);
        ensure!(found >= needed, "its body has {found} outputs, it needs {needed}");
        if self.conditional {
            one_element("its body's first output", &given[0], DataType::Bool)?;
        }
        let given = &given[skipped..];
        for (i, (fact, next)) in facts[1..].iter().zip(&given[..carried]).enumerate() {
            alike(&format!("carried value {i} in the body"), next, fact)?;
        }
        let scan = |i: usize| usize::from(i >= carried);
        let ranks = given.iter().enumerate().map(|(i, fact)| fact.dims.len() + scan(i));
        let shapes = divide(&self.dims, ranks)?;
        check_binds(&self.dims, inputs.bodies.binds())?;
        let output = |(i, (shape, fact)): (usize, (Vec<Dim>, &Fact))| {
            fits(&format!("output {i}"), &fact.dims, &shape[scan(i)..])?;
            Ok(Fact::new(fact.data_type, shape))
        };
        shapes.into_iter().zip(given).enumerate().map(output).collect()
    }

    fn work(&self, _: &[Option<&Fact>], _: i64, _: i64) -> Option<i64> {
        None
    }

    fn text(&self) -> String {
        let trips = self.trips.first().map(|trips| format!("{trips} times, "));
        let conditional = if self.conditional { "while, " } else { "" };
        let trips = trips.unwrap_or_default();
        format!("Loop({trips}{conditional}carried {}, {})", self.carried, list(&self.dims))
    }
}

fn check_dims(dims: &[Dim]) -> Result<(), Refusal> {
    let negative = dims.iter().filter_map(Dim::as_size).find(|&size| size < 0);
    negative.map_or(Ok(()), |size| Err((Rule::G12, format!("dimension {size}"))))
}

fn one_element(what: &str, fact: &Fact, data_type: DataType) -> Result<(), Fault> {
    let (found, expected) = (fact.data_type.name(), data_type.name());
    ensure!(found == expected, "{what} is {found}, it must be {expected}");
    let one = fact.dims.iter().all(|dim| dim.as_size().is_none_or(|size| size == 1));
    ensure!(one, "{what} has shape {}, it must have one element", list(&fact.dims));
    Ok(())
}

/// What is known of the inputs from one on, none of which is absent.
fn captures(inputs: &Facts<'_>, first: usize) -> Result<Vec<Fact>, Fault> {
    (first..inputs.len()).map(|i| inputs.get(i).cloned()).collect()
}

/// Type and shape must be those of another, as far as that is known.
fn alike(what: &str, found: &Fact, expected: &Fact) -> Result<(), Fault> {
    let (a, b) = (found.data_type.name(), expected.data_type.name());
    ensure!(a == b, "{what} is {a}, it must be {b}");
    fits(what, &found.dims, &expected.dims)
}

fn fits(what: &str, found: &[Dim], expected: &[Dim]) -> Result<(), Fault> {
    let (shown, needed) = (list(found), list(expected));
    ensure!(found.len() == expected.len(), "{what} has shape {shown}, it must be {needed}");
    let mut axes = found.iter().zip(expected).enumerate();
    axes.try_for_each(|(axis, (a, b))| same(&format!("axis {axis} of {what}"), a, b))
}

/// Shapes with these numbers of axes.
fn divide(dims: &[Dim], ranks: impl Iterator<Item = usize>) -> Result<Vec<Vec<Dim>>, Fault> {
    let mut rest = dims;
    let mut shapes = vec![];
    for rank in ranks {
        ensure!(rank <= MAX_RANK, "an output has {rank} axes, {MAX_RANK} are possible");
        let parts = rest.split_at_checked(rank);
        let (shape, after) = parts.ok_or_else(|| fault!("it states too few sizes of outputs"))?;
        shapes.push(shape.to_vec());
        rest = after;
    }
    ensure!(rest.is_empty(), "it states {} sizes that no output has", rest.len());
    Ok(shapes)
}

/// The sizes that a node gives are those of `dims` that have its names, in the order in which they
/// first stand there.
fn check_binds(dims: &[Dim], binds: &[String]) -> Result<(), Fault> {
    let mut names: Vec<&str> = Vec::new();
    for name in dims.iter().filter_map(Dim::as_given) {
        if binds.iter().any(|own| own == name) && !names.contains(&name) {
            names.push(name);
        }
    }
    ensure!(
        names.iter().eq(binds),
        "it gives sizes {}, its outputs have {}",
        list(binds),
        list(&names)
    );
    Ok(())
}
