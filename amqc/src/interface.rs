//! What a user says of a model's inputs and outputs.

use std::collections::BTreeSet;
use std::fmt;

use amq_format::graph::DataType;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::names::no_such;
use crate::tensor::{Data, Tensor};

/// What a user says of a model's inputs and outputs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// States: graph input and graph output.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<(String, String)>,
    /// Inputs that are constants, with their elements as text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fixed: Vec<(String, String)>,
    /// Dimensions that have one size.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dims: Vec<(String, i64)>,
}

impl Interface {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Interface::default()
    }

    /// The elements that an input is fixed to.
    pub fn fixed(&self, input: &str) -> Option<&str> {
        let (_, value) = self.fixed.iter().find(|(name, _)| name == input)?;
        Some(value)
    }

    /// The size that a dimension is given.
    pub fn size(&self, name: &str) -> Option<i64> {
        let (_, size) = self.dims.iter().find(|(other, _)| other == name)?;
        Some(*size)
    }

    /// Fails where an input or a dimension that the model does not have, or one twice, is spoken of.
    ///
    /// # Errors
    /// The flag, and what there is.
    pub fn check(&self, inputs: &[&str], dims: &BTreeSet<String>) -> Result<()> {
        let (mut seen, mut sized) = (BTreeSet::new(), BTreeSet::new());
        for (name, value) in &self.fixed {
            if !inputs.contains(&name.as_str()) {
                let error = no_such("input", name, inputs.iter().copied());
                return Err(error.within(format_args!("--fix {name}={value}")));
            }
            if !seen.insert(name) {
                return Err(Error::usage(format!("--fix {name} is given twice")));
            }
        }
        for (name, size) in &self.dims {
            if !dims.contains(name) {
                let error = no_such("dimension", name, dims.iter().map(String::as_str));
                return Err(error.within(format_args!("--dim {name}={size}")));
            }
            if !sized.insert(name) {
                return Err(Error::usage(format!("--dim {name} is given twice")));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Interface {
    /// As flags.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = |name: &str| name.replace('=', "\\=");
        let state = |(input, output): &(String, String)| format!("--state {}={output}", key(input));
        let fix = |(input, value): &(String, String)| format!("--fix {}={value}", key(input));
        let dim = |(name, size): &(String, i64)| format!("--dim {}={size}", key(name));
        let states = self.states.iter().map(state);
        let (fixed, dims) = (self.fixed.iter().map(fix), self.dims.iter().map(dim));
        f.write_str(&states.chain(fixed).chain(dims).collect::<Vec<_>>().join(" "))
    }
}

/// The constant that an input of this type and shape is fixed to, where `text` is a list of numbers
/// with commas between them. One number stands for every element; a size that is not known (none in
/// `dims`) follows from how many there are, and is 1 with one number.
///
/// # Errors
/// What is no number of the type, and numbers that do not fill the shape.
pub(crate) fn constant(text: &str, data_type: DataType, dims: &[Option<usize>]) -> Result<Tensor> {
    let words: Vec<&str> = text.split(',').map(str::trim).collect();
    let known: usize = dims.iter().flatten().product();
    let open = dims.iter().filter(|dim| dim.is_none()).count();
    let shape = |size: usize| dims.iter().map(|dim| dim.unwrap_or(size)).collect::<Vec<_>>();
    let shape = match (words.len(), open) {
        (1, _) => shape(1),
        (count, 1) if known > 0 && count % known == 0 => shape(count / known),
        (count, 0) if count == known => shape(1),
        (count, _) => {
            let sizes: Vec<String> =
                dims.iter().map(|d| d.map_or("?".into(), |d| d.to_string())).collect();
            return Err(Error::usage(format!(
                "{count} numbers do not fill the shape [{}]",
                sizes.join(", ")
            ))
            .remedy("give one for all elements, or as many as there are; --dim gives sizes"));
        }
    };
    let count: usize = shape.iter().product();
    if count > MAX_ELEMENTS {
        return Err(Error::usage(format!("{count} elements are too many to be fixed")));
    }
    let refused = |word: &str| {
        Error::usage(format!("{word:?} is no {} that an input can have", data_type.name()))
    };
    let data = if data_type == DataType::F32 {
        let number = |word: &&str| word.parse::<f32>().map_err(|_| refused(word));
        let numbers = words.iter().map(number).collect::<Result<Vec<_>>>()?;
        Data::F32(numbers.iter().copied().cycle().take(count).collect())
    } else {
        let number = |word: &&str| match (*word, data_type) {
            ("true", DataType::Bool) => Ok(1),
            ("false", DataType::Bool) => Ok(0),
            (word, _) => word.parse::<i64>().map_err(|_| refused(word)),
        };
        let numbers = words.iter().map(number).collect::<Result<Vec<_>>>()?;
        let numbers: Vec<i64> = numbers.iter().copied().cycle().take(count).collect();
        Data::from_integers(data_type, &numbers).ok_or_else(|| refused(text))?
    };
    Ok(Tensor { dims: shape, data })
}

/// Elements that an input that is fixed may have.
const MAX_ELEMENTS: usize = 1 << 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fill_the_shape() {
        let floats = |text, dims: &[Option<usize>]| constant(text, DataType::F32, dims).unwrap();
        assert_eq!(floats("0.5", &[]), Tensor::scalar(0.5));
        assert_eq!(
            floats("0", &[Some(2), None]),
            Tensor { dims: vec![2, 1], data: Data::F32(vec![0.0; 2]) }
        );
        let two = Tensor { dims: vec![2, 1], data: Data::F32(vec![1.0, -2.5]) };
        assert_eq!(floats("1, -2.5", &[None, Some(1)]), two);
        let rate = Tensor { dims: vec![], data: Data::I64(vec![16000]) };
        assert_eq!(constant("16000", DataType::I64, &[]).unwrap(), rate);
        let flags = Tensor { dims: vec![2], data: Data::Bool(vec![1, 0]) };
        assert_eq!(constant("true,0", DataType::Bool, &[Some(2)]).unwrap(), flags);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (text, data_type, dims) in [
            ("1,2,3", DataType::F32, &[Some(2)][..]),
            ("1,2", DataType::F32, &[None, None]),
            ("x", DataType::F32, &[]),
            ("0.5", DataType::I64, &[]),
            ("300", DataType::U8, &[]),
            ("2", DataType::Bool, &[]),
            ("0", DataType::F32, &[Some(1 << 30)]),
        ] {
            assert!(constant(text, data_type, dims).is_err(), "{text}");
        }
    }
}
