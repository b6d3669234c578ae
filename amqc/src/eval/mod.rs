//! How good a model is: perplexity of a text, accuracy or error on items with labels.

mod accuracy;
mod items;
mod labels;
mod numbers;
mod perplexity;
pub(crate) mod scores;

pub use accuracy::{Accuracy, Top, accuracy};
pub use labels::Labels;
pub use numbers::{MeanError, mean_error};
pub use perplexity::{Perplexity, perplexity, perplexity_told};
pub(crate) use scores::Scores;
