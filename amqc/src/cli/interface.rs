//! The flags that say something of an ONNX model's inputs and outputs.

use clap::Args;

use super::{key_value, size};
use crate::error::{Error, Result};
use crate::interface::Interface;
use crate::open::Opened;

#[derive(Clone, Debug, Default, Args)]
pub(super) struct Ports {
    /// A state: the graph's output OUT is its input IN of the next call (repeatable)
    ///
    /// States are found by themselves where an input is a recurrent layer's initial state and that
    /// layer's last state is an output. The report lists them. A = in the name IN is written \=, here
    /// and wherever a name stands before a =.
    #[arg(long, value_name = "IN=OUT", value_parser = key_value)]
    state: Vec<(String, String)>,
    /// Make an input of an ONNX model a constant (repeatable): sr=16000, scales=1,0.5
    ///
    /// One number stands for all elements. Branches and shapes that depend on the input are settled.
    #[arg(long, value_name = "NAME=VALUE", value_parser = key_value)]
    fix: Vec<(String, String)>,
}

/// A size that is settled before the model is compiled.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Dims {
    /// Give a dimension of an ONNX model's inputs one size (repeatable)
    ///
    /// Branches and shapes that depend on it are settled.
    #[arg(long, value_name = "NAME=N", value_parser = size)]
    dim: Vec<(String, i64)>,
}

impl Ports {
    /// What they and `dims` say.
    pub(super) fn interface(&self, dims: &Dims) -> Interface {
        let (states, fixed) = (self.state.clone(), self.fix.clone());
        Interface { states, fixed, dims: dims.dim.clone() }
    }
}

/// Opens a model, of which `interface` speaks if it is an ONNX model.
pub(super) fn open(path: &std::path::Path, interface: &Interface) -> Result<Opened> {
    check(path, interface)?;
    Opened::read_with(path, interface)
}

/// Fails if something is said of an .amq file.
pub(super) fn check(path: &std::path::Path, interface: &Interface) -> Result<()> {
    if !interface.is_empty() && crate::open::is_amq(path)? {
        return Err(Error::usage(format!("{interface} has no meaning for an .amq file"))
            .within(path.display())
            .remedy("say it when the model is converted"));
    }
    Ok(())
}
