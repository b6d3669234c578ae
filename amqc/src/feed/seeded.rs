//! Inputs for a model where none are given: valid, and the same each time.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use amq_format::graph::{DataType, Graph, Op, Port, ValueId};

use super::fixed::fixed_sizes;
use crate::data::rounded;
use crate::error::{Error, Result};
use crate::loaded::Loaded;
use crate::names::no_such;
use crate::random::SplitMix64;
use crate::tensor::{Data, Tensor};

/// The most elements of an input.
const MAX_SEEDED: usize = 1 << 30;

/// Sizes by name, for dimensions of inputs of `models` that are no states.
///
/// # Errors
/// A name that no model has, and one with two sizes.
pub fn sizes(dims: &[(String, i64)], models: &[&Loaded]) -> Result<BTreeMap<String, i64>> {
    let mut sizes = BTreeMap::new();
    for (name, size) in dims {
        if !models.iter().any(|model| model.dimensions().contains(name.as_str())) {
            let known = models.iter().flat_map(|model| model.dimensions());
            return Err(no_such("dimension", name, known));
        }
        if sizes.insert(name.clone(), *size).is_some_and(|other| other != *size) {
            return Err(Error::usage(format!("--dim {name} is given twice")));
        }
    }
    Ok(sizes)
}

/// Valid inputs, the same each time, for dimensions of these sizes (where none is given what weights fix, else 1): floats
/// in [-1, 1) that their type holds, and integers that the model can take.
///
/// # Errors
/// Sizes that leave a dimension without one, or make an input larger than 2^30 elements.
pub fn seeded(loaded: &Loaded, sizes: &BTreeMap<String, i64>) -> Result<Vec<(String, Tensor)>> {
    let mut random = SplitMix64(0x5eed);
    let fixed = fixed_sizes(loaded.graph());
    let make = |port: &Port| {
        let name = loaded.name(port.value);
        let fail = |why: String| Error::usage(format!("input {name:?}: {why}"));
        let size_of = |dim: &str| Some(sizes.get(dim).or(fixed.get(dim)).copied().unwrap_or(1));
        let mut dims = Vec::new();
        let mut count = 1usize;
        for dim in &port.dims {
            let size = dim.eval(&size_of).map_err(|error| fail(error.to_string()))?;
            let size = usize::try_from(size).map_err(|_| fail(format!("size {size}")))?;
            count = count
                .checked_mul(size)
                .filter(|&n| n <= MAX_SEEDED)
                .ok_or_else(|| fail("such sizes make it larger than 2^30 elements".into()))?;
            dims.push(size);
        }
        let range = index_range(loaded.graph(), port.value);
        let mut integer = || {
            let span = (range.end - range.start) as u64;
            range.start + (random.next() % span) as i64
        };
        let data = match port.data_type() {
            DataType::I64 => Data::I64((0..count).map(|_| integer()).collect()),
            DataType::I32 => Data::I32((0..count).map(|_| integer() as i32).collect()),
            DataType::U8 => Data::U8((0..count).map(|_| integer() as u8).collect()),
            DataType::I8 => Data::I8((0..count).map(|_| integer() as i8).collect()),
            DataType::I16 => Data::I16((0..count).map(|_| integer() as i16).collect()),
            DataType::U16 => Data::U16((0..count).map(|_| integer() as u16).collect()),
            DataType::U32 => Data::U32((0..count).map(|_| integer() as u32).collect()),
            DataType::U64 => Data::U64((0..count).map(|_| integer() as u64).collect()),
            DataType::Bool => Data::Bool((0..count).map(|_| (random.next() & 1) as u8).collect()),
            DataType::F32 => Data::F32((0..count).map(|_| random.uniform()).collect()),
        };
        let tensor = rounded(Tensor { dims, data }, name, port.precision())?;
        Ok((name.to_owned(), tensor))
    };
    loaded.inputs().map(make).collect()
}

/// Integers that an input may hold: those that index every table it reaches, 1 where it gives
/// lengths of sequences or sizes, else 0.
fn index_range(graph: &Graph, input: ValueId) -> Range<i64> {
    let mut same = BTreeSet::from([input]);
    // What is computed of it too.
    let mut made = same.clone();
    let mut range = None::<Range<i64>>;
    let mut narrow = |other: Range<i64>| {
        range = Some(match &range {
            Some(range) => range.start.max(other.start)..range.end.min(other.end),
            None => other,
        });
    };
    for node in &graph.nodes {
        let reads = |place: usize| node.inputs.get(place).is_some_and(|v| same.contains(v));
        let any = |of: &BTreeSet<ValueId>| node.inputs.iter().any(|value| of.contains(value));
        match &node.op {
            Some(Op::Gather(gather)) if reads(1) => {
                let table = graph.tensors.iter().find(|t| t.value == node.inputs[0]);
                let size = table.and_then(|table| table.dims.get(gather.axis as usize));
                narrow(0..size.map_or(1, |&size| i64::try_from(size).unwrap_or(1)));
            }
            // Entries of an input that holds indices of several tables.
            Some(Op::Gather(_)) if reads(0) => {
                same.extend(&node.outputs);
                made.extend(&node.outputs);
            }
            Some(Op::Recurrent(_)) if reads(4) => narrow(1..2),
            Some(Op::Sizes(_)) if any(&made) => narrow(1..2),
            Some(Op::Binary(_) | Op::Select(_) | Op::Reduce(_) | Op::Gather(_)) if any(&made) => {
                made.extend(&node.outputs);
            }
            Some(
                Op::Cast(_)
                | Op::Reshape(_)
                | Op::Transpose(_)
                | Op::Slice(_)
                | Op::Expand(_)
                | Op::Concat(_),
            ) if any(&made) => {
                if any(&same) {
                    same.extend(&node.outputs);
                }
                made.extend(&node.outputs);
            }
            _ => {}
        }
    }
    // Small enough for every integer type.
    range.filter(|range| !range.is_empty()).unwrap_or(0..1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::tests::{A, Build, ElementType};

    /// Tokens of two tables in one input, as a model of characters and syllables takes them.
    #[test]
    fn integers_reach_each_table_that_they_index() {
        let mut build = Build::new(13).typed("x", ElementType::Int64, "n 2");
        for (table, rows, column) in [("a", 7, 0), ("b", 30, 1)] {
            let (one, at) = (format!("{table}_column"), format!("{table}_at"));
            build = build.weight(table, &[rows, 4]).ints(&at, &[column]);
            build = build.node_with("Gather", &format!("x {at}"), &one, &[("axis", A::I(1))]);
            build = build.node("Gather", &format!("{table} {one}"), &format!("{table}_rows"));
        }
        let build = build.node("Add", "a_rows b_rows", "y").output("y");
        let module = build.import().unwrap();
        let draft = crate::emit::emit(
            module.clone(),
            &crate::plan::Plan { matrices: Vec::new(), raised: Vec::new() },
            &crate::fit::Fitted::default(),
        );
        let path = std::path::Path::new("m.onnx");
        let loaded = Loaded::of_draft(path, &draft, amq_runtime::Isa::detect()).unwrap();
        let input = loaded.inputs().next().unwrap().value;
        assert_eq!(index_range(loaded.graph(), input), 0..7);
    }
}
