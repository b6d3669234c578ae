//! Which elementwise operators are computed in one pass.

use alloc::vec::Vec;
use core::ops::Range;

use crate::compute::Computation;
use crate::program::Program;
use crate::shape::Shape;

/// Operators that one pass has at most: their registers should stay in the second cache.
const MEMBERS: usize = 32;

/// Nodes that are computed in one step.
pub(crate) struct Fusion {
    start: usize,
    /// Of each node, the last one of its step.
    steps: Vec<usize>,
    /// Of each node that is the last of a step, all of its nodes, the last first.
    members: Vec<Vec<usize>>,
}

impl Fusion {
    /// The last node of a node's step, at whose place the step is computed.
    pub(crate) fn step(&self, node: usize) -> usize {
        self.steps[node - self.start]
    }

    /// The nodes of the step that ends at a node, from the last to the first.
    pub(crate) fn members(&self, node: usize) -> &[usize] {
        &self.members[node - self.start]
    }
}

/// What reads a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Readers {
    None,
    /// One step.
    Step(usize),
    Other,
}

/// Joins each elementwise operator to the step that alone reads its result, where both give one
/// shape.
pub(crate) fn fuse(
    program: &Program,
    nodes: Range<usize>,
    computations: &[Computation],
    shapes: &[Option<Shape>],
    apart: bool,
) -> Fusion {
    let graph = &program.graph;
    let dims = |node: usize| {
        let value = *graph.nodes[node].outputs.first()?;
        Some(&shapes.get(value as usize)?.as_ref()?.dims)
    };
    let mut fusion = Fusion {
        start: nodes.start,
        steps: nodes.clone().collect(),
        members: alloc::vec![Vec::new(); nodes.len()],
    };
    let mut readers = alloc::vec![Readers::None; graph.values.len()];
    // Backwards: all readers of a result are known when its node is reached.
    for (i, computation) in nodes.clone().zip(computations).rev() {
        let node = &graph.nodes[i];
        let mut step = i;
        let elementwise = match computation {
            Computation::Elementwise(function) if !apart => {
                let value = node.outputs.first().map_or(0, |&value| value as usize);
                if let Readers::Step(last) = readers[value]
                    && program.last_read[value].is_some_and(|read| read < nodes.end)
                    && !function.can_fail()
                    && dims(i) == dims(last)
                    && fusion.members[last - nodes.start].len() < MEMBERS
                {
                    step = last;
                }
                true
            }
            _ => false,
        };
        fusion.steps[i - nodes.start] = step;
        fusion.members[step - nodes.start].push(i);
        for &value in &node.inputs {
            let readers = &mut readers[value as usize];
            *readers = match *readers {
                Readers::None if elementwise => Readers::Step(step),
                Readers::Step(other) if elementwise && other == step => Readers::Step(step),
                _ => Readers::Other,
            };
        }
    }
    fusion
}
