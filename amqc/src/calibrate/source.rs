//! Where calibration data come from.

use std::fmt;
use std::path::PathBuf;

use crate::feed::text::Unit;

/// Where calibration data come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// A text, an `.npz` file, or a folder of `.npz` or `.npy` files.
    pub path: PathBuf,
    /// Of a text, its vocabulary, and what it is cut into.
    pub vocabulary: Option<(PathBuf, Unit)>,
    /// The axis of each array along which samples stand.
    pub axis: usize,
    /// How many samples are taken at most: tokens of a text.
    pub most: Option<usize>,
}

impl fmt::Display for Source {
    /// As flags; of paths the last names alone, which are the same wherever the files lie.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |path: &PathBuf| path.file_name().unwrap_or_default().display().to_string();
        write!(f, "--calib {}", name(&self.path))?;
        if let Some((vocabulary, unit)) = &self.vocabulary {
            write!(f, " --vocab {}", name(vocabulary))?;
            if *unit == Unit::Char {
                f.write_str(" --unit char")?;
            }
        }
        if self.axis != 0 {
            write!(f, " --calib-axis {}", self.axis)?;
        }
        self.most.map_or(Ok(()), |most| write!(f, " --calib-samples {most}"))
    }
}
