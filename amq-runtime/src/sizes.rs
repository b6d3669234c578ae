//! Sizes that the inputs of a call give to the names of dimensions.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use amq_format::graph::Dim;

use crate::error::{Error, MisfitKind};
use crate::infer::{Fact, list};
use crate::program::{Port, Program};
use crate::shape::Sizes;

/// Takes the sizes of named dimensions from the shapes that are given, and checks the others. A body
/// knows those of the graph around it, and a size in it may be a name less 1.
pub(crate) fn bind(
    ports: &[Port],
    signature: &[Option<Vec<usize>>],
    outer: Option<&Sizes>,
) -> Result<Sizes, Error> {
    let mut sizes = outer.cloned().unwrap_or_default();
    let given = || ports.iter().zip(signature).filter_map(|(p, s)| Some((p, s.as_ref()?)));
    for (Port { name: input, dims: expected, .. }, dims) in given() {
        if dims.len() != expected.len() {
            let what =
                format!("{input} has shape {}, the model takes {}", list(dims), list(expected));
            return Err(Error::input(MisfitKind::Shape, input, what));
        }
        for (&size, dim) in dims.iter().zip(expected) {
            let given = dim.as_given().filter(|_| outer.is_some());
            let Some(name) = dim.as_name().or(given) else { continue };
            let size = size.saturating_add(usize::from(given.is_some()));
            if size == 0 {
                let dims = list(dims);
                return Err(Error::input(
                    MisfitKind::Shape,
                    input,
                    format!("{input} has shape {dims}: its dimension {name} has to be at least 1"),
                ));
            }
            let size = i64::try_from(size).map_err(|_| {
                let what = format!("dimension {name} of {input} is too large");
                Error::input(MisfitKind::Shape, input, what)
            })?;
            match sizes.get(name) {
                Some((other, first)) if *other != size => {
                    let what =
                        format!("dimension {name} is {other} in {first} and {size} in {input}");
                    return Err(Error::input(MisfitKind::Shape, input, what));
                }
                Some(_) => {}
                None => {
                    sizes.insert(String::from(name), (size, input.clone()));
                }
            }
        }
    }
    for (Port { name: input, dims: expected, .. }, dims) in given() {
        for (axis, (&size, dim)) in dims.iter().zip(expected).enumerate() {
            let fits = dim.eval(&|name| Some(sizes.get(name)?.0));
            let fits = fits.map_err(|why| {
                let what = format!("axis {axis} of {input}: {why}");
                Error::input(MisfitKind::Shape, input, what)
            })?;
            if i64::try_from(size) != Ok(fits) {
                let named = if dim.as_size().is_some() {
                    format!("{fits}")
                } else {
                    format!("{dim} = {fits}")
                };
                let (dims, expected) = (list(dims), list(expected));
                let what = format!(
                    "{input} has shape {dims}, the model takes {expected}: axis {axis} is {size}, it \
                     must be {named}"
                );
                return Err(Error::input(MisfitKind::Shape, input, what));
            }
        }
    }
    Ok(sizes)
}

/// Shapes of all graph inputs; those that are not given must be states.
pub(crate) fn input_shapes(
    program: &Program,
    signature: &[Option<Vec<usize>>],
    sizes: &Sizes,
) -> Result<Vec<Fact>, Error> {
    let (graph, mut facts) = (&program.graph, Vec::with_capacity(signature.len()));
    let states = &graph.states;
    for (i, (port, dims)) in program.inputs.iter().zip(signature).enumerate() {
        let dims = match dims {
            Some(dims) => dims.iter().map(|&size| Dim::from(size as i64)).collect(),
            None if states.iter().any(|state| state.input == graph.inputs[i].value) => {
                let size = |dim: &Dim| dim.eval(&|name| Some(sizes.get(name)?.0)).map(Dim::from);
                port.dims.iter().map(size).collect::<Result<_, _>>().map_err(|why| {
                    let what = format!("state {} is not given and has no shape: {why}", port.name);
                    Error::input(MisfitKind::Missing, &port.name, what)
                })?
            }
            None => {
                let what = format!("input {} is missing", port.name);
                return Err(Error::input(MisfitKind::Missing, &port.name, what));
            }
        };
        facts.push(Fact::new(port.data_type, dims));
    }
    Ok(facts)
}
