//! The operators that a file can hold: the one list of them, and a file for each family, where each
//! has its message and what it declares.

mod along;
mod control;
mod elementwise;
mod fold;
mod found;
mod index;
mod layout;
mod order;
mod parts;
mod product;
mod recurrent;
mod reduce;
mod sample;
mod spectrum;
mod window;

use crate::fact::Fact;
use crate::operator::{Held, Operator};
use alloc::boxed::Box;
use alloc::string::String;

pub use along::{Cumulative, CumulativeKind, ReverseSequence};
pub use control::{If, Loop};
pub use elementwise::{Binary, BinaryFunction, Cast, Select, Unary, UnaryFunction};
pub use fold::Fold;
pub use found::{NonMaxSuppression, NonZero, Series, Sizes, Unique};
pub use index::{GatherElements, GatherNd, ScatterElements, ScatterKind, ScatterNd};
pub use layout::{Dims, Expand, Reshape, Transpose};
pub use order::TopK;
pub use parts::{Concat, Gather, Pad, PadMode, Range, Slice};
pub use product::{Linear, MatMul};
pub use recurrent::{Cell, Direction, Recurrent};
pub use reduce::{Reduce, ReduceKind, Softmax};
pub use sample::{GridSample, Interpolation, Placement, Resize, RoiAlign, Rounding, SamplePadding};
pub use spectrum::Fourier;
pub use window::{AutoPad, Conv, Pool, PoolKind, Window};

/// Calls a macro with all operators: the number of each in a node, its name, and what its variant
/// of [`Op`] holds.
#[macro_export]
macro_rules! for_each_operator {
    ($macro:ident) => {
        $macro! {
            16 Linear(Linear),
            17 MatMul(MatMul),
            18 Conv(Conv),
            19 Pool(Pool),
            // Boxed, because it is by far the largest.
            20 Recurrent(Box<Recurrent>),
            21 Gather(Gather),
            22 Unary(Unary),
            23 Binary(Binary),
            24 Select(Select),
            25 Reduce(Reduce),
            26 Softmax(Softmax),
            27 Concat(Concat),
            28 Slice(Slice),
            29 Reshape(Reshape),
            30 Transpose(Transpose),
            31 Pad(Pad),
            32 Expand(Expand),
            33 Cast(Cast),
            34 Dims(Dims),
            35 TopK(TopK),
            36 GatherElements(GatherElements),
            37 GatherNd(GatherNd),
            38 ScatterElements(ScatterElements),
            39 ScatterNd(ScatterNd),
            40 Cumulative(Cumulative),
            41 ReverseSequence(ReverseSequence),
            42 Fold(Fold),
            43 Resize(Resize),
            44 GridSample(GridSample),
            45 RoiAlign(RoiAlign),
            46 Fourier(Fourier),
            47 If(If),
            48 Loop(Loop),
            49 Sizes(Sizes),
            50 NonZero(NonZero),
            51 Unique(Unique),
            52 Series(Series),
            53 NonMaxSuppression(NonMaxSuppression),
        }
    };
}

macro_rules! vocabulary {
    ($($tag:tt $name:ident($($held:tt)*),)*) => {
        /// An operator with its attributes. Inputs and outputs are listed in each operator's words.
        #[derive(Clone, PartialEq, prost::Oneof)]
        pub enum Op {
            $(
                #[doc = concat!("[`", stringify!($name), "`]")]
                #[prost(message, tag($tag))]
                $name($($held)*),
            )*
        }

        impl Op {
            /// The names of all operators.
            pub const NAMES: &[&str] = &[$(stringify!($name)),*];

            /// Its name.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Op::$name(_) => stringify!($name),)*
                }
            }

            /// What it declares.
            pub fn operator(&self) -> &dyn Operator {
                match self {
                    $(Op::$name(op) => as_operator::<$name>(op),)*
                }
            }

            /// What it declares, to be changed.
            pub fn operator_mut(&mut self) -> &mut dyn Operator {
                match self {
                    $(Op::$name(op) => as_operator_mut::<$name>(op),)*
                }
            }

            /// As [`Operator::activations_mut`].
            pub fn activations_mut(&mut self, input: usize) -> Option<&mut i32> {
                match self {
                    $(Op::$name(op) => op.activations_mut(input),)*
                }
            }

            /// As [`Operator::work`].
            pub fn work(&self, inputs: &[Option<&Fact>], read: i64, given: i64) -> Option<i64> {
                match self {
                    $(Op::$name(op) => op.work(inputs, read, given),)*
                }
            }

            /// As [`Operator::text`].
            pub fn text(&self) -> String {
                match self {
                    $(Op::$name(op) => op.text(),)*
                }
            }

            /// The fields that are messages of the operator with this number in a node, and the
            /// bytes that it takes beside the node.
            pub(crate) fn messages(tag: u32) -> Option<(&'static [(u32, Held)], usize)> {
                match tag {
                    $($tag => Some((<$name>::messages(), beside::<$name, $($held)*>())),)*
                    _ => None,
                }
            }
        }
    };
}

for_each_operator!(vocabulary);

fn as_operator<T: Operator>(op: &T) -> &dyn Operator {
    op
}

fn as_operator_mut<T: Operator>(op: &mut T) -> &mut dyn Operator {
    op
}

/// Bytes that `T` takes where a node holds `Held` for it.
const fn beside<T, Held>() -> usize {
    if size_of::<Held>() < size_of::<T>() { size_of::<T>() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use prost_reflect::{DescriptorPool, Kind};

    /// What the scan counts before decoding is what the schema nests.
    #[test]
    fn fields_that_are_messages_are_those_of_the_schema() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
        let files = protox::compile(["amq.proto"], [folder]).unwrap();
        let schema = DescriptorPool::from_file_descriptor_set(files).unwrap();
        let node = schema.get_message_by_name("amq.v1.Node").unwrap();
        let operators: Vec<_> =
            node.oneofs().flat_map(|op| op.fields().collect::<Vec<_>>()).collect();
        assert_eq!(operators.len(), Op::NAMES.len());
        for operator in operators {
            let Kind::Message(message) = operator.kind() else { panic!("{operator:?}") };
            let fields = message.fields().filter_map(|field| match field.kind() {
                Kind::Message(inner) => Some((field.number(), inner.name() == "Dim")),
                _ => None,
            });
            let (held, _) = Op::messages(operator.number()).unwrap();
            let held = held.iter().map(|(number, held)| (*number, *held == Held::Dims));
            assert!(fields.eq(held), "{}", message.name());
        }
    }

    #[test]
    fn what_is_boxed_counts_by_itself() {
        assert_eq!(Op::messages(16).unwrap().1, 0);
        assert_eq!(Op::messages(20).unwrap().1, size_of::<Recurrent>());
    }
}
