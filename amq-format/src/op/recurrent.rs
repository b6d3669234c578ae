//! Recurrent layers.

use super::{Activations, Unary};
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
    /// How x_t and h_t enter the products with those of W and R that are multi-bit.
    #[prost(enumeration = "Activations", tag = "8")]
    pub activations: i32,
}
