//! States that are carried from one piece of a stream to the next.

use amq_format::graph::{DataType, Dim, State, ValueId};
use amq_runtime::Outputs;

use super::params::restore;
use super::tape::Tape;
use crate::error::{Error, Result};
use crate::ir::Module;
use crate::tensor::{Data, Tensor};

/// Where streams are, in the network that is trained and in the float model.
#[derive(Clone, Debug)]
pub(super) struct Carried(Vec<Place>);

#[derive(Clone, Debug)]
struct Place {
    input: ValueId,
    output: ValueId,
    /// Of the input and the output.
    names: [String; 2],
    start: Tensor,
    student: Tensor,
    teacher: Tensor,
}

impl Carried {
    /// States where they begin, with these sizes of dimensions by name.
    ///
    /// # Errors
    /// States that are no floats, or held for other sizes.
    pub(super) fn new(module: &Module, sizes: &dyn Fn(&str) -> Option<Dim>) -> Result<Carried> {
        let place = |state: &State| {
            let names = [state.input, state.output].map(|value| module.name(value).to_owned());
            let Some(start) = start(module, state, sizes) else {
                let name = &names[0];
                return Err(Error::unsupported(format!(
                    "tune cannot carry the state {name:?} in a batch"
                )));
            };
            let (student, teacher) = (start.clone(), start.clone());
            let (input, output) = (state.input, state.output);
            Ok(Place { input, output, names, start, student, teacher })
        };
        module.graph.states.iter().map(place).collect::<Result<_>>().map(Carried)
    }

    /// Begins again.
    pub(super) fn begin(&mut self) {
        for place in &mut self.0 {
            (place.student, place.teacher) = (place.start.clone(), place.start.clone());
        }
    }

    /// What the network that is trained is given.
    pub(super) fn of_student(&self) -> impl Iterator<Item = (ValueId, Tensor)> {
        self.0.iter().map(|place| (place.input, place.student.clone()))
    }

    /// What the float model is given.
    pub(super) fn of_teacher(&self) -> impl Iterator<Item = (String, Tensor)> {
        self.0.iter().map(|place| (place.names[0].clone(), place.teacher.clone()))
    }

    /// Takes what the network that is trained gave.
    pub(super) fn follow_student(&mut self, tape: &Tape<'_>) {
        for place in &mut self.0 {
            if let Some(value) = tape.value(place.output) {
                place.student = value.clone();
            }
        }
    }

    /// Takes what the float model gave.
    pub(super) fn follow_teacher(&mut self, outputs: &Outputs<'_>) {
        for place in &mut self.0 {
            if let Some(view) = outputs.get(&place.names[1]) {
                place.teacher = Tensor::from(view);
            }
        }
    }

    /// Where the streams are, as bytes.
    pub(super) fn save(&self, to: &mut Vec<u8>) {
        for place in &self.0 {
            to.extend(place.student.data.to_bytes());
            to.extend(place.teacher.data.to_bytes());
        }
    }

    /// Takes back what [`Carried::save`] gave; none if the bytes end before.
    pub(super) fn restore(&mut self, from: &mut &[u8]) -> Option<()> {
        for place in &mut self.0 {
            for tensor in [&mut place.student, &mut place.teacher] {
                if let Data::F32(data) = &mut tensor.data {
                    restore(data, from)?;
                }
            }
        }
        Some(())
    }
}

/// Where a state begins; none where it is no float or is held for other sizes.
fn start(module: &Module, state: &State, sizes: &dyn Fn(&str) -> Option<Dim>) -> Option<Tensor> {
    let port = module.graph.inputs.iter().find(|port| port.value == state.input)?;
    let size = |dim: &Dim| usize::try_from(dim.substitute(sizes).ok()?.as_size()?).ok();
    let dims: Vec<usize> = port.dims.iter().map(size).collect::<Option<_>>()?;
    if port.data_type() != DataType::F32 {
        return None;
    }
    match module.constant(state.initial) {
        Some(constant) if constant.dims == dims => Some(constant.clone()),
        Some(_) => None,
        None => {
            let count = dims.iter().product();
            Some(Tensor { dims, data: Data::F32(vec![0.0; count]) })
        }
    }
}
