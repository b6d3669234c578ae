//! Since when something is there.

/// The first versions that have something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// Of the operator.
    pub version: u32,
    /// Of the format: the minor version.
    pub minor: u16,
}

impl Since {
    /// Version 1.0 of the format had it.
    pub const FIRST: Since = Since { version: 1, minor: 0 };

    /// The first that has a number of an enumeration. `last` tells in ascending order the last
    /// number of each version. What stands in none is in no version, so it cannot be written.
    pub(crate) fn number(number: i32, last: &[(i32, Since)]) -> Since {
        let found = last.iter().find(|(last, _)| number <= *last);
        found.map_or(Since { version: u32::MAX, minor: u16::MAX }, |(_, since)| *since)
    }

    /// The first that has both.
    pub(crate) fn and(self, other: Since) -> Since {
        Since { version: self.version.max(other.version), minor: self.minor.max(other.minor) }
    }
}
