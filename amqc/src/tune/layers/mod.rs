//! What nodes compute in training, and their gradients: a file for each family of operators.

mod conv;
mod elementwise;
mod layer;
mod linear;
mod make;
mod movement;
mod recurrent;
mod single;
mod table;

pub(super) use layer::Layer;
pub(super) use make::{Maker, has_gradient};
