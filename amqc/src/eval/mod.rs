//! How good a model is: perplexity of a text, accuracy on items with labels.

mod accuracy;
mod perplexity;
pub(crate) mod scores;

pub use accuracy::{Accuracy, Labels, accuracy};
pub use perplexity::{Perplexity, perplexity};
pub(crate) use scores::Scores;
