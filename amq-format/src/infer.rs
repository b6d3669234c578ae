//! Types, shapes and known elements of what nodes give.

use crate::dim::Dim;
use crate::error::Quoted;
use crate::fact::{Bodies, Fact, Facts, list};
use crate::fault::Fault;
use crate::graph::{ABSENT, Graph, Node, Port};
use crate::known::Sizes;
use crate::spec::MAX_RANK;
use crate::{ensure, fault};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// Infers through a graph, node by node, in the order in which they can run.
///
/// One set of rules serves the compiler, which infers with names, and the runtime, which infers with
/// names when it loads a model and with numbers when it plans a call. Sizes that only a call can tell
/// are taken to fit; the same rules look again when the call is planned.
#[derive(Clone, Debug, Default)]
pub struct Inference {
    /// Dimensions of tensors that are expressions: they are not negative, whatever they look like.
    sizes: Sizes,
}

impl Inference {
    /// Takes note of a value that no node gives.
    pub fn given(&mut self, fact: &Fact) {
        let evident = |dim: &&Dim| dim.as_size().is_some() || dim.as_name().is_some();
        self.sizes.extend(fact.dims.iter().filter(|dim| !evident(dim)).cloned());
    }

    /// What is known of a node's outputs, one for each of `node.outputs`, from what is known of its
    /// inputs: `inputs` has one entry for each of `node.inputs`, none where it is absent.
    ///
    /// # Errors
    /// Types or shapes do not fit the operator, or its attributes are wrong.
    pub fn node(&mut self, node: &Node, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, Fault> {
        let op = node.op.as_ref().ok_or_else(|| fault!("it has no operator"))?.operator();
        op.attributes().map_err(|(_, what)| Fault(what))?;
        let arity = op.arity();
        let (count, least, most) = (inputs.len(), arity.needed, arity.inputs);
        ensure!((least..=most).contains(&count), "it has {count} inputs, not {least} to {most}");
        let around = Around { inference: self, node };
        let facts = Facts { inputs, sizes: &self.sizes, bodies: &around };
        (0..least).try_for_each(|i| facts.get(i).map(drop))?;
        let mut outputs = op.rule(&facts)?;
        let (given, most) = (node.outputs.len(), outputs.len());
        ensure!(given <= most, "it has {given} outputs, {most} are possible");
        outputs.truncate(given);
        for fact in &outputs {
            let rank = fact.dims.len();
            ensure!(rank <= MAX_RANK, "its result has {rank} axes, {MAX_RANK} are possible");
            let negative = fact.dims.iter().find(|d| d.as_size().is_some_and(|size| size < 0));
            ensure!(negative.is_none(), "its result has a negative size: {}", list(&fact.dims));
            self.given(fact);
        }
        Ok(outputs)
    }
}

/// A node and what is known around it.
struct Around<'a> {
    inference: &'a Inference,
    node: &'a Node,
}

impl Around<'_> {
    fn body(&self, body: usize) -> Result<&Graph, Fault> {
        self.node.bodies.get(body).ok_or_else(|| fault!("it has no body {body}"))
    }
}

impl Bodies for Around<'_> {
    fn inputs(&self, body: usize) -> Vec<Fact> {
        let inputs = self.node.bodies.get(body).map(|body| &body.inputs);
        let fact = |port: &Port| Fact::new(port.data_type(), port.dims.clone());
        inputs.into_iter().flatten().map(fact).collect()
    }

    fn infer(&self, body: usize, inputs: &[Fact]) -> Result<Vec<Fact>, Fault> {
        let graph = self.body(body)?;
        let (found, declared) = (inputs.len(), graph.inputs.len());
        ensure!(found == declared, "body {body} has {declared} inputs, it is given {found}");
        let mut inference = self.inference.clone();
        let mut facts: Vec<Option<Fact>> = vec![None; graph.values.len()];
        for (port, fact) in graph.inputs.iter().zip(inputs) {
            let (found, declared) = (fact.data_type.name(), port.data_type().name());
            let name = &graph.values[port.value as usize];
            ensure!(
                found == declared,
                "{} in body {body} is {declared}, it is given {found}",
                Quoted(name)
            );
            inference.given(fact);
            facts[port.value as usize] = Some(fact.clone());
        }
        for node in &graph.nodes {
            let inputs: Vec<Option<&Fact>> =
                node.inputs.iter().map(|&value| facts[value as usize].as_ref()).collect();
            let given = inference
                .node(node, &inputs)
                .map_err(|fault| fault!("node {} of body {body}: {fault}", Quoted(&node.name)))?;
            for (&value, fact) in node.outputs.iter().zip(given) {
                if value != ABSENT {
                    facts[value as usize] = Some(fact);
                }
            }
        }
        let output = |port: &Port| facts[port.value as usize].clone();
        let outputs: Option<Vec<Fact>> = graph.outputs.iter().map(output).collect();
        outputs.ok_or_else(|| fault!("an output of body {body} is given by nothing"))
    }

    fn binds(&self) -> &[String] {
        &self.node.binds
    }
}
