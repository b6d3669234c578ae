//! What a conversion is asked to do, and what that means for one matrix.

use std::fmt;
use std::str::FromStr;

use amq_format::graph::Activations;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};
use crate::quant::{Cycles, Method};
use crate::recipe::{self, Recipe};

/// How the weights of a matrix are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// As floats.
    F32,
    /// As this many codes a row: 1 to 8.
    Codes(u8),
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

/// The activations that the command line names.
pub const ACTIVATIONS: [Activations; 6] = [
    Activations::F32,
    Activations::Int8,
    Activations::Codes1,
    Activations::Codes2,
    Activations::Codes3,
    Activations::Codes4,
];

/// Parses `f32`, `int8` or `1` to `4`.
pub fn parse_activations(text: &str) -> Result<Activations, String> {
    let found = ACTIVATIONS.into_iter().find(|activations| activations.name() == text);
    found.ok_or_else(|| format!("unknown activations {text:?}: use f32, int8 or 1 to 4"))
}

/// Settings of which each may be given or left to something else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Given {
    /// Weights.
    pub bits: Option<Bits>,
    /// Activations of products with multi-bit weights.
    #[serde(deserialize_with = "recipe::activations")]
    pub activations: Option<Activations>,
    /// How weights are fitted.
    #[serde(deserialize_with = "recipe::method")]
    pub method: Option<Method>,
    /// How long the alternating method goes on.
    #[serde(deserialize_with = "recipe::cycles")]
    pub cycles: Option<Cycles>,
}

impl Given {
    /// These settings, and the other's where they give none.
    #[must_use]
    pub fn or(self, other: Given) -> Given {
        Given {
            bits: self.bits.or(other.bits),
            activations: self.activations.or(other.activations),
            method: self.method.or(other.method),
            cycles: self.cycles.or(other.cycles),
        }
    }
}

/// What is done to one matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Weights.
    pub bits: Bits,
    /// How x enters the product: `F32` where the weights stay float.
    pub activations: Activations,
    /// How weights are fitted.
    pub method: Method,
    /// How long the alternating method goes on.
    pub cycles: Cycles,
}

impl Settings {
    /// Fills in the defaults. `Err` says why the combination cannot be computed.
    fn new(given: Given) -> Result<Settings, String> {
        let bits = given.bits.unwrap_or(Bits::Codes(2));
        let activations = match bits {
            Bits::F32 => Activations::F32,
            Bits::Codes(_) => given.activations.unwrap_or(Activations::Int8),
        };
        if let (Bits::Codes(bits @ 5..), Some(codes)) = (bits, activations.codes()) {
            return Err(format!(
                "no kernel multiplies {bits}-bit weights with activations of {codes} codes"
            ));
        }
        let method = given.method.unwrap_or(Method::Alternating);
        Ok(Settings { bits, activations, method, cycles: given.cycles.unwrap_or(Cycles::Count(2)) })
    }
}

/// What a conversion is asked to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConvertOptions {
    /// Settings given as flags: they override the recipe's defaults.
    pub flags: Given,
    /// States that are named: graph input and graph output.
    pub states: Vec<(String, String)>,
    /// The recipe: its layers override the flags.
    pub recipe: Option<Recipe>,
}

impl ConvertOptions {
    /// Keeps every weight in float: the reference.
    pub fn float() -> ConvertOptions {
        let flags = Given { bits: Some(Bits::F32), ..Given::default() };
        ConvertOptions { flags, ..ConvertOptions::default() }
    }

    /// Finds the settings of matrices. Fails if the flags contradict each other.
    pub fn resolver(&self) -> Result<Resolver<'_>> {
        let layers = self.recipe.as_ref().map_or(0, |recipe| recipe.layers().len());
        let base = self.flags.or(self.recipe.as_ref().map(Recipe::defaults).unwrap_or_default());
        Settings::new(base).map_err(|why| Error::usage(why).remedy(CODES_REMEDY))?;
        if layers == 0 {
            self.check_meaning(base)?;
        }
        Ok(Resolver { options: self, base, matched: vec![false; layers], names: Vec::new() })
    }

    /// Fails if a flag has no meaning for any matrix, where all have the same settings.
    fn check_meaning(&self, base: Given) -> Result<()> {
        let Given { bits, activations, method, cycles } = self.flags;
        let quantizing = [
            activations.filter(|&a| a != Activations::F32).map(|a| format!("-a {}", a.name())),
            method.map(|method| format!("--method {method}")),
            cycles.map(|cycles| format!("--cycles {cycles}")),
        ];
        if let (Some(Bits::F32), Some(flag)) = (base.bits, quantizing.iter().flatten().next()) {
            let remedy = match bits {
                Some(_) => format!("leave out {flag}, or choose -b 1 to 8"),
                None => format!("leave out {flag}, or choose -b 1 to 8: the recipe has f32"),
            };
            return Err(
                Error::usage(format!("{flag} has no meaning for weights in float")).remedy(remedy)
            );
        }
        let method = base.method.unwrap_or(Method::Alternating);
        if let (Some(cycles), true) = (cycles, method != Method::Alternating) {
            return Err(Error::usage(format!(
                "--cycles {cycles} has no meaning for the method {method}"
            ))
            .remedy("leave it out, or choose --method alternating"));
        }
        Ok(())
    }
}

const CODES_REMEDY: &str = "use at most 4 bits for the weights, or int8 or f32 activations";

impl fmt::Display for ConvertOptions {
    /// The options as flags, each that was given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Given { bits, activations, method, cycles } = self.flags;
        let mut flags = Vec::new();
        flags.extend(bits.map(|bits| format!("-b {bits}")));
        flags.extend(activations.map(|activations| format!("-a {}", activations.name())));
        flags.extend(method.map(|method| format!("--method {method}")));
        flags.extend(cycles.map(|cycles| format!("--cycles {cycles}")));
        flags.extend(self.states.iter().map(|(input, output)| format!("--state {input}={output}")));
        f.write_str(&flags.join(" "))
    }
}

/// Finds the settings of matrices, and remembers which patterns of the recipe were of use.
#[derive(Debug)]
pub struct Resolver<'a> {
    options: &'a ConvertOptions,
    base: Given,
    matched: Vec<bool>,
    names: Vec<String>,
}

impl Resolver<'_> {
    /// The settings of the matrix `suffix` (`Some("W")` or `Some("R")` for a recurrent layer,
    /// `None` for the only one) of the node called `name`.
    pub fn settings(&mut self, name: &str, suffix: Option<&str>) -> Result<Settings> {
        let full = suffix.map(|suffix| format!("{name}.{suffix}"));
        let mut layer = Given::default();
        if let Some(recipe) = &self.options.recipe {
            for (pattern, matched) in recipe.layers().iter().zip(&mut self.matched) {
                if pattern.matches(name) || full.as_deref().is_some_and(|f| pattern.matches(f)) {
                    *matched = true;
                    layer = pattern.given.or(layer);
                }
            }
        }
        let full = full.unwrap_or_else(|| name.to_owned());
        let settings = Settings::new(layer.or(self.base))
            .map_err(|why| Error::usage(format!("{full}: {why}")).remedy(CODES_REMEDY));
        self.names.push(full);
        settings
    }

    /// Fails if a pattern of the recipe matched none of the matrices asked for.
    pub fn finish(self) -> Result<()> {
        let Some(recipe) = &self.options.recipe else { return Ok(()) };
        let Some(unused) = self.matched.iter().position(|matched| !matched) else { return Ok(()) };
        const SHOWN: usize = 8;
        let mut names = self.names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
        if self.names.len() > SHOWN {
            names += ", ..";
        }
        let pattern = &recipe.layers()[unused];
        let error = Error::usage(format!("the pattern {:?} matches no layer", pattern.pattern()))
            .within(format_args!("{}:{}", recipe.name(), pattern.line()));
        Err(if names.is_empty() { error } else { error.remedy(format!("layers: {names}")) })
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
pub(crate) fn word_or_number<'de, D: Deserializer<'de>, T>(
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

#[cfg(test)]
mod tests {
    use super::*;

    fn with(bits: &str, activations: &str) -> ConvertOptions {
        let flags = Given {
            bits: Some(bits.parse().unwrap()),
            activations: Some(parse_activations(activations).unwrap()),
            ..Given::default()
        };
        ConvertOptions { flags, ..ConvertOptions::default() }
    }

    #[test]
    fn defaults_are_two_bits_and_int8() {
        let options = ConvertOptions::default();
        let settings = options.resolver().unwrap().settings("a", None).unwrap();
        assert_eq!(settings.bits, Bits::Codes(2));
        assert_eq!(settings.activations, Activations::Int8);
        assert_eq!(settings.method, Method::Alternating);
    }

    #[test]
    fn combinations_without_a_kernel_are_usage_errors() {
        for (bits, activations, good) in [
            ("4", "2", true),
            ("5", "2", false),
            ("8", "int8", true),
            ("f32", "int8", false),
            ("f32", "f32", true),
        ] {
            let options = with(bits, activations);
            assert_eq!(options.resolver().is_ok(), good, "{bits} {activations}");
        }
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for text in ["f32", "1", "8"] {
            assert_eq!(text.parse::<Bits>().unwrap().to_string(), text);
        }
        for text in ["0", "9", "", "int8", "-1", "2.0"] {
            assert!(text.parse::<Bits>().is_err(), "{text}");
        }
        assert!(parse_activations("5").is_err());
    }
}
