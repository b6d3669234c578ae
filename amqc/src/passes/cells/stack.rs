//! All entries of a value along an axis, one after the other, are the value.

use amq_format::graph::{ABSENT, Dim, Op, Reshape, Slice, ValueId};

use super::expr::{Exprs, Source, Step};
use super::layer::Builder;
use crate::error::Result;
use crate::ir::{Module, Names};

pub(super) fn run(module: &mut Module) -> Result<()> {
    let facts = module.facts()?;
    let exprs = Exprs::new(module, &facts, ABSENT);
    let nodes = &module.graph.nodes;
    let stacks: Vec<_> =
        (0..nodes.len()).filter_map(|index| Stack::of(module, &exprs, index)).collect();
    let mut builder = Builder { names: Names::of(module), module };
    let mut nodes = std::mem::take(&mut builder.module.graph.nodes).into_iter();
    let mut done = 0;
    for stack in stacks {
        builder.module.graph.nodes.extend(nodes.by_ref().take(stack.index - done));
        done = stack.index + 1;
        if let Some(mut node) = nodes.next() {
            let value = stack.emit(&mut builder, &node.name);
            (node.op, node.inputs) = (Some(Op::Reshape(stack.shape)), vec![value]);
            builder.module.graph.nodes.push(node);
        }
    }
    builder.module.graph.nodes.extend(nodes);
    Ok(())
}

/// A concatenation of all entries of a value.
struct Stack {
    index: usize,
    value: ValueId,
    rank: usize,
    /// The axis of the value, and that of the result.
    axes: [usize; 2],
    backwards: bool,
    /// Of the result, as the first axis.
    turned: Vec<Dim>,
    shape: Reshape,
}

impl Stack {
    fn of(module: &Module, exprs: &Exprs<'_>, index: usize) -> Option<Stack> {
        let node = &module.graph.nodes[index];
        let (Some(Op::Concat(op)), &[output]) = (&node.op, node.outputs.as_slice()) else {
            return None;
        };
        let to = op.axis as usize;
        let mut entries = Vec::new();
        for &input in &node.inputs {
            (exprs.dims(input).get(to)?.as_size() == Some(1)).then_some(())?;
            let Source::Step { value, axis, step: Step::Number(number) } =
                exprs.source(&exprs.get(input))
            else {
                return None;
            };
            entries.push((value, axis, number));
        }
        let &(value, from, _) = entries.first()?;
        let size = exprs.dims(value).get(from)?.as_size()?;
        (entries.len() > 1 && entries.len() as i64 == size).then_some(())?;
        let follow = |at: &dyn Fn(usize) -> usize| {
            entries.iter().enumerate().all(|(i, entry)| *entry == (value, from, at(i)))
        };
        let backwards = follow(&|i| entries.len() - 1 - i);
        (backwards || follow(&|i| i)).then_some(())?;
        let dims = exprs.dims(output).to_vec();
        (to + 1 < dims.len()).then_some(())?;
        let mut turned = dims.clone();
        turned[..=to].rotate_right(1);
        Some(Stack {
            index,
            value,
            rank: exprs.dims(value).len(),
            axes: [from, to],
            backwards,
            turned,
            shape: Reshape { dims },
        })
    }

    fn emit(&self, builder: &mut Builder<'_>, name: &str) -> ValueId {
        let [from, to] = self.axes;
        let mut value = builder.turned(name, self.value, self.rank, from, true);
        if self.backwards {
            let slice = Slice {
                axes: vec![0],
                starts: vec![Dim::from(-1)],
                ends: vec![Dim::from(i64::MIN)],
                steps: vec![-1],
            };
            value = builder.node(name, Op::Slice(slice), vec![value]);
        }
        value = builder.shaped(name, value, self.turned.clone());
        builder.turned(name, value, self.turned.len(), to, false)
    }
}
