//! Training with the quantization in the loop.
//!
//! A network begins with its calibrated codes. In each [step](train) its weights are coded anew and the activations as the
//! [runtime](amq_runtime::approximate) codes them, gradients pass as if neither were there, and weights follow them.

mod arrays;
mod blocks;
mod carried;
mod checkpoint;
mod coded;
pub mod course;
mod dropout;
mod function;
mod interior;
mod items;
mod layers;
mod lesson;
mod loss;
mod optimizer;
mod outputs;
mod params;
mod product;
mod tape;
#[cfg(test)]
mod tests;
pub mod text;
pub mod train;
mod turns;

pub use arrays::{Arrays, Group};
pub use course::{Event, Length, Matter, OutputChange, Passed, Training, Tuned, Watch};
pub use lesson::Figure;
pub use optimizer::Rule;
pub use text::{Reading, Texts};
pub use train::tune;
