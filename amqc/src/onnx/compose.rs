//! Operators that many readers compose others of.

use amq_format::graph::{
    Binary, BinaryFunction, Cast, Concat, Cumulative, CumulativeKind, DataType, Dim, Expand, Op,
    Reduce, ReduceKind, Select, Slice, Unary, UnaryFunction,
};

use super::attrs::Reader;
use super::builder::Value;
use crate::error::{Error, Result};
use crate::tensor::{Data, Tensor};

impl Reader<'_, '_> {
    /// A function without parameters.
    pub(super) fn unary(&mut self, part: &str, of: UnaryFunction, x: Value) -> Result<Value> {
        self.emit(part, Op::Unary(Unary { function: of.into(), alpha: 0.0, beta: 0.0 }), &[x])
    }

    /// A function of two tensors.
    pub(super) fn binary(
        &mut self,
        part: &str,
        of: BinaryFunction,
        a: Value,
        b: Value,
    ) -> Result<Value> {
        self.emit(part, Op::Binary(Binary { function: of.into() }), &[a, b])
    }

    /// A function of a tensor and a float.
    pub(super) fn with_scalar(
        &mut self,
        part: &str,
        of: BinaryFunction,
        a: Value,
        b: f32,
    ) -> Result<Value> {
        let b = self.scalar(&format!("{part}_by"), b)?;
        self.binary(part, of, a, b)
    }

    /// `a` where the condition holds, else `b`.
    pub(super) fn select(
        &mut self,
        part: &str,
        condition: Value,
        a: Value,
        b: Value,
    ) -> Result<Value> {
        self.emit(part, Op::Select(Select {}), &[condition, a, b])
    }

    /// A reduction over axes.
    pub(super) fn reduced(
        &mut self,
        part: &str,
        kind: ReduceKind,
        x: Value,
        axes: &[usize],
        keep_dims: bool,
    ) -> Result<Value> {
        let mut axes: Vec<u32> = axes.iter().map(|&axis| axis as u32).collect();
        axes.sort_unstable();
        self.emit(part, Op::Reduce(Reduce { kind: kind.into(), axes, keep_dims }), &[x])
    }

    /// `x` in a type, which needs no operator where it has that type already.
    pub(super) fn cast_to(&mut self, part: &str, x: Value, to: DataType) -> Result<Value> {
        if self.data_type(x) == to {
            return Ok(x);
        }
        self.emit(part, Op::Cast(Cast { to: to.into() }), &[x])
    }

    /// Tensors one after the other.
    pub(super) fn joined(&mut self, part: &str, axis: usize, parts: &[Value]) -> Result<Value> {
        self.emit(part, Op::Concat(Concat { axis: axis as u32 }), parts)
    }

    /// Entries from start to end along an axis.
    pub(super) fn sliced(
        &mut self,
        part: &str,
        x: Value,
        axis: usize,
        (start, end, step): (Dim, Dim, i64),
    ) -> Result<Value> {
        let slice = Slice {
            axes: vec![axis as u32],
            starts: vec![start],
            ends: vec![end],
            steps: vec![step],
        };
        self.emit(part, Op::Slice(slice), &[x])
    }

    /// `x` broadcast together with a shape.
    pub(super) fn expanded(&mut self, part: &str, x: Value, dims: Vec<Dim>) -> Result<Value> {
        self.emit(part, Op::Expand(Expand { dims }), &[x])
    }

    /// A number as a scalar of a type.
    pub(super) fn number(&mut self, part: &str, data_type: DataType, number: i64) -> Result<Value> {
        let data = match data_type {
            DataType::F32 => Data::F32(vec![number as f32]),
            _ => Data::from_integers(data_type, &[number]).ok_or_else(|| {
                Error::unsupported(format!("{number} is no number of type {}", data_type.name()))
            })?,
        };
        self.constant(part, Tensor { dims: Vec::new(), data })
    }

    /// The integers from 0 on, so many.
    pub(super) fn count_up(&mut self, part: &str, count: &Dim) -> Result<Value> {
        let one = self.number(&format!("{part}_one"), DataType::I64, 1)?;
        let ones = self.expanded(&format!("{part}_ones"), one, vec![count.clone()])?;
        let sum = Cumulative {
            kind: CumulativeKind::Sum.into(),
            axis: 0,
            exclusive: true,
            reverse: false,
        };
        self.emit(part, Op::Cumulative(sum), &[ones])
    }

    /// `|x|`, of integers too.
    pub(super) fn magnitude(&mut self, part: &str, x: Value) -> Result<Value> {
        match self.data_type(x) {
            DataType::U8 | DataType::U16 | DataType::U32 | DataType::U64 => Ok(x),
            DataType::I64 | DataType::I32 | DataType::I16 | DataType::I8 => {
                let zero = self.number("zero", self.data_type(x), 0)?;
                let negative = self.binary("negative", BinaryFunction::Sub, zero, x)?;
                self.binary(part, BinaryFunction::Max, x, negative)
            }
            DataType::F32 | DataType::Bool => self.unary(part, UnaryFunction::Abs, x),
        }
    }

    /// A dimension as a count that the result of an operator shows.
    pub(super) fn dim<T>(
        &self,
        dim: std::result::Result<T, amq_format::graph::DimError>,
    ) -> Result<T> {
        dim.map_err(|error| Error::unsupported(error.to_string()))
    }
}
