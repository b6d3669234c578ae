//! The flags that say what a conversion must keep within.

use clap::Args;

use crate::budget::Budget;
use crate::error::{Error, Result};

#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct Within {
    /// Choose the bits of each matrix: so many a weight on average, over everything that is stored of them
    ///
    /// Every matrix is coded at several numbers of bits, each time alone, and what that does to the answers
    /// on the calibration data is measured; without --calib the errors of weights decide. The choice
    /// that loses least is taken and printed. --save-recipe writes it.
    #[arg(long, value_name = "B", value_parser = bits)]
    target_bits: Option<f64>,
    /// Choose the bits of each matrix so that the file has at most this size: bytes, or 2MB, 500kB, 1.5MiB
    #[arg(long, value_name = "S", value_parser = size)]
    max_size: Option<u64>,
    /// Choose the bits of each matrix so that the file is small and no more than this is lost, such as 1%
    ///
    /// Of scores of classes it is the rise of perplexity on the calibration data (from the divergence of
    /// probabilities), of other outputs the noise over the signal.
    #[arg(long, value_name = "P", value_parser = share)]
    #[arg(requires = "calib")]
    max_loss: Option<f64>,
}

impl Within {
    /// The budget that is asked for; `bits` says whether bits are given too.
    ///
    /// # Errors
    /// Bits beside a budget.
    pub(super) fn budget(&self, bits: bool) -> Result<Option<Budget>> {
        let budget = self.target_bits.map(Budget::Bits);
        let budget =
            budget.or(self.max_size.map(Budget::Bytes)).or(self.max_loss.map(Budget::Loss));
        match budget {
            Some(budget) if bits => {
                Err(Error::usage(format!("{budget} chooses the bits that --bits gives"))
                    .remedy("drop -b, or the budget"))
            }
            budget => Ok(budget),
        }
    }
}

fn bits(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(bits) if bits > 0.0 && bits <= 9.0 => Ok(bits),
        _ => Err("expected a number of bits, such as 2.5".into()),
    }
}

/// Bytes as people write them.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let scale = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "kib" => 1024.0,
        "mib" => 1048576.0,
        "gib" => 1073741824.0,
        _ => return Err(format!("unknown unit {unit:?}: use kB, MB, kiB or MiB")),
    };
    match number.trim().parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok((number * scale) as u64),
        _ => Err("expected a size, such as 2MB".into()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let (number, scale) = match text.strip_suffix('%') {
        Some(number) => (number, 0.01),
        None => (text, 1.0),
    };
    match number.trim().parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number * scale),
        _ => Err("expected a share, such as 1%".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_shares_are_read_as_people_write_them() {
        for (text, bytes) in
            [("1000", 1000), ("2MB", 2_000_000), ("1.5 MiB", 1_572_864), ("3k", 3000)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MB", "2 pounds", "-1", "nan"] {
            assert!(size(text).is_err() && share(text).is_err() && bits(text).is_err(), "{text}");
        }
        assert_eq!((share("1%"), share("0.05")), (Ok(0.01), Ok(0.05)));
    }
}
