//! Recipes: one YAML file that says all that the flags say, for each layer by pattern.

use std::path::Path;

use amq_format::graph::Activations;
use serde::Deserialize;
use serde_saphyr::{MessageFormatter, Spanned, UserMessageFormatter};

use crate::error::{Error, Result};
use crate::input;
use crate::quant::{Cycles, Method};
use crate::settings::{self, Bits, Given, Group, Settings};

/// A recipe that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    name: String,
    text: String,
    defaults: Given,
    layers: Vec<Layer>,
}

/// One entry under `layers`.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    pattern: String,
    line: u64,
    /// What it sets.
    pub given: Given,
}

impl Recipe {
    /// Reads the recipe at `path`.
    pub fn read(path: &Path) -> Result<Recipe> {
        let text = input::whole(path, input::RECIPE_BYTES)?;
        let text = String::from_utf8(text)
            .map_err(|_| Error::usage(format!("{}: a recipe is UTF-8 text", path.display())))?;
        Recipe::parse(&path.display().to_string(), text)
    }

    /// Reads a recipe from its text; `name` stands for it in errors.
    pub fn parse(name: &str, text: String) -> Result<Recipe> {
        let file: File = serde_saphyr::from_str(&text).map_err(|error| mistake(name, &error))?;
        if file.version.value != 1 {
            let (line, version) = (file.version.referenced.line(), file.version.value);
            return Err(Error::usage(format!(
                "{name}:{line}: recipe version {version} is unknown; this amqc reads version 1"
            )));
        }
        let layers = file.layers.into_iter().map(|entry| Layer {
            line: entry.pattern.referenced.line(),
            pattern: entry.pattern.value,
            given: Given {
                bits: entry.bits,
                activations: entry.activations,
                group: entry.group,
                method: entry.method,
                cycles: entry.cycles,
            },
        });
        Ok(Recipe {
            name: name.to_owned(),
            defaults: file.defaults,
            layers: layers.collect(),
            text,
        })
    }

    /// The recipe that sets all of these (activations where they were asked for), each for the matrix of that name;
    /// `comment` is its first line.
    ///
    /// # Errors
    /// A name that makes no pattern.
    pub fn of(comment: &str, matrices: &[(String, Settings)]) -> Result<Recipe> {
        let mut text = format!("# {comment}\nversion: 1\nlayers:\n");
        for (name, Settings { bits, activations, asked, group, method, cycles, .. }) in matrices {
            // JSON's strings are YAML's.
            let name = serde_json::Value::from(name.as_str());
            text += &format!("  - {{ match: {name}, bits: {bits}");
            if *bits != Bits::F32 {
                if *asked {
                    text += &format!(", activations: {}", activations.name());
                }
                text += &format!(", method: {method}");
                if *group != Group::Row {
                    text += &format!(", group: {group}");
                }
                if *method == Method::Alternating {
                    text += &format!(", cycles: {cycles}");
                }
            }
            text += " }\n";
        }
        Recipe::parse("the recipe", text)
    }

    /// What stands for the recipe in errors: its path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it sets for every layer; flags override it.
    pub fn defaults(&self) -> Given {
        self.defaults
    }

    /// Its entries by pattern, in order. For each key the last entry that matches and sets it wins.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }
}

impl Layer {
    /// Its pattern.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The line of the recipe that it stands in.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Whether the pattern matches the whole name; `*` stands for any characters, `/` among them.
    pub fn matches(&self, name: &str) -> bool {
        let mut pieces = self.pattern.split('*');
        let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else {
            return false;
        };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        for piece in pieces {
            match rest.split_once(piece) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

/// What is wrong and where, without advice for programmers.
fn mistake(name: &str, error: &serde_saphyr::Error) -> Error {
    let mistake =
        Error::usage(UserMessageFormatter.format_message(error.without_snippet()).trim_end());
    match error.location() {
        Some(at) => mistake.within(format_args!("{name}:{}:{}", at.line(), at.column())),
        None => mistake.within(name),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: Spanned<u64>,
    #[serde(default)]
    defaults: Given,
    #[serde(default)]
    layers: Vec<Entry>,
}

// Not a flattened `Given`: flattening loses unknown keys and line numbers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(rename = "match")]
    pattern: Spanned<String>,
    #[serde(default)]
    bits: Option<Bits>,
    #[serde(default, deserialize_with = "settings::activations")]
    activations: Option<Activations>,
    #[serde(default, deserialize_with = "settings::group")]
    group: Option<Group>,
    #[serde(default, deserialize_with = "settings::method")]
    method: Option<Method>,
    #[serde(default, deserialize_with = "settings::cycles")]
    cycles: Option<Cycles>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::options::ConvertOptions;
    use crate::settings::Needs;

    fn recipe(text: &str) -> Result<Recipe> {
        Recipe::parse("r.yaml", text.to_owned())
    }

    const EXAMPLE: &str = r#"
version: 1
defaults: { bits: 3, activations: f32, method: greedy, cycles: converge }
layers:
  - match: "/decoder/*"
    bits: 4
  - match: "embedding"
    bits: f32
  - match: "/decoder/lstm.R"
    bits: 1
    activations: 2
"#;

    fn options(flags: Given) -> ConvertOptions {
        let recipe = Some(recipe(EXAMPLE).unwrap());
        ConvertOptions { flags, recipe, ..ConvertOptions::default() }
    }

    #[test]
    fn layers_override_flags_and_flags_override_defaults() {
        let flags = Given { bits: Some(Bits::Codes(2)), ..Given::default() };
        let options = options(flags);
        let mut resolver = options.resolver().unwrap();
        let other = resolver.settings("other", None, Needs::default()).unwrap();
        assert_eq!((other.bits, other.activations), (Bits::Codes(2), Activations::F32));
        assert_eq!((other.method, other.cycles), (Method::Greedy, Cycles::Converge));
        assert_eq!(resolver.settings("embedding", None, Needs::default()).unwrap().bits, Bits::F32);
        let w = resolver.settings("/decoder/lstm", Some("W"), Needs::default()).unwrap();
        assert_eq!((w.bits, w.activations), (Bits::Codes(4), Activations::F32));
        let r = resolver.settings("/decoder/lstm", Some("R"), Needs::default()).unwrap();
        assert_eq!((r.bits, r.activations), (Bits::Codes(1), Activations::Codes2));
        resolver.finish().unwrap();
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_an_error_with_its_line() {
        let options = options(Given::default());
        let mut resolver = options.resolver().unwrap();
        resolver.settings("/decoder/lstm", Some("R"), Needs::default()).unwrap();
        let error = resolver.finish().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert_eq!(error.message(), "r.yaml:7: the pattern \"embedding\" matches no layer");
        assert_eq!(error.help(), Some("layers: /decoder/lstm.R"));
    }

    #[test]
    fn a_layer_without_a_kernel_is_named() {
        let text = "version: 1\nlayers:\n  - {match: b, bits: 6, activations: 3}\n";
        let recipe = Some(recipe(text).unwrap());
        let options = ConvertOptions { recipe, ..ConvertOptions::default() };
        let error = options.resolver().unwrap().settings("b", None, Needs::default()).unwrap_err();
        assert!(error.message().starts_with("b: no kernel"), "{error}");
    }

    #[test]
    fn patterns() {
        let matches = |pattern: &str, name| {
            Layer { pattern: pattern.into(), line: 1, given: Given::default() }.matches(name)
        };
        for (pattern, name, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("*", "/a/b", true),
            ("/a/*", "/a/b/c", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*b*", "abc", true),
            ("a*b*c", "axxbyybc", true),
            ("a*b*c", "acb", false),
            ("*.W", "lstm.W", true),
            ("*.W", "lstm.R", false),
            ("a.c", "abc", false),
            ("**", "x", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn mistakes_are_usage_errors_that_say_where() {
        for (text, line, word) in [
            ("version: 1\nversion: 1\n", 2, "version"),
            ("version: 1\ndefaults: {bits: 2}\ndefaults: {bits: 3}\n", 3, "defaults"),
            ("version: 1\nlayers:\n  - match: a\n    bits: 2\n    bits: 3\n", 5, "bits"),
            ("version: 1\nlayers:\n  - match: a\n    bit: 2\n", 4, "bit"),
            ("version: 1\nbits: 2\n", 2, "bits"),
            ("version: 2\n", 1, "version"),
            ("version: 1\ndefaults: {bits: 9}\n", 2, "9"),
            ("version: 1\ndefaults: {activations: int4}\n", 2, "int4"),
            ("version: 1\ndefaults: {method: fastest}\n", 2, "fastest"),
            ("version: 1\ndefaults: {group: 48}\n", 2, "48"),
        ] {
            let error = recipe(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            let message = error.message();
            assert!(message.starts_with(&format!("r.yaml:{line}:")), "{text}: {message}");
            assert!(message.contains(word), "{text}: {message}");
        }
        assert!(recipe("defaults: {bits: 2}\n").unwrap_err().message().contains("version"));
        assert!(recipe("version: 1\nlayers:\n  - bits: 2\n").is_err());
    }
}
