//! Feeding models: texts, arrays and seeded inputs, cut and carried on as a model takes them. One
//! place for every part that runs a model on data.

pub mod arrays;
pub(crate) mod fixed;
pub mod probe;
pub mod seeded;
pub mod stream;
pub mod text;
pub mod time;
