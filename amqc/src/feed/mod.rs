//! Feeding models: what goes into them, for every part that runs one.

pub mod arrays;
pub mod seeded;
