//! Names that are asked for and not there, and names in texts.

use std::borrow::Cow;

use crate::error::Error;

/// A name of a model as a text shows it: what would begin a line of its own is escaped.
pub(crate) fn shown(name: &str) -> Cow<'_, str> {
    if !name.contains(char::is_control) {
        return Cow::Borrowed(name);
    }
    let mut shown = String::with_capacity(name.len());
    for c in name.chars() {
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// A usage error: there is no `what` called `name`. Says which there are, the likeliest first.
pub(crate) fn no_such<'a>(
    what: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Error {
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_unstable();
    known.dedup();
    let error = Error::usage(format!("there is no {what} {name:?}"));
    match closest(name, known.iter().copied()) {
        Some(closest) => error.remedy(format!("did you mean {closest:?}?")),
        None if known.is_empty() => error.remedy(format!("the model has no {what} to name")),
        None => error.remedy(format!("there is {}", known.join(", "))),
    }
}

/// The one of these names that may have been meant by `name`, the first of the nearest.
pub(crate) fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = 1 + name.chars().count() / 3;
    let lengths = |other: &&str| name.chars().count().abs_diff(other.chars().count()) <= most;
    let near = known.into_iter().filter(lengths).map(|other| (distance(name, other), other));
    let (found, other) = near.min_by_key(|(distance, _)| *distance)?;
    (found <= most).then_some(other)
}

/// Insertions, deletions and replacements that make one word of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_near_are_suggested() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        let error = no_such("dimension", "batchs", ["seq", "batch"]);
        assert_eq!(error.help(), Some("did you mean \"batch\"?"));
        let error = no_such("dimension", "height", ["seq", "batch"]);
        assert_eq!(error.help(), Some("there is batch, seq"));
    }
}
