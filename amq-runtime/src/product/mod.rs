//! Products with constant weights: vectors and windows of convolutions.

mod border;
mod conv;
mod direct;
mod geometry;
mod hands;
mod in_file;
mod matrix;
mod pack;
mod panels;
mod parts;
mod scratch;
mod share;
mod show;
mod source;
#[cfg(test)]
mod tests;

pub(crate) use conv::ConvMatrix;
pub(crate) use geometry::Geometry;
pub(crate) use hands::Hands;
pub(crate) use matrix::{Matrix, Packer};
pub(crate) use scratch::{Budget, Meter, Scratch};
pub(crate) use source::{Coded, MatrixSource, PackError};
