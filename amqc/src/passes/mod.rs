//! What happens to a graph between reading and writing it: an ordered list, one file a pass.
//!
//! Each pass leaves a graph that computes the same function, up to the rounding of float weights
//! that are multiplied together ahead of time.

mod absorb;
mod cells;
mod dead;
mod fold;
mod linear;
mod loops;
mod settle;
mod share;
pub(crate) mod states;
#[cfg(test)]
mod tests;
mod unflatten;
mod unify;
mod views;

use crate::error::Result;
use crate::ir::Module;

/// Name and function of a pass.
type Pass = (&'static str, fn(&mut Module) -> Result<()>);

/// The passes, in the order in which they run.
const PASSES: &[Pass] = &[
    ("drop what nothing reads", dead::run),
    ("make products with turned constants linear", linear::with_turned),
    ("fold constants", fold::run),
    ("take the branches that constants choose", settle::run),
    ("take out of loops what stays", loops::run),
    ("drop views that change nothing", views::run),
    ("make products with constants linear", linear::run),
    ("absorb scales and biases", absorb::run),
    ("let products keep the shapes of their operands", unflatten::run),
    ("simplify bodies", |module| module.each_body(&run)),
    ("recognize recurrent layers", cells::run),
    ("give equal dimensions one name", unify::run),
    ("drop views that are left", views::run),
    ("share equal constants", share::run),
    ("drop what is not used", dead::run),
];

/// Runs every pass on `module`.
///
/// # Errors
/// Constants that cannot be computed, and shapes that do not fit together, by node.
pub(crate) fn run(module: &mut Module) -> Result<()> {
    PASSES.iter().try_for_each(|(name, pass)| {
        pass(module).map_err(|error| error.within(format_args!("while trying to {name}")))
    })
}
