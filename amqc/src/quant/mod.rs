//! Quantization of weight matrices.
