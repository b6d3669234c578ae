//! Products with constant weights: vectors and windows of convolutions.

mod border;
mod budget;
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
mod unpacked;

pub(crate) use budget::Budget;
pub(crate) use conv::ConvMatrix;
pub(crate) use geometry::Geometry;
pub(crate) use hands::Hands;
pub(crate) use matrix::{Matrix, Packer};
pub(crate) use scratch::{Meter, Scratch};
pub(crate) use source::{Coded, MatrixSource, PackError};
