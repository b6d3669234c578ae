//! Sizes that data decide: names for numbers that are known when a model runs.

use amq_format::Elements;
use amq_format::graph::{BinaryFunction as B, DataType, Dim, Op, ReduceKind, Sizes};

use super::attrs::Reader;
use super::builder::{Builder, Value};
use crate::error::{Error, Result};

/// The most numbers of one tensor that become sizes.
const MOST: i64 = 64;

/// Operators through which it is looked for numbers that are known.
const DEPTH: usize = 16;

impl Reader<'_, '_> {
    /// The numbers of input `i`, which must be there: those that follow from shapes, and new names for
    /// those that data decide. None of these may be negative when the model runs.
    pub(super) fn sizes_input(&mut self, i: usize) -> Result<Vec<Dim>> {
        let value = self.input(i)?;
        self.sizes_of(&format!("sizes_{i}"), value)
    }

    /// As [`Reader::sizes_input`], of a value.
    pub(super) fn sizes_of(&mut self, part: &str, value: Value) -> Result<Vec<Dim>> {
        let known = self.partly_known(value)?;
        if let Some(known) = known.iter().cloned().collect() {
            return Ok(known);
        }
        let found = self.sizes(part, value)?;
        Ok(known.into_iter().zip(found).map(|(known, found)| known.unwrap_or(found)).collect())
    }

    /// The numbers of a value, each where shapes alone decide it.
    pub(super) fn partly_known(&self, value: Value) -> Result<Vec<Option<Dim>>> {
        self.builder.partly_known(value, DEPTH).ok_or_else(|| {
            Error::unsupported("how many sizes there are depends on data, or there are very many")
                .remedy("export the model so that their number is constant")
        })
    }

    /// Names for all numbers of a value, none of which may be negative when the model runs.
    pub(super) fn sizes(&mut self, part: &str, value: Value) -> Result<Vec<Dim>> {
        let found = self.data_type(value).name();
        if matches!(self.data_type(value), DataType::F32 | DataType::Bool) {
            return Err(Error::bad_file(format!("sizes of type {found}")));
        }
        let value = self.cast_to(&format!("{part}_cast"), value, DataType::I64)?;
        if let Some(names) = self.builder.sizes_given(value)? {
            return Ok(names.into_iter().map(Dim::given).collect());
        }
        let count = self.partly_known(value)?.len();
        let outputs =
            self.emit_giving(part, Op::Sizes(Sizes {}), &[Some(value)], &[true], count)?;
        let sizes = outputs.into_iter().flatten().next();
        let sizes = sizes.and_then(|sizes| self.builder.elements_of(sizes));
        let sizes = sizes.map(|sizes| sizes.values.clone());
        sizes.ok_or_else(|| Error::unsupported("its sizes have no names"))
    }

    /// The numbers of a value, which may be negative: each is the difference of two sizes.
    pub(super) fn signed_sizes(&mut self, part: &str, value: Value) -> Result<Vec<Dim>> {
        let value = self.cast_to(&format!("{part}_cast"), value, DataType::I64)?;
        let zero = self.number("zero", DataType::I64, 0)?;
        let above = self.binary(&format!("{part}_above"), B::Max, value, zero)?;
        let negative = self.binary(&format!("{part}_negative"), B::Sub, zero, value)?;
        let below = self.binary(&format!("{part}_below"), B::Max, negative, zero)?;
        let both = self.joined(&format!("{part}_both"), 0, &[above, below])?;
        let sizes = self.sizes(part, both)?;
        let (above, below) = sizes.split_at(sizes.len() / 2);
        above.iter().zip(below).map(|(above, below)| self.dim(above.sub(below))).collect()
    }

    /// The sizes of parts. Where data decide them it is seen when the model runs whether they are the
    /// axis together.
    pub(super) fn split_sizes(&mut self, sizes: Value, size: &Dim) -> Result<Vec<Dim>> {
        if let Some(known) = self.partly_known(sizes)?.into_iter().collect() {
            return Ok(known);
        }
        let sizes = self.cast_to("sizes_cast", sizes, DataType::I64)?;
        let sum = self.reduced("sum", ReduceKind::Sum, sizes, &[0], true)?;
        let size = self.known(DataType::I64, Elements::vector(vec![size.clone()]))?;
        let (less, more) =
            (self.binary("less", B::Sub, size, sum)?, self.binary("more", B::Sub, sum, size)?);
        // One of the two is negative where they are not.
        let all = self.joined("sizes_checked", 0, &[sizes, less, more])?;
        let mut given = self.sizes("sizes", all)?;
        given.truncate(given.len() - 2);
        Ok(given)
    }

    /// Adds an operator that gives so many sizes, and those of its outputs that are wanted.
    pub(super) fn emit_giving(
        &mut self,
        part: &str,
        op: Op,
        inputs: &[Option<Value>],
        wanted: &[bool],
        sizes: usize,
    ) -> Result<Vec<Option<Value>>> {
        let names = (0..sizes).map(|i| match part {
            "" => self.dim_name(&i.to_string()),
            _ => self.dim_name(&format!("{part}.{i}")),
        });
        let names = names.collect();
        let name = self.part_name(part);
        self.builder.emit_giving(&name, op, inputs, wanted, names)
    }
}

impl Builder {
    /// The names that a value's numbers have as sizes already, where the operators stand that are
    /// added now.
    fn sizes_given(&mut self, value: Value) -> Result<Option<Vec<String>>> {
        let id = self.id(value)?;
        let nodes = self.module.graph.nodes.iter();
        let mut sizes = nodes.filter(|node| matches!(node.op, Some(Op::Sizes(_))));
        Ok(sizes.find(|node| node.inputs == [id]).map(|node| node.binds.clone()))
    }

    /// The elements of a value, each where it is known; none where their number is not, or too large.
    fn partly_known(&self, value: Value, depth: usize) -> Option<Vec<Option<Dim>>> {
        if let Some(elements) = self.elements_of(value) {
            return Some(elements.values.iter().cloned().map(Some).collect());
        }
        let dims = self.fact(value).dims.iter().map(Dim::as_size);
        let count = dims.into_iter().try_fold(1, |count: i64, size| count.checked_mul(size?))?;
        let unknown = (0..=MOST).contains(&count).then(|| vec![None; count as usize])?;
        let parts = || {
            let id = self.entries[value.0].id?;
            let mut nodes = self.module.graph.nodes.iter().rev();
            let node = nodes.find(|node| node.outputs.contains(&id))?;
            let number = |fact: DataType| !matches!(fact, DataType::F32 | DataType::Bool);
            let mut inputs = Vec::new();
            for input in &node.inputs {
                inputs.push(Value(*self.owners.get(input)?));
            }
            match &node.op {
                Some(Op::Concat(concat)) if concat.axis == 0 => {}
                Some(Op::Reshape(_)) => {}
                Some(Op::Cast(cast)) => {
                    let from = self.fact(*inputs.first()?).data_type;
                    (number(from) && cast.to() == DataType::I64).then_some(())?;
                }
                _ => return None,
            }
            let depth = depth.checked_sub(1)?;
            let mut parts = Vec::new();
            for input in inputs {
                parts.extend(self.partly_known(input, depth)?);
            }
            Some(parts).filter(|parts| parts.len() == unknown.len())
        };
        Some(parts().unwrap_or(unknown))
    }
}
