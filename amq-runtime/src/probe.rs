//! Seeing what a call computes while it runs.

use crate::view::View;

/// What sees the values of a call while it runs: see [`Session::run_with`](crate::Session::run_with).
///
/// Each method does nothing unless it is given. Nodes are numbered as in
/// [`Model::graph`](crate::Model::graph).
pub trait Probe {
    /// Whether [`product`](Probe::product) is to be told of this node's products: those of convolutions take
    /// time to show.
    fn wants_products(&self, node: usize) -> bool {
        let _ = node;
        true
    }

    /// Vectors met a constant matrix.
    fn product(&mut self, product: &Product<'_>) {
        let _ = product;
    }

    /// A node gave an output, which is not absent.
    fn output(&mut self, node: usize, output: usize, value: View<'_>) {
        let _ = (node, output, value);
    }
}

/// Vectors that met a constant matrix, and what they gave. Of sequences that ended, nothing is seen.
#[derive(Clone, Copy, Debug)]
pub struct Product<'a> {
    /// The node.
    pub node: usize,
    /// Which of the node's matrices.
    pub matrix: Part,
    /// The matrix's row that the first element of each result belongs to: not 0 for the later groups
    /// of a convolution, and where a GRU multiplies the rows of a gate alone.
    pub first_row: usize,
    /// Columns of the matrix: elements of a vector.
    pub columns: usize,
    /// Rows of the matrix that were multiplied: elements of a result.
    pub rows: usize,
    /// `[vector][column]`, as they were before they were coded.
    pub vectors: &'a [f32],
    /// `[vector][row]`, without biases.
    pub results: &'a [f32],
}

/// A matrix of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Part {
    /// The only one.
    W,
    /// That of a recurrent layer's inputs, of a direction.
    Input {
        /// Number of the direction.
        direction: usize,
    },
    /// That of a recurrent layer's states, of a direction: it meets `h`, or `r . h` in a GRU.
    Recurrent {
        /// Number of the direction.
        direction: usize,
    },
}

/// What a node's products show, if there is a probe.
pub(crate) struct Tap<'a> {
    pub(crate) node: usize,
    pub(crate) probe: Option<&'a mut dyn Probe>,
}

impl<'a> Tap<'a> {
    /// Of a probe that may be there.
    pub(crate) fn new(node: usize, probe: &'a mut Option<&mut dyn Probe>) -> Tap<'a> {
        let probe = probe.as_mut().map(|probe| &mut **probe as &mut dyn Probe);
        let probe = probe.filter(|probe| probe.wants_products(node));
        Tap { node, probe }
    }

    /// Shows those vectors of a product that are `seen`.
    #[inline]
    pub(crate) fn product(
        &mut self,
        matrix: Part,
        first_row: usize,
        [columns, rows]: [usize; 2],
        vectors: &[f32],
        results: &[f32],
        seen: impl Fn(usize) -> bool,
    ) {
        let Some(probe) = &mut self.probe else { return };
        let count = results.len() / rows.max(1);
        let mut start = 0;
        while start < count {
            let end = (start..count).find(|&i| !seen(i)).unwrap_or(count);
            if start < end {
                probe.product(&Product {
                    node: self.node,
                    matrix,
                    first_row,
                    columns,
                    rows,
                    vectors: &vectors[start * columns..end * columns],
                    results: &results[start * rows..end * rows],
                });
            }
            start = end + 1;
        }
    }
}
