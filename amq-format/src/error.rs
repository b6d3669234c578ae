//! Why a file is refused: the numbered rule that it breaks, where and how.

use alloc::string::String;
use core::fmt;
use core::fmt::Write;

/// Why a file cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The file breaks a rule of the format: it is damaged, or not an `.amq` file.
    Invalid {
        /// The rule.
        rule: Rule,
        /// Where, and what was found.
        detail: String,
    },
    /// The file is made for a reader that knows more than this one.
    Unsupported {
        /// The rule by which it is refused.
        rule: Rule,
        /// What is not known, and which versions are concerned.
        detail: String,
    },
    /// The file asks for more than the caller's [`Limits`](crate::Limits) allow.
    Limit {
        /// The limit, by its name in [`Limits`](crate::Limits).
        limit: &'static str,
        /// What the file asks for.
        found: u64,
        /// What is allowed.
        allowed: u64,
    },
}

impl Error {
    pub(crate) fn invalid(rule: Rule, detail: impl Into<String>) -> Error {
        Error::Invalid { rule, detail: detail.into() }
    }

    pub(crate) fn unsupported(rule: Rule, detail: impl Into<String>) -> Error {
        Error::Unsupported { rule, detail: detail.into() }
    }

    /// The rule that the file breaks, unless a limit stopped the reader.
    pub fn rule(&self) -> Option<Rule> {
        match self {
            Error::Invalid { rule, .. } | Error::Unsupported { rule, .. } => Some(*rule),
            Error::Limit { .. } => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Invalid { rule, detail } => write!(f, "{detail} (rule {rule}: {})", rule.text()),
            Error::Unsupported { rule, detail } => {
                write!(f, "{detail}; a newer reader may know it (rule {rule})")
            }
            Error::Limit { limit, found, allowed } => {
                write!(f, "the file asks for {found} where the limit {limit} allows {allowed}")
            }
        }
    }
}

impl core::error::Error for Error {}

/// A name in quotes, as errors show it: what cannot be seen, or turns what is seen around, is escaped. `Debug` of a text
/// asks tables of all characters for that.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}' => {
                    write!(f, "{}", c.escape_unicode())?;
                }
                _ if c.is_control() => write!(f, "{}", c.escape_unicode())?,
                _ => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// Fails with `Limit` if `found` is more than `allowed`.
pub(crate) fn within(limit: &'static str, found: u64, allowed: u64) -> Result<(), Error> {
    if found > allowed { Err(Error::Limit { limit, found, allowed }) } else { Ok(()) }
}

macro_rules! rules {
    ($($code:ident $text:literal)*) => {
        /// A numbered rule of the format, as `docs/format.md` lists them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $(#[doc = $text] $code,)*
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Rule] = &[$(Rule::$code),*];

            /// Its number, such as `H1`.
            pub fn code(self) -> &'static str {
                match self { $(Rule::$code => stringify!($code)),* }
            }

            /// What it says, without Markdown's line breaks.
            pub fn text(self) -> &'static str {
                match self { $(Rule::$code => $text),* }
            }
        }
    };
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

rules! {
    H1 "the file holds a whole header"
    H2 "the file begins with the magic bytes"
    H3 "the major version is 1"
    H4 "the header length is 64"
    H5 "the file length is the number of bytes there are"
    H6 "no required feature is unknown"
    H7 "reserved bytes are zero"
    H8 "the section table is at byte 64, and it and the root digest lie inside the file"
    H9 "the root digest is that of the header and the table"
    S1 "the first section is the graph, and no other is"
    S2 "no critical section is of an unknown kind"
    S3 "no flag but critical is set, and known kinds have the flags stated for them"
    S4 "the alignment is 64"
    S5 "each section begins at the first multiple of 64 after what precedes it, and lies inside the file"
    S6 "the last section ends where the file ends"
    S7 "padding is zero"
    S8 "each section's digest is that of its bytes"
    S9 "there is at most one provenance section, and it is UTF-8"
    T1 "tensors have the TENSOR sections one each, in order, and none is left over"
    T2 "the type of the elements and of the coefficients is known, and only f32 elements have a precision"
    T3 "sizes fit 64 bits and the machine's addresses, and there are at most 8 axes"
    T4 "the section has exactly the bytes that the tensor takes"
    T5 "a bool is 0 or 1"
    T6 "a multi-bit tensor is f32 and has 1 to 8 bits"
    T7 "the rows divide the elements and leave 1 to 2^24 columns"
    T8 "a group is 0, or a multiple of 32 below the columns"
    T9 "bits beyond the last element of a plane are zero"
    T10 "coefficients and offsets are finite"
    T11 "weights and biases are finite"
    G1 "the graph section is a protobuf message of the schema, not nested beyond 64"
    G2 "encoding the decoded graph again gives the same bytes"
    G3 "value 0 has the empty name; the others have names, each its own"
    G4 "numbers of values are in range, and 0 only where a value may be absent"
    G5 "each value but 0 is given exactly once: by an input, a tensor or a node"
    G6 "a node reads only what is given before it"
    G7 "a node has a known operator"
    G8 "the operator's version is known, and it and the file's have what its attributes say"
    G9 "a node has the bodies and the names of sizes that its operator states"
    G10 "a node has as many inputs and outputs as its operator states"
    G11 "attributes are of the values that their operator states"
    G12 "dimensions are well formed and made of names that have a size there"
    G13 "weights are constants of the types and shapes that their operator states"
    G14 "a multi-bit tensor is used only as a weight or as a table, row by row"
    G15 "activations other than F32 meet a multi-bit weight, of at most 4 bits if they are codes"
    G16 "an input's dimensions are positive, and an output is listed once"
    G17 "a state joins an input and an output of one type and shape, with an initial value to match"
    G18 "a stream is an input or output, listed once, and its axes are two of that port's"
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn names_are_shown_whole() {
        assert_eq!(Quoted("é/x:0").to_string(), "\"é/x:0\"");
        assert_eq!(Quoted("a\"\\\n\u{202e}b").to_string(), r#""a\"\\\u{a}\u{202e}b""#);
        assert_eq!(Quoted("\u{61c}").to_string(), r#""\u{61c}""#);
    }
}
