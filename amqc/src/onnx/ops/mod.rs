//! Readers of ONNX operators, a file a family. The registry lists them.

pub(super) mod batch_norm;
pub(super) mod control;
pub(super) mod conv;
pub(super) mod data;
pub(super) mod elementwise;
pub(super) mod layout;
pub(super) mod matrix;
pub(super) mod parts;
pub(super) mod recurrent;
pub(super) mod reduce;
