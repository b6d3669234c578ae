//! Bodies of nodes: reading them, and adding operators that have some.

use amq_format::Fact;
use amq_format::graph::{ABSENT, Node, Op, Reshape, ValueId};

use super::attrs::Reader;
use super::builder::{Builder, Value, refused};
use super::proto::{AttributeType, GraphProto, ValueInfoProto};
use crate::error::{Error, Result};
use crate::ir::{Part, enclose, node};

impl<'a> Reader<'a, '_> {
    /// An attribute that is a graph, which must be there.
    pub(super) fn graph(&mut self, name: &str) -> Result<&'a GraphProto> {
        let graph = self.attribute(name, AttributeType::Graph)?.and_then(|a| a.g.as_deref());
        graph.ok_or_else(|| Error::bad_file(format!("its attribute {name:?} is missing")))
    }

    /// Reads a body here and now: its inputs are these values. Gives its outputs.
    pub(super) fn inline(
        &mut self,
        graph: &GraphProto,
        part: &str,
        inputs: &[Value],
    ) -> Result<Vec<Value>> {
        let found = graph.input.len();
        if found != inputs.len() {
            return Err(Error::bad_file(format!(
                "its {part} has {found} inputs, it must have {}",
                inputs.len()
            )));
        }
        self.builder.enter();
        let read = self.read_body(graph, part, inputs);
        self.builder.leave();
        read
    }

    fn read_body(
        &mut self,
        graph: &GraphProto,
        part: &str,
        inputs: &[Value],
    ) -> Result<Vec<Value>> {
        for (input, &value) in graph.input.iter().zip(inputs) {
            self.builder.bind(&input.name, value)?;
        }
        let prefix = format!("{}/{part}/", self.name);
        (self.read_graph)(graph, &prefix, self.opset, self.builder, self.store)?;
        let mut output = |output: &ValueInfoProto| {
            let value = self.builder.lookup(&output.name);
            if value.is_none() && self.builder.refusals.is_lost(&output.name) {
                self.builder.refusals.lose(&output.name);
            }
            value.ok_or_else(|| {
                Error::bad_file(format!("output {:?} of its {part} is not defined", output.name))
            })
        };
        graph.output.iter().map(&mut output).collect()
    }

    /// Adds an operator with its bodies and the names of the sizes that it gives; all of its outputs.
    pub(super) fn emit_bodies(
        &mut self,
        op: Op,
        inputs: &[Value],
        parts: Vec<Part>,
        binds: Vec<String>,
    ) -> Result<Vec<Value>> {
        self.builder.emit_bodies(&self.name, op, inputs, parts, binds)
    }

    /// Begins the name of a dimension that the node gives.
    pub(super) fn dim_name(&mut self, part: &str) -> String {
        let wanted = format!("{}.{part}", self.name);
        self.builder.fresh_dim(&wanted)
    }

    /// The name of the node.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Builder {
    /// Begins a body of its own, in which nodes are added from now on; gives those around it.
    pub(super) fn open(&mut self) -> Vec<Node> {
        std::mem::take(&mut self.module.graph.nodes)
    }

    /// Ends a body that has these inputs and outputs, and goes on after the nodes `around` it.
    pub(super) fn close(
        &mut self,
        around: Vec<Node>,
        inputs: &[Value],
        outputs: &[Value],
    ) -> Result<Part> {
        let inputs: Vec<ValueId> =
            inputs.iter().map(|&value| self.id(value)).collect::<Result<_>>()?;
        let mut ids: Vec<ValueId> = Vec::with_capacity(outputs.len());
        for &value in outputs {
            let mut id = self.id(value)?;
            // A body gives each value once, and none that it does not compute.
            if ids.contains(&id) {
                let copy = Op::Reshape(Reshape { dims: self.fact(value).dims.clone() });
                let name = self.fresh_name(&format!("{}/copy", self.entries[value.0].name));
                let named = self.module.add_value(name.clone());
                self.module.add_node(&name, copy, vec![id], vec![named]);
                self.owners.insert(named, value.0);
                id = named;
            }
            ids.push(id);
        }
        let nodes = std::mem::replace(&mut self.module.graph.nodes, around);
        // Shapes that became data in the body are not there outside.
        for id in nodes.iter().flat_map(|node| &node.outputs) {
            if let Some(&owner) = self.owners.get(id) {
                self.entries[owner].id = None;
            }
        }
        Ok(Part { inputs, nodes, outputs: ids })
    }

    /// Gives back the nodes around a body that is to be read again.
    pub(super) fn discard(&mut self, around: Vec<Node>) {
        let nodes = std::mem::replace(&mut self.module.graph.nodes, around);
        for id in nodes.iter().flat_map(|node| &node.outputs) {
            if let Some(&owner) = self.owners.get(id) {
                self.entries[owner].id = None;
            }
        }
    }

    /// An input of a body.
    pub(super) fn body_input(&mut self, wanted: &str, fact: Fact) -> Result<Value> {
        let name = self.fresh_name(wanted);
        let id = self.module.add_value(name.clone());
        let value = self.push(name, fact)?;
        self.set_id(value, id);
        Ok(value)
    }

    /// Adds an operator with its bodies and the names of the sizes that it gives; all of its outputs.
    pub(super) fn emit_bodies(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[Value],
        parts: Vec<Part>,
        binds: Vec<String>,
    ) -> Result<Vec<Value>> {
        let count = parts.first().map_or(0, |part| part.outputs.len());
        let count = count - usize::from(matches!(&op, Op::Loop(op) if op.conditional));
        let mut ids: Vec<ValueId> =
            inputs.iter().map(|&value| self.id(value)).collect::<Result<_>>()?;
        let fact = |id: ValueId| Some(self.entries[*self.owners.get(&id)?].fact.clone());
        let (captures, bodies) = enclose(&self.module.graph.values, parts, &fact);
        ids.extend(captures);
        let facts: Vec<Option<Fact>> = ids.iter().map(|&id| fact(id)).collect();
        let mut node = Node { bodies, binds, ..node(name, op, ids, vec![ABSENT; count]) };
        let facts: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
        let inferred =
            self.inference.node(&node, &facts).map_err(|fault| refused(&node, &fault))?;
        let mut outputs = Vec::with_capacity(count);
        for (i, fact) in inferred.into_iter().enumerate() {
            let name = self.fresh_name(name);
            let value = self.push(name.clone(), fact)?;
            let id = self.module.add_value(name);
            self.set_id(value, id);
            node.outputs[i] = id;
            outputs.push(value);
        }
        self.module.graph.nodes.push(node);
        Ok(outputs)
    }
}
