//! Calibration: the vectors that each matrix of a float model meets on a user's data.
//!
//! [`source`] says where data are, [`samples`] reads the data, [`gather`] runs the model on them and keeps of the vectors their
//! [`moments`], which fitting uses; `pairs` has beside them what matrices meet where those before them are coded. [`trial`] compares answers to the data with those of the float model.

pub(crate) mod batches;
mod clusters;
pub mod gather;
pub mod moments;
pub(crate) mod pairs;
pub(crate) mod resolution;
pub mod samples;
mod softmax;
pub mod source;
pub mod trial;
