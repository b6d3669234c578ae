//! Perplexity and accuracy, from a model's outputs.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::error::{Error, Result};

/// What a text is cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Unit {
    /// Words between white space
    Word,
    /// Characters
    Char,
}

/// What stands for the end of a line.
const EOS: &str = "<eos>";
/// What stands for what the vocabulary does not hold.
const UNKNOWN: &str = "<unk>";

/// Entries and their numbers, from 0.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    ids: HashMap<String, i64>,
}

impl Vocabulary {
    /// Reads a vocabulary of one entry a line; `name` stands for it in errors.
    pub fn parse(name: &str, text: &str, unit: Unit) -> Result<Vocabulary> {
        let mut ids = HashMap::new();
        for (id, entry) in text.lines().enumerate() {
            let fail = |what: String| {
                Err(Error::bad_file(format!("{name}:{}: {what}", id + 1))
                    .remedy("a vocabulary has one entry a line; the first line is number 0"))
            };
            let special = entry == EOS || entry == UNKNOWN;
            if entry.is_empty() {
                return fail("an entry is empty".into());
            }
            if unit == Unit::Char && !special && entry.chars().count() != 1 {
                return fail(format!("{entry:?} is not one character"));
            }
            if let Some(first) = ids.insert(entry.to_owned(), id as i64) {
                return fail(format!("{entry:?} is there twice, first in line {}", first + 1));
            }
        }
        Ok(Vocabulary { ids })
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The numbers of a text's words or characters; each newline is `<eos>`.
    pub fn tokens(&self, name: &str, text: &str, unit: Unit) -> Result<Tokens> {
        let stand_in = self.ids.get(UNKNOWN);
        let (mut tokens, mut unknown) = (Vec::new(), 0);
        for (number, line) in text.split_inclusive('\n').enumerate() {
            let (line, newline) = match line.strip_suffix('\n') {
                Some(line) => (line, Some(EOS)),
                None => (line, None),
            };
            let mut push = |token: &str| match (self.ids.get(token), stand_in) {
                (Some(&id), _) => {
                    tokens.push(id);
                    Ok(())
                }
                (None, Some(&id)) => {
                    tokens.push(id);
                    unknown += 1;
                    Ok(())
                }
                (None, None) => Err(Error::bad_file(format!(
                    "{name}:{}: {token:?} is not in the vocabulary",
                    number + 1
                ))
                .remedy("use the vocabulary the model was trained with, or one with <unk>")),
            };
            match unit {
                Unit::Word => line.split_whitespace().try_for_each(&mut push)?,
                Unit::Char => {
                    let mut buffer = [0; 4];
                    line.chars().try_for_each(|c| push(c.encode_utf8(&mut buffer)))?;
                }
            }
            newline.map_or(Ok(()), &mut push)?;
        }
        Ok(Tokens { ids: tokens, unknown })
    }
}

/// A text as numbers of a vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Of each word or character.
    pub ids: Vec<i64>,
    /// How many were not in the vocabulary and are `<unk>` in its place.
    pub unknown: usize,
}

/// What a model says of each entry of the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scores {
    /// Logits, or logarithms of probabilities.
    Logits,
    /// Probabilities.
    Probabilities,
}

/// `-ln p(target)` in nats; NaN if a score is.
pub fn negative_log_likelihood(scores: Scores, row: &[f32], target: usize) -> f64 {
    match scores {
        Scores::Probabilities => -f64::from(row[target]).ln(),
        Scores::Logits => {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum = sum_of_exponentials(row, largest.into());
            sum.ln() + (f64::from(largest) - f64::from(row[target]))
        }
    }
}

/// The sum of `e^(score - largest)`, of scores not above `largest`. Large vocabularies make this
/// most of an evaluation's work, so it is written for vectors: a call of `exp` for each score takes
/// several times longer.
fn sum_of_exponentials(row: &[f32], largest: f64) -> f64 {
    // 1.5 * 2^52: a small number added to it is rounded to an integer, which its low bits hold.
    const ROUNDER: f64 = 6_755_399_441_055_744.0;
    let exp = |x: f64| {
        // Nothing so small counts beside the largest score's 1. A NaN stays one.
        let x = if x < -700.0 { -700.0 } else { x };
        let shifted = x * std::f64::consts::LOG2_E + ROUNDER;
        let r = x - (shifted - ROUNDER) * std::f64::consts::LN_2;
        // Taylor's series for |r| <= ln 2 / 2: the first term left out is below 1e-11.
        let mut power = 1.0 / 362_880.0;
        for factor in [40_320.0, 5_040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0] {
            power = power * r + 1.0 / factor;
        }
        power * f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52))
    };
    let mut sums = [0.0; 8];
    let (chunks, rest) = row.as_chunks::<8>();
    for chunk in chunks {
        for (sum, &score) in sums.iter_mut().zip(chunk) {
            *sum += exp(f64::from(score) - largest);
        }
    }
    let rest = rest.iter().map(|&score| exp(f64::from(score) - largest));
    sums.into_iter().chain(rest).sum()
}

/// How well a model predicts a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Perplexity {
    /// `exp(sum of -ln p / predicted)`
    pub perplexity: f64,
    /// Tokens that were predicted: all but the first.
    pub predicted: usize,
}

/// Receives rows of scores, one for each token fed.
pub type Receive<'a> = &'a mut dyn FnMut(&[f32]) -> Result<()>;

/// Feeds `tokens` in pieces of at most `piece` and judges each prediction of the next token.
///
/// `step` runs the model, which carries its state along, and hands on the scores of its output,
/// `classes` for each token.
pub fn perplexity(
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

/// The class with the largest score, the first of equals; `None` if a score is NaN or there is none.
pub fn top1(scores: &[f32]) -> Option<usize> {
    let mut best = 0;
    for (class, score) in scores.iter().enumerate() {
        if score.is_nan() {
            return None;
        }
        if *score > scores[best] {
            best = class;
        }
    }
    (!scores.is_empty()).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary(text: &str, unit: Unit) -> Result<Vocabulary> {
        Vocabulary::parse("v.txt", text, unit)
    }

    #[test]
    fn words_and_ends_of_lines() {
        let v = vocabulary("a\nb\n<eos>\n<unk>\n", Unit::Word).unwrap();
        assert_eq!(v.len(), 4);
        let tokens = |text| v.tokens("t.txt", text, Unit::Word).unwrap().ids;
        assert_eq!(tokens(" a  b \n\nzebra a"), [0, 1, 2, 2, 3, 0]);
        assert_eq!(tokens("a\r\nb\r\n"), [0, 2, 1, 2]);
        assert_eq!(tokens(""), [0i64; 0]);
        // One that the text holds as it is was in the vocabulary.
        assert_eq!(v.tokens("t", "a zebra <unk> c", Unit::Word).unwrap().unknown, 2);
    }

    #[test]
    fn characters() {
        let v = vocabulary("é\n \n<eos>\nx", Unit::Char).unwrap();
        assert_eq!(v.tokens("t", "é x\n", Unit::Char).unwrap().ids, [0, 1, 3, 2]);
        assert!(vocabulary("ab\n", Unit::Char).is_err());
    }

    #[test]
    fn unknown_words_are_named_with_their_line() {
        let v = vocabulary("a\n<eos>\n", Unit::Word).unwrap();
        let error = v.tokens("t.txt", "a\na zebra\n", Unit::Word).unwrap_err();
        assert_eq!(error.message(), "t.txt:2: \"zebra\" is not in the vocabulary");
        let v = vocabulary("a\n", Unit::Word).unwrap();
        assert!(v.tokens("t", "a\n", Unit::Word).unwrap_err().message().contains("<eos>"));
    }

    #[test]
    fn bad_vocabularies_are_refused() {
        let twice = vocabulary("a\nb\na\n", Unit::Word).unwrap_err();
        assert_eq!(twice.message(), "v.txt:3: \"a\" is there twice, first in line 1");
        assert!(vocabulary("a\n\nb\n", Unit::Word).is_err());
        assert_eq!(vocabulary("a\r\nb\r\n", Unit::Word).unwrap().ids["b"], 1);
    }

    #[test]
    fn a_uniform_model_has_the_vocabulary_as_its_perplexity() {
        let tokens: Vec<i64> = (0..100).map(|i| i * 7 % 10).collect();
        for (scores, value) in [(Scores::Logits, -3.5), (Scores::Probabilities, 0.1)] {
            let mut fed = Vec::new();
            let result = perplexity(&tokens, 10, 35, scores, |piece, receive| {
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
            let result = perplexity(&tokens, 2, piece, Scores::Logits, |fed, receive| {
                let row = |&t: &i64| if t == 0 { [0.75f32.ln(), 0.25f32.ln()] } else { [1.0; 2] };
                receive(&fed.iter().flat_map(row).collect::<Vec<f32>>())
            });
            let found = result.unwrap().perplexity;
            assert!((found - (expected / 5.0).exp()).abs() < 1e-6, "{piece}: {found}");
        }
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let nll = negative_log_likelihood(Scores::Logits, &[3e38, 3e38, -3e38], 0);
        assert!((nll - 2f64.ln()).abs() < 1e-9);
        assert!(negative_log_likelihood(Scores::Logits, &[0.0, f32::NAN], 0).is_nan());
    }

    #[test]
    fn exponentials_are_those_of_the_library() {
        for count in [1, 8, 1003] {
            let row: Vec<f32> = (0..count).map(|i| i as f32 * -0.7131).collect();
            let expected: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
            let found = sum_of_exponentials(&row, 0.0);
            assert!((found / expected - 1.0).abs() < 1e-10, "{found} is not {expected}");
        }
        assert_eq!(sum_of_exponentials(&[0.0, f32::NEG_INFINITY], 0.0), 1.0);
        assert!(sum_of_exponentials(&[0.0, f32::NAN], 0.0).is_nan());
    }

    #[test]
    fn what_cannot_be_judged_is_an_error() {
        let run = |tokens: &[i64], rows: &[f32]| {
            perplexity(tokens, 2, 8, Scores::Logits, |_, receive| receive(rows))
        };
        assert!(run(&[0], &[]).is_err());
        assert!(run(&[0, 1, 0], &[0.0; 2]).is_err());
        assert!(run(&[0, 1], &[0.0, f32::NAN]).is_err());
        assert!(run(&[0, 1], &[0.0, f32::NEG_INFINITY]).is_err());
        assert!(run(&[0, 1], &[0.0; 2]).is_ok());
    }

    #[test]
    fn the_first_of_equals_wins() {
        assert_eq!(top1(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(top1(&[f32::NEG_INFINITY]), Some(0));
        assert_eq!(top1(&[1.0, f32::NAN]), None);
        assert_eq!(top1(&[]), None);
    }
}
