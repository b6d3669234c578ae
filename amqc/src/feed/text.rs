//! Texts as the numbers of a vocabulary's entries.

use std::collections::HashMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::input;

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
    unit: Unit,
}

impl Vocabulary {
    /// Reads the vocabulary in the file at `path`, as [`Vocabulary::parse`] does.
    ///
    /// # Errors
    /// A file that cannot be read or is not UTF-8, and what [`Vocabulary::parse`] refuses.
    pub fn read(path: &Path, unit: Unit) -> Result<Vocabulary> {
        Vocabulary::parse(&path.display().to_string(), &read_text(path)?, unit)
    }

    /// Reads a vocabulary of one entry a line, of what texts are to be cut into; `name` stands for it
    /// in errors.
    ///
    /// # Errors
    /// An entry that is empty, there twice or, where texts are cut into characters, not one.
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
        Ok(Vocabulary { ids, unit })
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The tokens of the text in the file at `path`.
    ///
    /// # Errors
    /// A file that cannot be read or is not UTF-8, and what [`Vocabulary::tokens`] refuses.
    pub fn read_tokens(&self, path: &Path) -> Result<Tokens> {
        self.tokens(&path.display().to_string(), &read_text(path)?)
    }

    /// The numbers of a text's words or characters; each newline is `<eos>`. `name` stands for the
    /// text in errors.
    ///
    /// # Errors
    /// A token that the vocabulary does not hold, where it has no `<unk>`.
    pub fn tokens(&self, name: &str, text: &str) -> Result<Tokens> {
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
            match self.unit {
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

fn read_text(path: &Path) -> Result<String> {
    let bytes = input::whole(path, input::TEXT_BYTES)?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::bad_file(format!("byte {at} is not UTF-8")).within(path.display())
    })
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
        let tokens = |text| v.tokens("t.txt", text).unwrap().ids;
        assert_eq!(tokens(" a  b \n\nzebra a"), [0, 1, 2, 2, 3, 0]);
        assert_eq!(tokens("a\r\nb\r\n"), [0, 2, 1, 2]);
        assert_eq!(tokens(""), [0i64; 0]);
        // One that the text holds as it is was in the vocabulary.
        assert_eq!(v.tokens("t", "a zebra <unk> c").unwrap().unknown, 2);
    }

    #[test]
    fn characters() {
        let v = vocabulary("é\n \n<eos>\nx", Unit::Char).unwrap();
        assert_eq!(v.tokens("t", "é x\n").unwrap().ids, [0, 1, 3, 2]);
        assert!(vocabulary("ab\n", Unit::Char).is_err());
    }

    #[test]
    fn unknown_words_are_named_with_their_line() {
        let v = vocabulary("a\n<eos>\n", Unit::Word).unwrap();
        let error = v.tokens("t.txt", "a\na zebra\n").unwrap_err();
        assert_eq!(error.message(), "t.txt:2: \"zebra\" is not in the vocabulary");
        let v = vocabulary("a\n", Unit::Word).unwrap();
        assert!(v.tokens("t", "a\n").unwrap_err().message().contains("<eos>"));
    }

    #[test]
    fn bad_vocabularies_are_refused() {
        let twice = vocabulary("a\nb\na\n", Unit::Word).unwrap_err();
        assert_eq!(twice.message(), "v.txt:3: \"a\" is there twice, first in line 1");
        assert!(vocabulary("a\n\nb\n", Unit::Word).is_err());
        assert_eq!(vocabulary("a\r\nb\r\n", Unit::Word).unwrap().ids["b"], 1);
    }
}
