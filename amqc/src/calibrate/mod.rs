//! Calibration: the vectors that each matrix of a float model meets on a user's data.
//!
//! [`source`] says where data are, [`samples`] reads the data, [`gather`] runs the model on them and keeps of the vectors their
//! [`moments`], which fitting uses. [`trial`] compares answers to the data with those of the float model.

mod batches;
mod clusters;
pub mod gather;
pub mod moments;
pub mod samples;
mod softmax;
pub mod source;
pub mod trial;
