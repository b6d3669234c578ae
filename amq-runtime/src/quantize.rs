//! Online quantization of activations.
