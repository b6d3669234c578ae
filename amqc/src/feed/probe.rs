//! What a model does with a text, found by running it: whether it looks ahead, and whether it forgets.

use super::stream::{PIECE, TextReader};
use super::time::starts_anew;
use crate::error::{Error, Result};

/// Makes sure that the scores after a token depend on it and on all before it, on nothing else:
/// on no token that follows, nor on how the text is cut. Leaves the initial states.
///
/// # Errors
/// A model that looks ahead, or that forgets between two calls.
pub fn check_cuts(reader: &mut TextReader<'_>, tokens: &[i64]) -> Result<()> {
    if tokens.len() < 2 {
        return Ok(());
    }
    let classes = reader.classes();
    // No more than is read in any case: the model may have a bound.
    let length = reader.fixed().unwrap_or(PIECE.min(tokens.len() - 1));
    let tokens: Vec<i64> = tokens.iter().copied().cycle().take(length).collect();
    let whole = reader.anew(&[&tokens])?;
    if whole.is_empty() || whole.len() != length * classes {
        // Refused when the text is read.
        return Ok(());
    }
    let (first, second) = tokens.split_at(length / 2);
    let next = |token: &i64| (token + 1) % classes as i64;
    let other: Vec<i64> = first.iter().copied().chain(second.iter().map(next)).collect();
    let seen = first.len() * classes;
    if reader.anew(&[&other])?[..seen] != whole[..seen] {
        return Err(Error::unsupported(
            "the scores after a token depend on tokens that follow it, which it is to predict",
        )
        .remedy("eval needs a model that reads in one direction"));
    }
    let forgets = match reader.fixed() {
        _ if reader.graph().states.is_empty() => false,
        // It cannot be cut elsewhere: what it says of its layers must do.
        Some(_) => starts_anew(reader.graph()),
        None => {
            let (few, rest) = tokens.split_at(length / 8);
            let (middle, rest) = rest.split_at(length / 2);
            reader.anew(&[few, middle, rest])? != whole
        }
    };
    if forgets {
        return Err(Error::unsupported(
            "the scores depend on how the text is cut: no state carries all that the model \
             remembers",
        )
        .remedy(
            "export the model with its first and last states as inputs and outputs, or name \
             them with convert --state; inspect lists those that are declared",
        ));
    }
    Ok(())
}
