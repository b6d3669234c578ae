//! A network that keeps every rule: its graph, and its constants where they lie.

use crate::error::Error;
use crate::graph::{Graph, Tensor};
use crate::limits::Limits;
use crate::tensor::{TensorView, check_finite, view};
use alloc::vec::Vec;

/// A graph and its constants that keep every rule of the format.
#[derive(Clone, Debug)]
pub struct Network<'a> {
    graph: Graph,
    tensors: Vec<TensorView<'a>>,
}

impl<'a> Network<'a> {
    /// Of a graph that is checked; `weights` tells of each tensor whether it must be finite, and
    /// `data` gives its bytes.
    pub(crate) fn new(
        graph: Graph,
        weights: &[bool],
        mut data: impl FnMut(&Tensor, &str) -> Result<&'a [u8], Error>,
        limits: &Limits,
    ) -> Result<Network<'a>, Error> {
        let mut tensors = Vec::with_capacity(graph.tensors.len());
        for (tensor, &weight) in graph.tensors.iter().zip(weights) {
            let name = &graph.values[tensor.value as usize];
            let view = view(tensor, name, data(tensor, name)?, limits)?;
            if weight {
                check_finite(&view, name)?;
            }
            tensors.push(view);
        }
        Ok(Network { graph, tensors })
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The constant at `index` in the graph's tensors.
    ///
    /// # Panics
    ///
    /// If the graph has no such tensor.
    pub fn tensor(&self, index: usize) -> TensorView<'a> {
        self.tensors[index].clone()
    }
}
