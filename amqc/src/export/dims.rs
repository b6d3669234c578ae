//! Shapes that are computed: dimensions as vectors of integers.

use amq_format::graph::{Dim, DimOp, ValueId};

use super::attribute::int;
use super::writer::Writer;
use crate::tensor::Data;

impl Writer<'_> {
    /// A vector of sizes.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn vector(&mut self, dims: &[Dim]) -> Result<String, String> {
        let known: Option<Vec<i64>> = dims.iter().map(Dim::as_size).collect();
        if let Some(known) = known {
            return Ok(self.integers(&known));
        }
        let parts: Vec<String> = dims.iter().map(|dim| self.size(dim)).collect::<Result<_, _>>()?;
        match parts.as_slice() {
            [one] => Ok(one.clone()),
            _ => Ok(self.step("Concat", parts, vec![int("axis", 0)])),
        }
    }

    /// A vector of one size.
    fn size(&mut self, dim: &Dim) -> Result<String, String> {
        if let Some(size) = dim.as_size() {
            return Ok(self.integers(&[size]));
        }
        if let Some(name) = dim.as_name() {
            return self.named(name);
        }
        let (op, args) = dim.as_expression().ok_or("a dimension that is none")?;
        let args: Vec<String> = args.iter().map(|arg| self.size(arg)).collect::<Result<_, _>>()?;
        let op = match op {
            DimOp::Add => "Add",
            DimOp::Mul => "Mul",
            // Of equal sizes, or one of which is 1.
            DimOp::Max | DimOp::Broadcast => "Max",
            DimOp::Min => "Min",
            DimOp::FloorDiv => {
                let mut args = args.into_iter();
                let first = args.next().unwrap_or_default();
                return Ok(args.fold(first, |a, b| self.floor_div(a, b)));
            }
        };
        let mut args = args.into_iter();
        let first = args.next().unwrap_or_default();
        Ok(args.fold(first, |a, b| self.step(op, vec![a, b], Vec::new())))
    }

    /// ONNX divides towards zero; what `Mod` leaves has the divisor's sign.
    fn floor_div(&mut self, a: String, b: String) -> String {
        let rest = self.step("Mod", vec![a.clone(), b.clone()], Vec::new());
        let whole = self.step("Sub", vec![a, rest], Vec::new());
        self.step("Div", vec![whole, b], Vec::new())
    }

    /// What a name stands for, from the shape of the first input that has it.
    fn named(&mut self, name: &str) -> Result<String, String> {
        if let Some(size) = self.sizes.get(name) {
            return Ok(size.clone());
        }
        let inputs = &self.module.graph.inputs;
        let found = inputs.iter().find_map(|port| {
            Some((port.value, port.dims.iter().position(|dim| dim.as_name() == Some(name))?))
        });
        let (value, axis) = found.ok_or_else(|| format!("no input has the dimension {name}"))?;
        let size = self.size_of(value, axis);
        self.sizes.insert(name.to_owned(), size.clone());
        Ok(size)
    }

    /// The size that a value has along an axis, as a vector.
    fn size_of(&mut self, value: ValueId, axis: usize) -> String {
        let name = self.value(value);
        let shape = self.step("Shape", vec![name], Vec::new());
        let axis = self.integers(&[axis as i64]);
        self.step("Gather", vec![shape, axis], vec![int("axis", 0)])
    }

    /// Lets a name stand for the size of a value along an axis and 1, as those do that a node gives.
    pub(super) fn bind(&mut self, name: &str, value: ValueId, axis: usize) {
        let size = self.size_of(value, axis);
        self.bind_to(name, size);
    }

    /// Lets a name stand for an element of a value and 1.
    pub(super) fn bind_element(&mut self, name: &str, value: ValueId, index: usize) {
        let vector = self.value(value);
        let flat = self.integers(&[-1]);
        let vector = self.step("Reshape", vec![vector, flat], Vec::new());
        let index = self.integers(&[index as i64]);
        let size = self.step("Gather", vec![vector, index], vec![int("axis", 0)]);
        self.bind_to(name, size);
    }

    fn bind_to(&mut self, name: &str, size: String) {
        let one = self.own("one", &[1], Data::I64(vec![1]));
        let size = self.step("Add", vec![size, one], Vec::new());
        self.sizes.insert(name.to_owned(), size);
    }
}
