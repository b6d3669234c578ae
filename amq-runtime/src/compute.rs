//! What the computation of an operator is made of.

use alloc::boxed::Box;

use amq_format::graph::Node;
use amq_format::operator::Operator;

use crate::call::{Dynamic, Kernel};
use crate::error::{Fault, fault};
use crate::kernels::Target;
use crate::shape::{Shape, Sizes};
use crate::view::{Data, DataMut};
use crate::weights::Constants;

/// How an operator is computed.
pub(crate) trait Compute: Operator {
    /// What a node keeps of its constant inputs.
    type Kept: Send + Sync;

    /// Makes it, when a model is loaded.
    fn keep(&self, node: &Node, constants: &mut Constants<'_>) -> Result<Self::Kept, Fault>;

    /// How it is computed for these shapes, of a node without names.
    fn computation(&self, kept: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault>;
}

/// How a node computes its outputs.
pub(crate) enum Computation {
    /// The output is the first input's elements as they are.
    View,
    /// The output's elements are functions of those at the same place.
    Elementwise(Box<dyn Elementwise>),
    /// All else whose outputs' sizes are known.
    Kernel(Box<dyn Kernel>),
    /// What has memory of its own, or finds sizes of its outputs when it runs.
    Dynamic(Box<dyn Dynamic>),
}

/// Most operands of a function.
pub(crate) const OPERANDS: usize = 3;

/// A function of the elements at one place.
pub(crate) trait Elementwise: Send + Sync {
    /// Whether there are elements that it has no result for.
    fn can_fail(&self) -> bool {
        false
    }

    /// Computes y. An operand has as many elements as y, or one that stands for all.
    fn apply(
        &self,
        target: Target,
        operands: &[Data<'_>; OPERANDS],
        y: DataMut<'_>,
    ) -> Result<(), Fault>;
}

/// Shapes of a node's inputs, none where one is absent, and of its outputs. A size of an output that
/// only the node knows is 0.
pub(crate) struct Shapes<'a> {
    pub(crate) inputs: &'a [Option<Shape>],
    pub(crate) outputs: &'a [Shape],
    /// The sizes of all names.
    pub(crate) sizes: &'a Sizes,
}

impl<'a> Shapes<'a> {
    /// The shape of an input that must be there.
    pub(crate) fn input(&self, i: usize) -> Result<&'a Shape, Fault> {
        let shape = self.inputs.get(i).and_then(Option::as_ref);
        shape.ok_or_else(|| fault!("input {i} is missing"))
    }

    /// The shape of the first output.
    pub(crate) fn output(&self) -> Result<&'a Shape, Fault> {
        self.outputs.first().ok_or_else(|| fault!("it has no outputs"))
    }
}

/// Declares that an operator's kernel reads all of its inputs.
macro_rules! keeps_nothing {
    () => {
        type Kept = ();

        fn keep(
            &self,
            _: &amq_format::graph::Node,
            _: &mut $crate::weights::Constants<'_>,
        ) -> Result<(), Fault> {
            Ok(())
        }
    };
}
pub(crate) use keeps_nothing;
