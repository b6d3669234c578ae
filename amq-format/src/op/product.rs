//! Products of matrices.

use crate::activations::Activations;
use crate::dim::Dim;
use crate::fact::{Fact, Facts, broadcast, same};
use crate::fault;
use crate::fault::{Fault, Refusal};
use crate::operator::{
    Arity, Constants, Operator, Since, Slot, holds_dims, known, no_slots, unchanged,
};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// `y = x W^T + bias` over the last axis of x.
///
/// Inputs: x `[.., n]` f32, W constant `[m, n]`, bias constant `[m]` (may be absent).
/// Outputs: y `[.., m]`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Linear {
    /// How x enters the product; `F32` where W is plain.
    #[prost(enumeration = "Activations", tag = "1")]
    pub activations: i32,
}

impl Operator for Linear {
    fn arity(&self) -> Arity {
        Arity::new(2, 3, 1)
    }

    fn since(&self) -> Since {
        Activations::since(self.activations)
    }

    fn newest(&self) -> u32 {
        1
    }

    fn attributes(&self) -> Result<(), Refusal> {
        known::<Activations>(self.activations, "activations").map(drop)
    }

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::weight(1, self.activations()), Slot::bias(2, "bias")]
    }

    fn weights(&self, node: &Constants<'_>) -> Result<(), Refusal> {
        let slots = self.slots();
        let [w, bias] = &slots[..] else { return Ok(()) };
        node.shape(w, |dims| dims.len() == 2)?;
        let rows = node.get(w)?.dims[0];
        node.shape(bias, |dims| dims == [rows])?;
        node.activations(self.activations(), w)
    }

    fn activations_mut(&mut self, input: usize) -> Option<&mut i32> {
        (input == 1).then_some(&mut self.activations)
    }

    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let (x, w) = (inputs.f32(0)?, inputs.f32(1)?);
        w.rank("W", 2)?;
        let (last, lead) = x.dims.split_last().ok_or_else(|| fault!("x is a scalar"))?;
        same("the last axis of x", last, &w.dims[1])?;
        inputs.bias(&w.dims[0])?;
        let mut dims = lead.to_vec();
        dims.push(w.dims[0].clone());
        Ok(vec![Fact::f32(dims)])
    }

    fn work(&self, _: &[Option<&Fact>], read: i64, given: i64) -> Option<i64> {
        read.checked_add(given)?.checked_mul(read)
    }

    fn text(&self) -> String {
        format!("Linear({})", self.activations().name())
    }
}

/// Matrix product of a `[.., m, n]` and b `[.., n, p]` with broadcast of the leading axes; a vector
/// on either side is a row on the left, a column on the right, and its axis leaves the result.
///
/// Inputs: a, b, f32. Outputs: `[.., m, p]`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MatMul {}

impl Operator for MatMul {
    fn arity(&self) -> Arity {
        Arity::new(2, 2, 1)
    }

    unchanged!();

    fn attributes(&self) -> Result<(), Refusal> {
        Ok(())
    }

    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let (a, b) = (&inputs.f32(0)?.dims, &inputs.f32(1)?.dims);
        let scalar = || fault!("an input is a scalar");
        let (n, a_lead) = a.split_last().ok_or_else(scalar)?;
        let (p, b_lead) = b.split_last().ok_or_else(scalar)?;
        // A vector on the right is a column: its only axis is the one that is summed over.
        let (other, p, b_lead) = match b_lead.split_last() {
            Some((other, lead)) => (other, Some(p), lead),
            None => (p, None, b_lead),
        };
        same("the last axis of a", n, other)?;
        let (m, a_lead) = match a_lead.split_last() {
            Some((m, lead)) => (Some(m), lead),
            None => (None, a_lead),
        };
        let mut dims = broadcast(a_lead, b_lead)?;
        dims.extend([m, p].into_iter().flatten().map(Dim::clone));
        Ok(vec![Fact::f32(dims)])
    }

    fn work(&self, inputs: &[Option<&Fact>], _: i64, given: i64) -> Option<i64> {
        given.checked_mul(inputs.first().copied().flatten()?.dims.last()?.as_size()?)
    }

    fn text(&self) -> String {
        String::from("MatMul")
    }
}
