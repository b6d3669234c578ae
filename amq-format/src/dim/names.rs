//! Names in dimensions, and those of sizes that nodes give.

use super::{Dim, DimExpr, DimKind};
use alloc::string::String;
use alloc::vec;

impl Dim {
    /// The size that a node gives under `name` when it runs: the name less 1, for it may be 0.
    pub fn given(name: impl Into<String>) -> Dim {
        let args = vec![Dim::named(name), Dim::from(-1)];
        Dim { kind: Some(DimKind::Expr(DimExpr { op: 0, args })) }
    }

    /// The name, where this is a name less 1.
    pub fn as_given(&self) -> Option<&str> {
        match &self.kind {
            Some(DimKind::Expr(DimExpr { op: 0, args })) if args.len() == 2 => {
                args[0].as_name().filter(|_| args[1].as_size() == Some(-1))
            }
            _ => None,
        }
    }

    /// Calls with each name that stands in it.
    pub fn each_name(&self, call: &mut dyn FnMut(&str)) {
        match &self.kind {
            Some(DimKind::Name(name)) => call(name),
            Some(DimKind::Expr(expr)) => expr.args.iter().for_each(|arg| arg.each_name(call)),
            _ => {}
        }
    }
}
