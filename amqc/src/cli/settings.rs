//! The flags that say how a model is compiled.

use std::collections::BTreeMap;
use std::path::PathBuf;

use amq_format::graph::Activations;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::interface::{Dims, Ports};
use crate::error::Result;
use crate::options::ConvertOptions;
use crate::quant::{Cycles, Method};
use crate::recipe::Recipe;
use crate::settings::{ACTIVATIONS, Bits, Given, Group, parse_activations};

#[derive(Debug, Args)]
pub(super) struct Settings {
    /// Bits of the weights: f32, or 1 to 8 codes a row [default: 2]
    #[arg(short, long, value_name = "BITS", value_parser = bits())]
    bits: Option<Bits>,
    /// How activations enter products with such weights [default: int8; from
    /// 7 bits int16, and f32 in convolutions and for fewer than 64 rows]
    ///
    /// int8 is a table of sums in 8 bits, the most accurate at that speed; int16 is two of them, in
    /// about twice the time; 1 to 4 is a number of codes found as the model runs, for weights of at
    /// most 4 bits; f32 decodes the weights.
    #[arg(short, long, value_name = "ACTIVATIONS", value_parser = activations())]
    activations: Option<Activations>,
    /// Columns of a row that have coefficients of their own: row for all, or a multiple of 32 [default: row]
    ///
    /// Fewer columns are nearer and take more bytes: 16 bits for each code of a group. A convolution takes
    /// the largest multiple of 32 below that a pixel's channels divide into, or that divides into pixels.
    #[arg(long, value_name = "COLUMNS|row")]
    group: Option<Group>,
    /// How codes are fitted [default: alternating up to 2 bits or with --cycles, else best]
    #[arg(long, value_parser = method())]
    method: Option<Method>,
    /// Cycles of the alternating method: a number, or converge [default: 2]
    #[arg(long, value_name = "N|converge")]
    cycles: Option<Cycles>,
    #[command(flatten)]
    ports: Ports,
    #[command(flatten)]
    dims: Dims,
    /// Settings by layer, from a YAML file
    ///
    /// Its keys are those of the flags. Patterns match names of layers, with .W or .R after them
    /// for one matrix of a recurrent layer; * crosses /; for each key the last match wins. Flags
    /// override the recipe's defaults, its layers override both.
    #[arg(long, value_name = "R.yaml")]
    recipe: Option<PathBuf>,
    /// Refuse a model whose constants take more than this once they are read: bytes, or 64MB, 1GiB [default: 8GiB]
    ///
    /// What is computed of constants ahead of time takes no more either; the rest is computed when the model runs.
    /// For services, which read what others send: a small file can stand for large constants.
    #[arg(long, value_name = "S", value_parser = super::budget::size)]
    max_constants: Option<u64>,
}

fn bits() -> impl TypedValueParser<Value = Bits> {
    let names = ["f32", "1", "2", "3", "4", "5", "6", "7", "8"];
    PossibleValuesParser::new(names).try_map(|text| text.parse())
}

fn activations() -> impl TypedValueParser<Value = Activations> {
    PossibleValuesParser::new(ACTIVATIONS.map(Activations::name))
        .try_map(|text| parse_activations(&text))
}

fn method() -> impl TypedValueParser<Value = Method> {
    PossibleValuesParser::new(Method::ALL.map(Method::name)).try_map(|text| text.parse::<Method>())
}

impl Settings {
    /// The recipe's file.
    pub(super) fn recipe(&self) -> Option<&PathBuf> {
        self.recipe.as_ref()
    }

    /// The options that the flags and the recipe give.
    pub(super) fn options(&self) -> Result<ConvertOptions> {
        Ok(ConvertOptions {
            flags: Given {
                bits: self.bits,
                activations: self.activations,
                group: self.group,
                method: self.method,
                cycles: self.cycles,
            },
            interface: self.ports.interface(&self.dims),
            recipe: self.recipe.as_deref().map(Recipe::read).transpose()?,
            calibration: None,
            max_constants: self.max_constants,
            meta: BTreeMap::new(),
        })
    }
}
