//! Perplexity of a text.

use rayon::prelude::*;

use super::scores::{Scores, negative_log_likelihood};
use crate::error::{Error, Result};
use crate::feed::probe;
use crate::feed::stream::{PortNames, Receive, TextReader};
use crate::loaded::Loaded;

/// How well a model predicts a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Perplexity {
    /// `exp(sum of -ln p / predicted)`
    pub perplexity: f64,
    /// Tokens that were predicted: all but the first.
    pub predicted: usize,
}

/// Lets a model read `tokens` of a vocabulary of `classes` entries as one stream, its states carried
/// along, and judges its prediction of each token but the first.
///
/// # Errors
/// Tokens that are no entries, a model that no text can be fed to ([`TextReader::new`]), whose scores depend on tokens to come or
/// on how the text is cut ([`probe::check_cuts`]), and scores that are no prediction.
pub fn perplexity(
    loaded: &Loaded,
    classes: usize,
    tokens: &[i64],
    ports: PortNames<'_>,
) -> Result<Perplexity> {
    perplexity_told(loaded, classes, tokens, ports, &|_, _| ())
}

/// The same; `tell` is told how many tokens of how many are read.
///
/// # Errors
/// As [`perplexity`].
pub fn perplexity_told(
    loaded: &Loaded,
    classes: usize,
    tokens: &[i64],
    ports: PortNames<'_>,
    tell: &dyn Fn(usize, usize),
) -> Result<Perplexity> {
    let entry = |id: &i64| usize::try_from(*id).is_ok_and(|id| id < classes);
    if let Some(other) = tokens.iter().find(|id| !entry(id)) {
        return Err(Error::usage(format!("token {other} of a vocabulary of {classes} entries")));
    }
    let mut reader = TextReader::new(loaded, classes, ports)?;
    let piece = reader.piece(tokens.len().saturating_sub(1))?;
    let within = |error: Error| error.within(loaded.path.display());
    probe::check_cuts(&mut reader, tokens).map_err(within)?;
    let scores = Scores::of(loaded.graph(), reader.output());
    let mut read = 0;
    let feed = |fed: &[i64], receive: Receive<'_>| {
        read += fed.len();
        tell(read, tokens.len());
        reader.feed(fed, receive)
    };
    judge(tokens, classes, piece, scores, feed).map_err(within)
}

/// Feeds `tokens` in pieces of at most `piece` and judges each prediction of the next token.
///
/// `step` runs the model, which carries its state along, and hands on the scores of its output,
/// `classes` for each token.
fn judge(
    tokens: &[i64],
    classes: usize,
    piece: usize,
    scores: Scores,
    mut step: impl FnMut(&[i64], Receive<'_>) -> Result<()>,
) -> Result<Perplexity> {
    let predicted = tokens.len().saturating_sub(1);
    if predicted == 0 {
        return Err(Error::bad_file("the text has fewer than two tokens"));
    }
    let mut total = 0.0;
    for start in (0..predicted).step_by(piece) {
        let fed = &tokens[start..predicted.min(start + piece)];
        let targets = &tokens[start + 1..=start + fed.len()];
        step(fed, &mut |rows| {
            if Some(rows.len()) != classes.checked_mul(fed.len()) {
                return Err(Error::unsupported(format!(
                    "the model gives {} scores for {} tokens of a vocabulary of {classes}",
                    rows.len(),
                    fed.len()
                ))
                .remedy("eval needs a prediction after every token"));
            }
            let losses: Vec<f64> = (rows.par_chunks_exact(classes).zip(targets))
                .map(|(row, &target)| negative_log_likelihood(scores, row, target as usize))
                .collect();
            if let Some(bad) = losses.iter().position(|loss| !loss.is_finite()) {
                let token = start + bad + 1;
                return Err(Error::unsupported(if losses[bad].is_nan() {
                    format!("the model's scores for token {token} are not numbers")
                } else {
                    format!("the model gives token {token} no chance: perplexity is infinite")
                }));
            }
            // In order: the sum is the same for every number of threads and length of piece.
            total = losses.iter().fold(total, |total, loss| total + loss);
            Ok(())
        })?;
    }
    Ok(Perplexity { perplexity: (total / predicted as f64).exp(), predicted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uniform_model_has_the_vocabulary_as_its_perplexity() {
        let tokens: Vec<i64> = (0..100).map(|i| i * 7 % 10).collect();
        for (scores, value) in [(Scores::Logits, -3.5), (Scores::Probabilities, 0.1)] {
            let mut fed = Vec::new();
            let result = judge(&tokens, 10, 35, scores, |piece, receive| {
                fed.extend_from_slice(piece);
                receive(&vec![value; 10 * piece.len()])
            })
            .unwrap();
            assert!((result.perplexity - 10.0).abs() < 1e-6, "{result:?}");
            assert_eq!(result.predicted, 99);
            // The last token is only predicted.
            assert_eq!(fed, tokens[..99]);
        }
    }

    #[test]
    fn each_token_is_judged_by_the_scores_before_it() {
        // Scores depend on the token fed: p(0 | 0) = 3/4, p(0 | 1) = 1/2.
        let tokens = [0, 0, 1, 0, 1, 1];
        let expected: f64 = [0.75f64, 0.25, 0.5, 0.25, 0.5].iter().map(|p| -p.ln()).sum();
        for piece in 1..=6 {
            let result = judge(&tokens, 2, piece, Scores::Logits, |fed, receive| {
                let row = |&t: &i64| if t == 0 { [0.75f32.ln(), 0.25f32.ln()] } else { [1.0; 2] };
                receive(&fed.iter().flat_map(row).collect::<Vec<f32>>())
            });
            let found = result.unwrap().perplexity;
            assert!((found - (expected / 5.0).exp()).abs() < 1e-6, "{piece}: {found}");
        }
    }

    #[test]
    fn what_cannot_be_judged_is_an_error() {
        let run = |tokens: &[i64], rows: &[f32]| {
            judge(tokens, 2, 8, Scores::Logits, |_, receive| receive(rows))
        };
        assert!(run(&[0], &[]).is_err());
        assert!(run(&[0, 1, 0], &[0.0; 2]).is_err());
        assert!(run(&[0, 1], &[0.0, f32::NAN]).is_err());
        assert!(run(&[0, 1], &[0.0, f32::NEG_INFINITY]).is_err());
        assert!(run(&[0, 1], &[0.0; 2]).is_ok());
    }
}
