//! How inputs are said, and what their elements must be.

use alloc::format;
use alloc::string::String;

use crate::program::Port;
use crate::view::Data;

/// How a caller says which input is meant: by its name or its number.
pub(super) trait Key: Copy {
    /// The number of the input.
    fn number(self, ports: &[Port]) -> Option<usize>;

    /// The key in words, where there is no such input.
    fn shown(self) -> String;
}

impl Key for &str {
    fn number(self, ports: &[Port]) -> Option<usize> {
        ports.iter().position(|port| port.name == self)
    }

    fn shown(self) -> String {
        self.into()
    }
}

impl Key for usize {
    fn number(self, ports: &[Port]) -> Option<usize> {
        (self < ports.len()).then_some(self)
    }

    fn shown(self) -> String {
        format!("number {self}")
    }
}

/// Whether these are bools of which one is neither 0 nor 1.
pub(super) fn holds_no_bool(data: Data<'_>) -> bool {
    matches!(data, Data::Bool(elements) if elements.iter().any(|&element| element > 1))
}
