//! Items that a model is run on, and the output that is judged.

use std::borrow::Cow;
use std::ops::Range;

use amq_format::graph::{DataType, Port, ValueId};

use super::labels::Labels;
use crate::error::{Error, Result};
use crate::feed::arrays::{Batch, Batches};
use crate::loaded::Loaded;
use crate::tensor::{Tensor, views};

/// An output of some items.
pub(super) struct Given<'a> {
    /// The output's name.
    pub(super) name: &'a str,
    /// Its value in the graph.
    pub(super) value: ValueId,
    /// Which items.
    pub(super) items: Range<usize>,
    /// The shape: as many or more items along axis 0, which is added where an output of one item lacks it.
    pub(super) dims: &'a [usize],
    pub(super) values: &'a [f32],
}

/// Runs the model on all items, which stand along axis 0 of inputs and labels, in batches where it may be cut; `output`
/// names what is judged, unless only one output is float and no state.
///
/// # Errors
/// Labels that are not as many as the items, inputs that the model cannot take in batches, and what `judge` refuses.
pub(super) fn run(
    loaded: &Loaded,
    inputs: &[(String, Tensor)],
    labels: &Labels,
    output: Option<&str>,
    mut judge: impl FnMut(Given<'_>) -> Result<()>,
) -> Result<()> {
    let items = labels.items();
    for (name, tensor) in inputs {
        if tensor.dims.first() != Some(&items) {
            let dims = &tensor.dims;
            let shape = &labels.dims;
            let wrong = labels.wrong(format!(
                "labels have the shape {shape:?} and {name:?} has {dims:?}: items stand along axis 0 of both"
            ));
            return Err(match (dims.first(), &shape[..]) {
                // Positions of one item, without its axis.
                (Some(1), &[places]) if dims.contains(&places) => {
                    wrong.remedy(format!("give labels of one item the shape [1, {places}]"))
                }
                _ => wrong,
            });
        }
    }
    let floats: Vec<&Port> =
        loaded.outputs().filter(|port| port.data_type() == DataType::F32).collect();
    let output = loaded.pick("output", "--output", output, &loaded.graph().outputs, &floats)?;
    let name = loaded.name(output.value);
    // The axis of items goes by the name that it has in the inputs.
    let batch = loaded.inputs().find_map(|port| port.dims.first()?.as_name());
    let axis =
        batch.and_then(|name| output.dims.iter().position(|dim| dim.as_name() == Some(name)));
    let mut session = loaded.session();
    let mut give = |batch: Batch| {
        let outputs = session.run(&views(&batch.inputs)).map_err(|error| loaded.error(error))?;
        let view = outputs.get(name);
        let mut dims = view.as_ref().map_or(Vec::new(), |view| view.dims.to_vec());
        let mut values =
            Cow::Borrowed(view.as_ref().and_then(|view| view.as_f32()).unwrap_or_default());
        match axis {
            Some(axis) if (1..dims.len()).contains(&axis) => {
                values = Cow::Owned(first(&mut dims, axis, &values))
            }
            None if batch.length == 1 && dims.first() != Some(&1) => dims.insert(0, 1),
            _ => {}
        }
        let items = batch.items;
        judge(Given { name, value: output.value, items, dims: &dims, values: &values })
    };
    // Time is not cut.
    if labels.dims.len() > 1 && loaded.is_time(0) {
        return give(Batch { items: 0..items, length: items, inputs: inputs.to_vec() });
    }
    Batches::new(loaded, inputs, items)?.iter().try_for_each(give)
}

/// The elements with an axis as the first, and so the shape.
fn first(dims: &mut [usize], axis: usize, values: &[f32]) -> Vec<f32> {
    let (count, inner) = (dims[axis], dims[axis + 1..].iter().product::<usize>());
    let mut turned = Vec::with_capacity(values.len());
    for item in 0..count {
        for part in values.chunks_exact((count * inner).max(1)) {
            turned.extend(&part[item * inner..][..inner]);
        }
    }
    dims[..=axis].rotate_right(1);
    turned
}

/// The shape of an output of all items, where `dims` is that of a batch.
pub(super) fn whole(dims: &[usize], labels: &Labels) -> Vec<usize> {
    let rest = dims.iter().skip(1).copied();
    dims.first().map(|_| labels.items()).into_iter().chain(rest).collect()
}

/// The output cannot be judged.
pub(super) fn refuse(loaded: &Loaded, what: String) -> Error {
    Error::unsupported(what).within(loaded.path.display())
}
