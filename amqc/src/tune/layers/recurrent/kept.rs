//! What the steps of one direction of a recurrent layer leave for the way back.

use amq_format::graph::{Activations, Cell, Recurrent, Unary};
use amq_runtime::Isa;

/// The layer's sizes, those of a call among them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) steps: usize,
    pub(super) batch: usize,
    pub(super) input: usize,
    pub(super) hidden: usize,
    pub(super) gates: usize,
}

/// What the steps of a direction leave, each `[step][sequence][..]`.
pub(super) struct Pass {
    pub(super) isa: Isa,
    pub(super) activations: Activations,
    pub(super) reverse: bool,
    pub(super) lengths: Vec<usize>,
    pub(super) cell: Cell,
    pub(super) sizes: Sizes,
    pub(super) functions: [Unary; 3],
    pub(super) clip: Option<f32>,
    pub(super) input_forget: bool,
    /// GRU: the reset gate multiplies h before the product with R.
    pub(super) resets_before: bool,
    /// The gates' sums, bounded where the layer bounds them: `[..][gates * hidden]`.
    pub(super) sums: Vec<f32>,
    /// The functions of these.
    pub(super) gates: Vec<f32>,
    /// The states before the step: `[..][hidden]`.
    pub(super) h: Vec<f32>,
    pub(super) c: Vec<f32>,
    /// LSTM: c after it, and its function.
    pub(super) next_c: Vec<f32>,
    pub(super) of_c: Vec<f32>,
    /// GRU that resets after the product: the candidate's product with R and its bias.
    pub(super) candidate: Vec<f32>,
    /// What entered the products with R: h, and r . h where the gate resets before.
    pub(super) coded_h: Vec<f32>,
    pub(super) coded_reset: Vec<f32>,
}

impl Pass {
    pub(super) fn new(
        isa: Isa,
        op: &Recurrent,
        direction: usize,
        reverse: bool,
        sizes: Sizes,
        lengths: Vec<usize>,
    ) -> Pass {
        let cell = op.cell();
        let of_cell = op.functions.len() / op.direction().count();
        let mut functions = [Unary::default(); 3];
        functions[..of_cell].copy_from_slice(&op.functions[direction * of_cell..][..of_cell]);
        let state = sizes.steps * sizes.batch * sizes.hidden;
        let rows = state * sizes.gates;
        let of = |on: bool| vec![0.0; if on { state } else { 0 }];
        let resets_before = cell == Cell::Gru && !op.linear_before_reset;
        Pass {
            isa,
            activations: op.recurrent_activations(),
            reverse,
            lengths,
            cell,
            sizes,
            functions,
            clip: op.clip,
            input_forget: op.input_forget,
            resets_before,
            sums: vec![0.0; rows],
            gates: vec![0.0; rows],
            h: vec![0.0; state],
            c: of(cell == Cell::Lstm),
            next_c: of(cell == Cell::Lstm),
            of_c: of(cell == Cell::Lstm),
            candidate: of(cell == Cell::Gru && !resets_before),
            coded_h: vec![0.0; state],
            coded_reset: of(resets_before),
        }
    }
}
