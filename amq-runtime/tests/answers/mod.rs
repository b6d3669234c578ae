//! Inputs and answers of a golden file, as `fixtures/golden/*.txt` holds them.
//!
//! A line is a tensor: `input` or `output`, its name, its type, its sizes joined by `x` (`-` for a
//! scalar), and its elements: the bits of an f32 as eight hexadecimal digits, others as decimals.
#![allow(dead_code, missing_docs, reason = "shared with a generator")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use amq_format::Validated;
use amq_format::graph::DataType;
use amq_runtime::{Data, Isa, LoadOptions, Model, Session, View};

/// A tensor with its bits.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub name: String,
    pub data_type: DataType,
    pub dims: Vec<usize>,
    /// Elements; the bits of an f32.
    pub elements: Vec<i64>,
}

/// What a file is given, and what it answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    pub inputs: Vec<Tensor>,
    pub outputs: Vec<Tensor>,
}

const TYPES: [DataType; 10] = [
    DataType::F32,
    DataType::I64,
    DataType::I32,
    DataType::U8,
    DataType::I8,
    DataType::Bool,
    DataType::I16,
    DataType::U16,
    DataType::U32,
    DataType::U64,
];

/// Where the golden files lie.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/golden")
}

impl Tensor {
    fn line(&self, kind: &str) -> String {
        let sizes: Vec<String> = self.dims.iter().map(usize::to_string).collect();
        let sizes = if sizes.is_empty() { "-".into() } else { sizes.join("x") };
        let mut line = format!("{kind} {} {:?} {sizes}", self.name, self.data_type);
        for element in &self.elements {
            line += &match self.data_type {
                DataType::F32 => format!(" {element:08x}"),
                _ => format!(" {element}"),
            };
        }
        line + "\n"
    }

    fn parse(parts: &mut std::str::Split<'_, char>) -> Option<Tensor> {
        let name = parts.next()?.to_owned();
        let name_of_type = parts.next()?;
        let data_type = TYPES.into_iter().find(|known| format!("{known:?}") == name_of_type)?;
        let dims = match parts.next()? {
            "-" => Vec::new(),
            sizes => sizes.split('x').map(|size| size.parse().ok()).collect::<Option<_>>()?,
        };
        let element = |part: &str| match data_type {
            DataType::F32 => i64::from_str_radix(part, 16).ok(),
            _ => part.parse().ok(),
        };
        let elements = parts.map(element).collect::<Option<_>>()?;
        Some(Tensor { name, data_type, dims, elements })
    }
}

impl Answers {
    /// The text of an answers file.
    pub fn text(&self) -> String {
        let inputs = self.inputs.iter().map(|tensor| tensor.line("input"));
        inputs.chain(self.outputs.iter().map(|tensor| tensor.line("output"))).collect()
    }

    /// Reads a text back.
    pub fn parse(text: &str) -> Option<Answers> {
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for line in text.lines() {
            let mut parts = line.split(' ');
            match parts.next()? {
                "input" => inputs.push(Tensor::parse(&mut parts)?),
                "output" => outputs.push(Tensor::parse(&mut parts)?),
                _ => return None,
            }
        }
        Some(Answers { inputs, outputs })
    }
}

/// Runs a file on an instruction set; its outputs.
pub fn run(file: &[u8], inputs: &[Tensor], isa: Isa) -> Result<Vec<Tensor>, amq_runtime::Error> {
    let options = LoadOptions { isa, ..LoadOptions::default() };
    answers_of(Model::with_options(&Validated::new(file)?, &options)?, inputs)
}

/// Runs a model; its outputs.
pub fn answers_of(model: Model, inputs: &[Tensor]) -> Result<Vec<Tensor>, amq_runtime::Error> {
    let elements: Vec<Elements> = inputs.iter().map(Elements::of).collect();
    let views: Vec<(&str, View<'_>)> = inputs
        .iter()
        .zip(&elements)
        .map(|(input, elements)| (input.name.as_str(), elements.view(&input.dims)))
        .collect();
    let mut session = Session::new(Arc::new(model));
    let outputs = session.run(&views)?;
    Ok(outputs
        .iter()
        .map(|(name, view)| Tensor {
            name: name.into(),
            data_type: view.data.data_type(),
            dims: view.dims.to_vec(),
            elements: bits(view.data),
        })
        .collect())
}

enum Elements {
    F32(Vec<f32>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    Bool(Vec<u8>),
}

impl Elements {
    fn of(tensor: &Tensor) -> Elements {
        let elements = tensor.elements.iter();
        match tensor.data_type {
            DataType::F32 => Elements::F32(elements.map(|&x| f32::from_bits(x as u32)).collect()),
            DataType::I32 => Elements::I32(elements.map(|&x| x as i32).collect()),
            DataType::Bool => Elements::Bool(elements.map(|&x| x as u8).collect()),
            _ => Elements::I64(tensor.elements.clone()),
        }
    }

    fn view<'a>(&'a self, dims: &'a [usize]) -> View<'a> {
        match self {
            Elements::F32(elements) => View::f32(dims, elements),
            Elements::I64(elements) => View::i64(dims, elements),
            Elements::I32(elements) => View::i32(dims, elements),
            Elements::Bool(elements) => View::bool(dims, elements),
        }
    }
}

fn bits(data: Data<'_>) -> Vec<i64> {
    match data {
        Data::F32(elements) => elements.iter().map(|x| x.to_bits().into()).collect(),
        Data::I64(elements) => elements.to_vec(),
        Data::I32(elements) => elements.iter().map(|&x| x.into()).collect(),
        Data::I8(elements) => elements.iter().map(|&x| x.into()).collect(),
        Data::I16(elements) => elements.iter().map(|&x| x.into()).collect(),
        Data::U16(elements) => elements.iter().map(|&x| x.into()).collect(),
        Data::U32(elements) => elements.iter().map(|&x| x.into()).collect(),
        Data::U64(elements) => elements.iter().map(|&x| x as i64).collect(),
        Data::U8(elements) | Data::Bool(elements) => elements.iter().map(|&x| x.into()).collect(),
    }
}
