//! Numbers in the place of names of dimensions.

use std::collections::BTreeMap;

use amq_format::graph::{Dim, Node};

/// Puts numbers in place of the names in a node's sizes, those that are known.
pub(crate) fn settle(node: &mut Node, sizes: &BTreeMap<String, i64>) {
    let known = |name: &str| {
        let size = sizes.get(name);
        Some(size.map_or_else(|| Dim::named(name), |&size| Dim::from(size)))
    };
    let dims = node.op.iter_mut().flat_map(|op| op.operator_mut().dims_mut()).flatten();
    let of_bodies = node.bodies.iter_mut().flat_map(|body| {
        let ports = body.inputs.iter_mut().chain(&mut body.outputs);
        ports.flat_map(|port| &mut port.dims)
    });
    for dim in dims.chain(of_bodies) {
        if let Ok(settled) = dim.substitute(&known) {
            *dim = settled;
        }
    }
    let inner = node.bodies.iter_mut().flat_map(|body| &mut body.nodes);
    inner.for_each(|node| settle(node, sizes));
}
