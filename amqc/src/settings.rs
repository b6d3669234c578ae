//! What can be done to a matrix of weights: the settings of the command line and of recipes.

use std::fmt;
use std::str::FromStr;

use amq_format::graph::Activations;
use amq_format::spec::GROUP_COLUMNS;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::quant::{Cycles, Method};

/// How the weights of a matrix are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// As floats.
    F32,
    /// As this many codes a row: 1 to 8.
    Codes(u8),
}

impl Bits {
    /// As many, or `least` where they are codes and fewer.
    pub(crate) fn at_least(self, least: u8) -> Bits {
        match self {
            Bits::F32 => self,
            Bits::Codes(bits) => Bits::Codes(bits.max(least)),
        }
    }
}

impl Default for Bits {
    fn default() -> Bits {
        Bits::Codes(2)
    }
}

impl FromStr for Bits {
    type Err = String;

    fn from_str(text: &str) -> Result<Bits, String> {
        match text.parse() {
            _ if text == "f32" => Ok(Bits::F32),
            Ok(bits @ 1..=8) => Ok(Bits::Codes(bits)),
            _ => Err(format!("unknown number of bits {text:?}: use f32 or 1 to 8")),
        }
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bits::F32 => f.write_str("f32"),
            Bits::Codes(bits) => write!(f, "{bits}"),
        }
    }
}

/// Columns of a row that have coefficients of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Group {
    /// All.
    #[default]
    Row,
    /// So many at a time, a multiple of 32.
    Columns(u32),
}

impl Group {
    /// Columns of a group, 0 where it is the row.
    pub(crate) fn columns(self) -> usize {
        match self {
            Group::Row => 0,
            Group::Columns(columns) => columns as usize,
        }
    }
}

impl FromStr for Group {
    type Err = String;

    fn from_str(text: &str) -> Result<Group, String> {
        match text.parse::<u32>() {
            _ if text == "row" => Ok(Group::Row),
            Ok(columns @ 1..) if u64::from(columns).is_multiple_of(GROUP_COLUMNS) => {
                Ok(Group::Columns(columns))
            }
            _ => Err(format!(
                "unknown group {text:?}: use row or a number of columns, a multiple of 32"
            )),
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Group::Row => f.write_str("row"),
            Group::Columns(columns) => write!(f, "{columns}"),
        }
    }
}

/// The activations that the command line names.
pub const ACTIVATIONS: [Activations; 7] = [
    Activations::F32,
    Activations::Int16,
    Activations::Int8,
    Activations::Codes1,
    Activations::Codes2,
    Activations::Codes3,
    Activations::Codes4,
];

/// Parses `f32`, `int16`, `int8` or `1` to `4`.
pub fn parse_activations(text: &str) -> Result<Activations, String> {
    let found = ACTIVATIONS.into_iter().find(|activations| activations.name() == text);
    found.ok_or_else(|| format!("unknown activations {text:?}: use f32, int16, int8 or 1 to 4"))
}

/// Settings of which each may be given or left to something else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Given {
    /// Weights.
    pub bits: Option<Bits>,
    /// Activations of products with multi-bit weights.
    #[serde(deserialize_with = "activations")]
    pub activations: Option<Activations>,
    /// Columns that have coefficients of their own.
    #[serde(deserialize_with = "group")]
    pub group: Option<Group>,
    /// How weights are fitted.
    #[serde(deserialize_with = "method")]
    pub method: Option<Method>,
    /// How long the alternating method goes on.
    #[serde(deserialize_with = "cycles")]
    pub cycles: Option<Cycles>,
}

impl Given {
    /// These settings, and the other's where they give none.
    #[must_use]
    pub fn or(self, other: Given) -> Given {
        Given {
            bits: self.bits.or(other.bits),
            activations: self.activations.or(other.activations),
            group: self.group.or(other.group),
            method: self.method.or(other.method),
            cycles: self.cycles.or(other.cycles),
        }
    }
}

/// Most bits of weights that are multiplied with codes of activations.
pub(crate) const MOST_BITS_BY_CODES: u8 = 4;
/// Bits from which int8 activations would lose more than the weights do.
const FINE_BITS: u8 = 7;

/// What the place of a matrix in the network asks for, where nothing is set for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Bits that it gets at least.
    pub least_bits: u8,
    /// Whether it is a convolution's.
    pub convolution: bool,
    /// Whether it has so few rows that coding a vector for them takes as long as the product.
    pub few_rows: bool,
}

impl Default for Needs {
    fn default() -> Needs {
        Needs { least_bits: 1, convolution: false, few_rows: false }
    }
}

/// Bits from which the least error of the weights gives the best answers.
const LEAST_ERROR_BITS: u8 = 3;

/// What is done to one matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Weights.
    pub bits: Bits,
    /// Whether they are more than what was asked for.
    pub raised: bool,
    /// How x enters the product: `F32` where the weights stay float.
    pub activations: Activations,
    /// Whether that is what was asked for, so that data choose no other.
    pub asked: bool,
    /// Columns that have coefficients of their own.
    pub group: Group,
    /// How weights are fitted.
    pub method: Method,
    /// How long the alternating method goes on.
    pub cycles: Cycles,
}

impl Settings {
    /// Fills in the defaults, which are others where there are data to calibrate with. `Err` says why the combination cannot be computed.
    pub(crate) fn new(given: Given, calibrated: bool, needs: Needs) -> Result<Settings, String> {
        let bits = given.bits.unwrap_or_default();
        let activations = match bits {
            Bits::F32 => Activations::F32,
            Bits::Codes(bits) => given.activations.unwrap_or(match bits {
                // Pixels meet many rows, where float is faster than 7 or 8 codes in two parts.
                FINE_BITS.. if needs.convolution => Activations::F32,
                // Nothing is gained, and what spectra and the like have of small values is kept.
                FINE_BITS.. if needs.few_rows => Activations::F32,
                FINE_BITS.. => Activations::Int16,
                _ => Activations::Int8,
            }),
        };
        if let (Bits::Codes(bits), Some(codes)) = (bits, activations.codes())
            && bits > MOST_BITS_BY_CODES
        {
            return Err(format!(
                "no kernel multiplies {bits}-bit weights with activations of {codes} codes"
            ));
        }
        let method = given.method.unwrap_or_else(|| match bits {
            _ if calibrated && given.cycles.is_none() => Method::Calibrated,
            Bits::Codes(LEAST_ERROR_BITS..) if given.cycles.is_none() => Method::Best,
            _ => Method::Alternating,
        });
        if method == Method::Calibrated && !calibrated {
            return Err("the method calibrated needs data to calibrate with".into());
        }
        let cycles = given.cycles.unwrap_or(Cycles::Count(2));
        let group = given.group.unwrap_or_default();
        let asked = bits == Bits::F32 || given.activations.is_some();
        Ok(Settings { bits, raised: false, activations, asked, group, method, cycles })
    }
}

impl Serialize for Bits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Bits::F32 => serializer.serialize_str("f32"),
            Bits::Codes(bits) => serializer.serialize_u8(*bits),
        }
    }
}

/// Reads a setting that may be written as a word or as a number, with its parser.
fn word_or_number<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: fn(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    struct Word<T>(fn(&str) -> Result<T, String>);
    impl<T> serde::de::Visitor<'_> for Word<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a word or a number")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            (self.0)(text).map_err(E::custom)
        }

        fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }

        fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
    }
    deserializer.deserialize_any(Word(parse))
}

impl<'de> Deserialize<'de> for Bits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bits, D::Error> {
        word_or_number(deserializer, str::parse)
    }
}

pub(crate) fn activations<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Activations>, D::Error> {
    word_or_number(from, parse_activations).map(Some)
}

pub(crate) fn group<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Group>, D::Error> {
    word_or_number(from, str::parse).map(Some)
}

pub(crate) fn method<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Method>, D::Error> {
    word_or_number(from, parse::<Method>).map(Some)
}

pub(crate) fn cycles<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Cycles>, D::Error> {
    word_or_number(from, parse::<Cycles>).map(Some)
}

fn parse<T: FromStr<Err: ToString>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for text in ["f32", "1", "8"] {
            assert_eq!(text.parse::<Bits>().unwrap().to_string(), text);
        }
        for text in ["0", "9", "", "int8", "-1", "2.0"] {
            assert!(text.parse::<Bits>().is_err(), "{text}");
        }
        assert!(parse_activations("5").is_err());
        for text in ["row", "32", "96"] {
            assert_eq!(text.parse::<Group>().unwrap().to_string(), text);
        }
        for text in ["0", "16", "-32", "all", "33"] {
            assert!(text.parse::<Group>().is_err(), "{text}");
        }
    }
}
