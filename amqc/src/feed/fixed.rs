//! Sizes of named dimensions that weights leave no choice of.

use std::collections::BTreeMap;

use amq_format::graph::{Graph, Op};
use amq_format::{Fact, Inference};

/// Of dimensions of inputs that meet a constant matrix, the size that it takes: the first one's, where several differ.
pub(crate) fn fixed_sizes(graph: &Graph) -> BTreeMap<String, i64> {
    let mut facts: Vec<Option<Fact>> = vec![None; graph.values.len()];
    let mut constant = vec![false; graph.values.len()];
    let mut sizes = BTreeMap::new();
    for port in &graph.inputs {
        if let Some(fact) = facts.get_mut(port.value as usize) {
            *fact = Some(Fact::new(port.data_type(), port.dims.clone()));
        }
    }
    for tensor in &graph.tensors {
        let dims = tensor.dims.iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX).into());
        let at = tensor.value as usize;
        if let (Some(fact), Some(constant)) = (facts.get_mut(at), constant.get_mut(at)) {
            *fact = Some(Fact::new(tensor.data_type(), dims.collect()));
            *constant = true;
        }
    }
    let mut inference = Inference::default();
    for node in &graph.nodes {
        let inputs: Vec<Option<&Fact>> =
            node.inputs.iter().map(|&value| facts.get(value as usize)?.as_ref()).collect();
        let weight = node.inputs.get(1).is_some_and(|&w| constant.get(w as usize) == Some(&true));
        if let ([Some(x), Some(w), ..], true) = (&inputs[..], weight) {
            let columns = w.dims.last().and_then(|dim| dim.as_size());
            let (dim, size) = match &node.op {
                Some(Op::Linear(_) | Op::Recurrent(_)) => (x.dims.last(), columns),
                Some(Op::Conv(conv)) => {
                    let groups = i64::try_from(conv.groups).ok();
                    let channels = groups.and_then(|groups| groups.checked_mul(columns?));
                    (x.dims.get(1), channels)
                }
                _ => (None, None),
            };
            if let (Some(name), Some(size)) = (dim.and_then(|dim| dim.as_name()), size) {
                sizes.entry(name.to_owned()).or_insert(size);
            }
        }
        // What follows is not known; the model says itself what is wrong.
        let Ok(given) = inference.node(node, &inputs) else { break };
        for (&value, fact) in node.outputs.iter().zip(given) {
            if let Some(slot) = facts.get_mut(value as usize) {
                *slot = Some(fact);
            }
        }
    }
    sizes
}

#[cfg(test)]
mod tests {
    use std::fs;

    use amq_runtime::Isa;
    use prost::Message;

    use super::*;
    use crate::onnx::tests::Build;
    use crate::open::Opened;

    #[test]
    fn a_matrix_says_how_wide_its_input_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        let build = Build::new(13).input("x", "n features").weight("w", &[7, 3]);
        let build = build.node("Relu", "x", "h").node("MatMul", "h w", "y").output("y");
        fs::write(&path, build.model.encode_to_vec()).unwrap();
        let loaded = Opened::read(&path).unwrap().load(Isa::detect()).unwrap();
        let sizes = fixed_sizes(loaded.graph());
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [("features".to_owned(), 7)]);
        let inputs = crate::verify::seeded_inputs(&loaded, &[]).unwrap();
        assert_eq!(inputs[0].1.dims[1], 7);
    }
}
