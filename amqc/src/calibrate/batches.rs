//! Samples in arrays as the calls that a model takes them in.

use std::collections::BTreeSet;

use super::samples::Samples;
use crate::error::{Error, Result};
use crate::loaded::Loaded;
use crate::tensor::Tensor;

/// Samples that are run at once, unless the model fixes how many.
pub(crate) const ITEMS: usize = 4;
/// Tokens of a text that are fed at once.
pub(crate) const PIECE: usize = 64;

/// Inputs of a call.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) inputs: Vec<(String, Tensor)>,
    /// Samples that were in no batch before.
    pub(super) new: usize,
}

/// The first `most` samples of arrays, none of a text. Where the model fixes how many it takes, the last
/// batch of a file begins before the end of the one before it, and files with fewer are left out.
///
/// # Errors
/// Inputs that fix different numbers.
pub(crate) fn batches(loaded: &Loaded, samples: &Samples, most: usize) -> Result<Vec<Batch>> {
    let Samples::Arrays { files, axis } = samples else { return Ok(Vec::new()) };
    let fixed = fixed(loaded, *axis)?;
    let size = fixed.unwrap_or(ITEMS);
    let (mut all, mut left) = (Vec::new(), most);
    for inputs in files {
        let count = inputs.first().map_or(0, |(_, tensor)| tensor.dims[*axis]).min(left.max(size));
        for start in (0..count).step_by(size) {
            let end = (start + size).min(count);
            let first = if fixed.is_some() { end.checked_sub(size) } else { Some(start) };
            let (Some(first), true) = (first, left > 0) else { break };
            let part =
                |(name, tensor): &(String, Tensor)| (name.clone(), tensor.slice(*axis, first..end));
            all.push(Batch { inputs: inputs.iter().map(part).collect(), new: end - start });
            left = left.saturating_sub(end - start);
        }
    }
    Ok(all)
}

/// How many samples the model takes in a call, if it fixes that.
pub(crate) fn fixed(loaded: &Loaded, axis: usize) -> Result<Option<usize>> {
    let mut sizes = BTreeSet::new();
    for port in loaded.inputs() {
        sizes.extend(port.dims.get(axis).and_then(|dim| dim.as_size()));
    }
    match sizes.len() {
        0 => Ok(None),
        1 => {
            Ok(sizes.first().and_then(|&size| usize::try_from(size).ok()).filter(|&size| size > 0))
        }
        _ => {
            Err(Error::usage(format!("along axis {axis} inputs hold different numbers of samples"))
                .within(loaded.path.display())
                .remedy("--calib-axis says along which axis samples stand"))
        }
    }
}
