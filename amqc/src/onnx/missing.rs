//! What stops a model: collected while it is read, so that all of it is told at once.

use std::collections::{HashMap, HashSet};

use crate::error::{Error, ErrorKind, Missing, Result};

/// What stops a model, and which of its values are not known for that.
#[derive(Default)]
pub(super) struct Refusals {
    found: Vec<Refusal>,
    /// Values that what is refused would give, and what follows from them.
    lost: HashSet<String>,
    /// How often a value was lost.
    losses: usize,
    /// Nodes of which only the operator was looked at, because they read lost values.
    unexamined: usize,
}

struct Refusal {
    /// The operator, or that it is an input or an initializer.
    what: String,
    /// The name of the node, input or initializer.
    name: String,
    error: Error,
}

impl Refusals {
    /// Takes note of an error that stops the model, if it is such; others are given back.
    pub(super) fn add(&mut self, what: &str, name: &str, error: Error) -> Result<()> {
        if error.kind() != ErrorKind::Unsupported {
            return Err(error);
        }
        self.found.push(Refusal { what: what.to_owned(), name: name.to_owned(), error });
        Ok(())
    }

    /// A number that grows with all that is noted.
    pub(super) fn count(&self) -> usize {
        self.found.len() + self.losses
    }

    /// Takes note that a node was not examined.
    pub(super) fn pass_over(&mut self) {
        self.unexamined += 1;
    }

    /// A value that is not known because what gives it is refused.
    pub(super) fn lose(&mut self, name: &str) {
        self.lost.insert(name.to_owned());
        self.losses += 1;
    }

    /// Whether a value is not known for that reason.
    pub(super) fn is_lost(&self, name: &str) -> bool {
        self.lost.contains(name)
    }

    /// Fails if anything stops the model.
    pub(super) fn finish(self) -> Result<()> {
        let mut missing: Vec<Missing> = Vec::new();
        let mut groups = HashMap::new();
        for Refusal { what, name, error } in &self.found {
            let key = (what, without_names(error.message()), error.help());
            let group = *groups.entry(key).or_insert_with(|| {
                missing.push(Missing {
                    what: what.clone(),
                    reason: error.message().to_owned(),
                    help: error.help().map(str::to_owned),
                    places: Vec::new(),
                });
                missing.len() - 1
            });
            missing[group].places.push(name.clone());
        }
        match (self.found.into_iter().next(), missing.len()) {
            (None, _) => Ok(()),
            (Some(Refusal { what, name, error }), 1) if missing[0].places.len() == 1 => {
                let place = match what.as_str() {
                    INPUT | INITIALIZER => format!("{what} {name:?}"),
                    operator => format!("node {name:?} ({operator})"),
                };
                Err(error.within(place).missing_all(missing, self.unexamined))
            }
            (Some(_), _) => Err(Error::unsupported("").missing_all(missing, self.unexamined)),
        }
    }
}

pub(super) const INPUT: &str = "input";
pub(super) const INITIALIZER: &str = "initializer";

/// A message without the names in it, which differ from node to node.
fn without_names(message: &str) -> String {
    message.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
}
