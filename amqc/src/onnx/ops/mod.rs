//! Readers of ONNX operators, a file a family. The registry lists them.

pub(super) mod along;
pub(super) mod attention;
pub(super) mod audio;
pub(super) mod batch_norm;
pub(super) mod blocks;
pub(super) mod control;
pub(super) mod conv;
pub(super) mod cut;
pub(super) mod data;
pub(super) mod einsum;
pub(super) mod elementwise;
pub(super) mod found;
pub(super) mod index;
pub(super) mod layout;
pub(super) mod loss;
pub(super) mod matrix;
pub(super) mod microsoft;
pub(super) mod norm;
mod old;
pub(super) mod parts;
pub(super) mod quantized;
pub(super) mod recurrent;
pub(super) mod reduce;
pub(super) mod resize;
pub(super) mod sequence;
pub(super) mod transposed;
pub(super) mod volume;
