//! What nodes compute in training, and their gradients: a file for each family of operators.

mod axis;
mod conv;
mod elementwise;
mod fold;
mod layer;
mod linear;
mod make;
mod matmul;
mod mirrored;
mod movement;
mod pool;
mod recurrent;
mod resize;
mod single;
mod table;

pub(super) use layer::Layer;
pub(super) use make::{Maker, has_gradient};
