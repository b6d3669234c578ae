//! What a conversion is asked to do, and what that means for one matrix.

use std::collections::BTreeMap;
use std::fmt;

use amq_format::graph::Activations;

use crate::calibrate::source::Source;
use crate::error::{Error, Result};
use crate::interface::Interface;
use crate::names::closest;
use crate::onnx::Limits;
use crate::quant::Method;
use crate::recipe::{Layer, Recipe};
use crate::settings::{Bits, Given, MOST_BITS_BY_CODES, Needs, Settings};

/// What a conversion is asked to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConvertOptions {
    /// Settings given as flags: they override the recipe's defaults.
    pub flags: Given,
    /// What is said of the model's inputs and outputs.
    pub interface: Interface,
    /// The recipe: its layers override the flags.
    pub recipe: Option<Recipe>,
    /// Data that weights are fitted to.
    pub calibration: Option<Source>,
    /// Most bytes of the model's constants as they are decoded, and again of what is computed of them.
    pub max_constants: Option<u64>,
    /// What the file is to tell of the model, by the user's own keys.
    pub meta: BTreeMap<String, String>,
}

impl ConvertOptions {
    /// Keeps every weight in float: the reference.
    pub fn float() -> ConvertOptions {
        ConvertOptions::float_with(&Interface::default())
    }

    /// Keeps every weight in float, with what is said of the model.
    pub fn float_with(interface: &Interface) -> ConvertOptions {
        let flags = Given { bits: Some(Bits::F32), ..Given::default() };
        ConvertOptions { flags, interface: interface.clone(), ..ConvertOptions::default() }
    }

    /// The same model with every weight in float.
    pub(crate) fn as_float(&self) -> ConvertOptions {
        let max_constants = self.max_constants;
        ConvertOptions { max_constants, ..ConvertOptions::float_with(&self.interface) }
    }

    /// What reading the model may take.
    pub(crate) fn limits(&self) -> Limits {
        let limits = Limits::default();
        match self.max_constants {
            Some(most) => Limits { constant_bytes: most, folded_bytes: most, ..limits },
            None => limits,
        }
    }

    /// Finds the settings of matrices. Fails if the flags contradict each other.
    pub fn resolver(&self) -> Result<Resolver<'_>> {
        let layers = self.recipe.as_ref().map_or(0, |recipe| recipe.layers().len());
        let base = self.flags.or(self.recipe.as_ref().map(Recipe::defaults).unwrap_or_default());
        Settings::new(base, self.calibration.is_some(), Needs::default())
            .map_err(|why| Error::usage(why).remedy(REMEDY))?;
        if layers == 0 {
            self.check_meaning(base)?;
        }
        Ok(Resolver { options: self, base, matched: vec![false; layers], names: Vec::new() })
    }

    /// Fails if a flag has no meaning for any matrix, where all have the same settings.
    fn check_meaning(&self, base: Given) -> Result<()> {
        let Given { bits, activations, group, method, cycles } = self.flags;
        let quantizing = [
            activations.filter(|&a| a != Activations::F32).map(|a| format!("-a {}", a.name())),
            group.map(|group| format!("--group {group}")),
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

const REMEDY: &str = "codes as activations (-a 1 to 4) need weights of at most 4 bits; --method calibrated needs --calib";

impl fmt::Display for ConvertOptions {
    /// The options as flags, each that was given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Given { bits, activations, group, method, cycles } = self.flags;
        let mut flags = Vec::new();
        flags.extend(bits.map(|bits| format!("-b {bits}")));
        flags.extend(activations.map(|activations| format!("-a {}", activations.name())));
        flags.extend(group.map(|group| format!("--group {group}")));
        flags.extend(method.map(|method| format!("--method {method}")));
        flags.extend(cycles.map(|cycles| format!("--cycles {cycles}")));
        flags.extend(self.calibration.as_ref().map(Source::to_string));
        flags.extend((!self.interface.is_empty()).then(|| self.interface.to_string()));
        flags.extend(self.max_constants.map(|most| format!("--max-constants {most}")));
        f.write_str(&flags.join(" "))
    }
}

impl ConvertOptions {
    /// The same conversion, said by a recipe alone: with the settings of each of these matrices, given by
    /// their names and what its place asks for, in which what was `chosen` for each (for none, if that is empty) stands in place of
    /// what the flags give. Activations that nobody asked for stay `open` to what data say, or are said too. `comment` is the
    /// recipe's first line.
    ///
    /// # Errors
    /// As [`ConvertOptions::resolver`]; matrices whose names do not tell them apart.
    pub(crate) fn spelled_out(
        &self,
        comment: &str,
        matrices: &[(Called, Needs)],
        chosen: &[Given],
        open: bool,
    ) -> Result<ConvertOptions> {
        let mut all = Vec::with_capacity(matrices.len());
        for (index, (called, needs)) in matrices.iter().enumerate() {
            let flags = chosen.get(index).copied().unwrap_or_default().or(self.flags);
            let options = ConvertOptions { flags, ..self.clone() };
            let settings = options.resolver()?.settings_of(called, *needs)?;
            all.push((
                called.full(&called.node),
                Settings { raised: false, asked: settings.asked || !open, ..settings },
            ));
        }
        let recipe = Some(Recipe::of(comment, &all)?);
        let options = ConvertOptions { flags: Given::default(), recipe, ..self.clone() };
        let mut resolver = options.resolver()?;
        for ((called, needs), (full, settings)) in matrices.iter().zip(&all) {
            if resolver.settings_of(called, *needs)? != *settings {
                return Err(Error::unsupported(format!("another layer is called {full:?} too"))
                    .remedy("give the model's nodes names of their own"));
            }
        }
        Ok(options)
    }
}

/// What a matrix of weights is called.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    /// Name of the node.
    pub(crate) node: String,
    /// Which of the matrices of a recurrent layer.
    pub(crate) suffix: Option<&'static str>,
    /// Other names that stand for it as the node's does.
    pub(crate) others: Vec<String>,
}

impl Called {
    /// A name with the suffix.
    fn full(&self, name: &str) -> String {
        self.suffix.map_or(name.to_owned(), |suffix| format!("{name}.{suffix}"))
    }

    fn matches(&self, layer: &Layer) -> bool {
        let mut names = [&self.node].into_iter().chain(&self.others);
        names.any(|name| layer.matches(name) || layer.matches(&self.full(name)))
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
    /// `None` for the only one) of the node called `name`, with the bits that it needs or more unless a
    /// layer of the recipe says how many.
    pub fn settings(
        &mut self,
        name: &str,
        suffix: Option<&'static str>,
        needs: Needs,
    ) -> Result<Settings> {
        self.settings_of(&Called { node: name.to_owned(), suffix, others: Vec::new() }, needs)
    }

    /// The same of a matrix that has other names too.
    pub(crate) fn settings_of(&mut self, called: &Called, needs: Needs) -> Result<Settings> {
        let full = called.full(&called.node);
        let mut layer = Given::default();
        if let Some(recipe) = &self.options.recipe {
            for (pattern, matched) in recipe.layers().iter().zip(&mut self.matched) {
                if called.matches(pattern) {
                    *matched = true;
                    layer = pattern.given.or(layer);
                }
            }
        }
        let mut given = layer.or(self.base);
        let asked = given.bits.unwrap_or_default();
        if layer.bits.is_none() {
            let codes = given.activations.and_then(|activations| activations.codes());
            let most = codes.map_or(u8::MAX, |_| MOST_BITS_BY_CODES);
            given.bits = Some(asked.at_least(needs.least_bits.min(most)));
        }
        let settings = Settings::new(given, self.options.calibration.is_some(), needs)
            .map(|settings| Settings { raised: settings.bits != asked, ..settings })
            .map_err(|why| Error::usage(format!("{full}: {why}")).remedy(REMEDY));
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
        let meant = closest(pattern.pattern(), self.names.iter().map(String::as_str));
        let meant = meant.map(|name| format!("did you mean {name:?}? "));
        let remedy = format!("{}layers: {names}", meant.unwrap_or_default());
        Err(if names.is_empty() { error } else { error.remedy(remedy) })
    }
}

#[cfg(test)]
mod tests {
    use amq_format::graph::Activations;

    use super::*;
    use crate::settings::parse_activations;

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
        let settings = options.resolver().unwrap().settings("a", None, Needs::default()).unwrap();
        assert_eq!(settings.bits, Bits::Codes(2));
        assert_eq!(settings.activations, Activations::Int8);
        assert_eq!(settings.method, Method::Alternating);
    }

    #[test]
    fn activations_are_as_fine_as_the_weights() {
        for (bits, convolution, few_rows, expected) in [
            ("6", false, false, "int8"),
            ("7", false, false, "int16"),
            ("8", false, false, "int16"),
            ("6", true, false, "int8"),
            ("7", true, false, "f32"),
            ("6", false, true, "int8"),
            ("7", false, true, "f32"),
            ("f32", true, false, "f32"),
        ] {
            let flags = Given { bits: Some(bits.parse().unwrap()), ..Given::default() };
            let options = ConvertOptions { flags, ..ConvertOptions::default() };
            let needs = Needs { convolution, few_rows, ..Needs::default() };
            let settings = options.resolver().unwrap().settings("a", None, needs).unwrap();
            assert_eq!(settings.activations.name(), expected, "{bits} {convolution} {few_rows}");
        }
    }

    #[test]
    fn combinations_without_a_kernel_are_usage_errors() {
        for (bits, activations, good) in [
            ("4", "2", true),
            ("5", "2", false),
            ("8", "int8", true),
            ("8", "int16", true),
            ("f32", "int8", false),
            ("f32", "f32", true),
        ] {
            let options = with(bits, activations);
            assert_eq!(options.resolver().is_ok(), good, "{bits} {activations}");
        }
    }
}
