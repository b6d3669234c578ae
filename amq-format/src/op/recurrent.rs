//! Recurrent layers.

use super::{Unary, UnaryFunction};
use crate::activations::Activations;
use crate::dim::Dim;
use crate::error::Rule;
use crate::fact::{Fact, Facts, same};
use crate::fault::{Fault, Refusal, refuse_unless};
use crate::operator::{Arity, Constants, Held, Operator, Role, Since, Slot, known};
use crate::spec::MAX_HIDDEN;
use crate::value::DataType;
use crate::{ensure, fault};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// Which recurrence a layer computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Cell {
    /// Gates in order i, o, f, c.
    Lstm = 0,
    /// Gates in order z, r, h.
    Gru = 1,
    /// One gate.
    Rnn = 2,
}

impl Cell {
    /// Gates a cell has: rows of W and R are this many times the hidden size.
    pub fn gates(self) -> usize {
        match self {
            Cell::Lstm => 4,
            Cell::Gru => 3,
            Cell::Rnn => 1,
        }
    }
}

/// In which order a layer reads the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Direction {
    /// From the first step.
    Forward = 0,
    /// From the last step of each sequence.
    Reverse = 1,
    /// Both, each with its own weights.
    Bidirectional = 2,
}

impl Direction {
    /// Directions that the layer has weights for.
    pub fn count(self) -> usize {
        if self == Direction::Bidirectional { 2 } else { 1 }
    }
}

/// An LSTM, GRU or RNN layer, as ONNX defines them (layout 0).
///
/// Inputs, with S steps, N sequences, D directions, H hidden units, G gates:
/// X `[S, N, I]`, W constant `[D, G*H, I]`, R constant `[D, G*H, H]`, B constant `[D, 2*G*H]`,
/// sequence_lens `[N]` i32, initial_h `[D, N, H]`, initial_c `[D, N, H]` (LSTM), P constant
/// `[D, 3*H]` in order i, o, f (LSTM). All but X, W and R may be absent, and trailing ones missing;
/// GRU and RNN have the first six.
///
/// Outputs: Y `[S, D, N, H]`, Y_h `[D, N, H]`, Y_c `[D, N, H]` (LSTM). Each may be absent, but not
/// all.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Recurrent {
    /// Which recurrence.
    #[prost(enumeration = "Cell", tag = "1")]
    pub cell: i32,
    /// H.
    #[prost(uint64, tag = "2")]
    pub hidden_size: u64,
    /// Which order.
    #[prost(enumeration = "Direction", tag = "3")]
    pub direction: i32,
    /// Functions of the gates: f, g, h for LSTM, f, g for GRU, f for RNN, for each direction.
    #[prost(message, repeated, tag = "4")]
    pub functions: Vec<Unary>,
    /// Bound of the gates' sums before their functions.
    #[prost(float, optional, tag = "5")]
    pub clip: Option<f32>,
    /// LSTM: the forget gate is 1 minus the input gate.
    #[prost(bool, tag = "6")]
    pub input_forget: bool,
    /// GRU: the reset gate multiplies the product with R, not its input.
    #[prost(bool, tag = "7")]
    pub linear_before_reset: bool,
    /// How x_t enters the product with W; `F32` where W is plain.
    #[prost(enumeration = "Activations", tag = "8")]
    pub activations: i32,
    /// How h_t, or `r . h_t`, enters the product with R; `F32` where R is plain.
    #[prost(enumeration = "Activations", tag = "9")]
    pub recurrent_activations: i32,
}

impl Operator for Recurrent {
    fn arity(&self) -> Arity {
        match self.cell() {
            Cell::Lstm => Arity::new(3, 8, 3),
            Cell::Gru | Cell::Rnn => Arity::new(3, 6, 2),
        }
    }

    fn since(&self) -> Since {
        let since = Activations::since(self.activations);
        let since = since.and(Activations::since(self.recurrent_activations));
        let since = since.and(Since::number(self.cell, &[(2, Since::FIRST)]));
        let since = since.and(Since::number(self.direction, &[(2, Since::FIRST)]));
        self.functions.iter().fold(since, |since, function| since.and(function.since()))
    }

    fn newest(&self) -> u32 {
        1
    }

    fn attributes(&self) -> Result<(), Refusal> {
        let cell: Cell = known(self.cell, "cell")?;
        let direction: Direction = known(self.direction, "direction")?;
        known::<Activations>(self.activations, "activations")?;
        known::<Activations>(self.recurrent_activations, "recurrent_activations")?;
        let hidden = self.hidden_size;
        refuse_unless((1..=MAX_HIDDEN).contains(&hidden), Rule::G11, || {
            format!("hidden_size {hidden}")
        })?;
        refuse_unless(
            (cell == Cell::Lstm || !self.input_forget)
                && (cell == Cell::Gru || !self.linear_before_reset),
            Rule::G11,
            || String::from("input_forget is LSTM's alone, linear_before_reset GRU's"),
        )?;
        if let Some(clip) = self.clip {
            refuse_unless(clip >= 0.0, Rule::G11, || "clip is negative or no number".into())?;
        }
        let of_cell = match cell {
            Cell::Lstm => 3,
            Cell::Gru => 2,
            Cell::Rnn => 1,
        };
        let count = self.functions.len();
        refuse_unless(count == of_cell * direction.count(), Rule::G11, || {
            format!("{count} functions")
        })?;
        for function in &self.functions {
            function.attributes()?;
            let of_gates = matches!(
                function.function(),
                UnaryFunction::Relu
                    | UnaryFunction::Tanh
                    | UnaryFunction::Sigmoid
                    | UnaryFunction::Affine
                    | UnaryFunction::LeakyRelu
                    | UnaryFunction::ThresholdedRelu
                    | UnaryFunction::ScaledTanh
                    | UnaryFunction::HardSigmoid
                    | UnaryFunction::Elu
                    | UnaryFunction::Softsign
                    | UnaryFunction::Softplus
            );
            refuse_unless(of_gates, Rule::G11, || format!("{:?} of a gate", function.function()))?;
        }
        Ok(())
    }

    fn slots(&self) -> Vec<Slot> {
        let matrix = |input, name, activations| {
            let role = Role::Weight { rows: 2, activations };
            Slot { input, name, suffix: Some(name), role }
        };
        let w = matrix(1, "W", self.activations());
        let r = matrix(2, "R", self.recurrent_activations());
        vec![w, r, Slot::bias(3, "B"), Slot::bias(7, "P")]
    }

    fn weights(&self, node: &Constants<'_>) -> Result<(), Refusal> {
        let (directions, hidden) = (self.direction().count() as u64, self.hidden_size);
        // At most 2 * 4 * 2^24: no overflow.
        let rows = self.cell().gates() as u64 * hidden;
        let slots = self.slots();
        let [w, r, b, p] = &slots[..] else { return Ok(()) };
        node.shape(w, |dims| dims.len() == 3 && dims[..2] == [directions, rows] && dims[2] > 0)?;
        node.shape(r, |dims| dims == [directions, rows, hidden])?;
        node.shape(b, |dims| dims == [directions, 2 * rows])?;
        node.shape(p, |dims| dims == [directions, 3 * hidden])?;
        node.activations(self.activations(), w)?;
        node.activations(self.recurrent_activations(), r)
    }

    fn activations_mut(&mut self, input: usize) -> Option<&mut i32> {
        match input {
            1 => Some(&mut self.activations),
            2 => Some(&mut self.recurrent_activations),
            _ => None,
        }
    }

    fn dims(&self) -> [&[Dim]; 2] {
        [&[], &[]]
    }

    fn dims_mut(&mut self) -> [&mut [Dim]; 2] {
        [&mut [], &mut []]
    }

    fn messages() -> &'static [(u32, Held)] {
        &[(4, Held::Numbers(size_of::<Unary>()))]
    }

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let size =
            |size: u64| i64::try_from(size).map(Dim::from).map_err(|_| fault!("{size} units"));
        let hidden = size(self.hidden_size)?;
        let directions = Dim::from(self.direction().count() as i64);
        let rows = hidden.mul(&Dim::from(self.cell().gates() as i64))?;
        let x = inputs.f32(0)?;
        x.rank("X", 3)?;
        let (steps, batch, width) = (&x.dims[0], &x.dims[1], &x.dims[2]);
        // W is a constant: what differs is the input.
        let w = inputs.f32(1)?;
        w.rank("W", 3)?;
        same("the last axis of x", width, &w.dims[2])?;
        let two = Dim::from(2);
        let states = [&directions, batch, &hidden];
        let parts: [(usize, &str, &[&Dim]); 6] = [
            (1, "W", &[&directions, &rows, width]),
            (2, "R", &[&directions, &rows, &hidden]),
            (3, "B", &[&directions, &rows.mul(&two)?]),
            (5, "initial_h", &states),
            (6, "initial_c", &states),
            (7, "P", &[&directions, &hidden.mul(&Dim::from(3))?]),
        ];
        for (i, name, expected) in parts {
            if i < 3 || inputs.optional(i).is_some() {
                let part = inputs.f32(i)?;
                part.rank(name, expected.len())?;
                for (axis, (found, expected)) in part.dims.iter().zip(expected).enumerate() {
                    same(&format!("axis {axis} of {name}"), found, expected)?;
                }
            }
        }
        if let Some(lens) = inputs.optional(4) {
            let found = lens.data_type.name();
            ensure!(lens.data_type == DataType::I32, "sequence_lens is {found}, it must be i32");
            lens.rank("sequence_lens", 1)?;
            same("the size of sequence_lens", &lens.dims[0], batch)?;
        }
        let states = Vec::from(states.map(Dim::clone));
        let y = Vec::from([steps, &directions, batch, &hidden].map(Dim::clone));
        let mut outputs = vec![Fact::f32(y), Fact::f32(states.clone())];
        if self.cell() == Cell::Lstm {
            outputs.push(Fact::f32(states));
        }
        Ok(outputs)
    }

    fn work(&self, _: &[Option<&Fact>], read: i64, given: i64) -> Option<i64> {
        read.checked_add(given)?.checked_mul(read)
    }

    fn text(&self) -> String {
        let functions: Vec<String> = self.functions.iter().map(Unary::text).collect();
        format!(
            "{:?}({}, {:?}, {}{}{}{}, {}, {})",
            self.cell(),
            self.hidden_size,
            self.direction(),
            functions.join(" "),
            self.clip.map_or(String::new(), |clip| format!(", clip {clip}")),
            if self.input_forget { ", input_forget" } else { "" },
            if self.linear_before_reset { ", linear_before_reset" } else { "" },
            self.activations().name(),
            self.recurrent_activations().name()
        )
    }
}
