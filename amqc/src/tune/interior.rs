//! What the float model has at the end of a block, learned by the block alone.

use amq_format::graph::{DataType, ValueId};
use amq_runtime::Session;

use super::arrays::{Arrays, Group};
use super::lesson::Learn;
use super::outputs::{Output, compare, values};
use super::params::Params;
use super::tape::{ByValues, Entry, Tape};
use super::turns::{Piece, Size, shuffled};
use crate::distance::Distance;
use crate::error::Result;
use crate::ir::Module;
use crate::loaded::Loaded;
use crate::random::SplitMix64;
use crate::tensor::views;

/// Bytes of values at the ends of a block that are kept: what is beyond them is computed each time.
const MOST_BYTES: usize = 256 << 20;
/// Pieces that tell how large values are.
const MEASURED: usize = 4;

/// Samples that a block learns.
pub(super) struct Interior<'a> {
    float: Loaded,
    session: Session,
    module: &'a Module,
    arrays: &'a Arrays,
    size: Size,
    outputs: Vec<Output>,
    seed: u64,
    /// Samples that are learned at once: the same in each turn.
    pieces: Vec<Piece>,
    /// What is known of each.
    known: Vec<Option<Known>>,
    /// Bytes of which more may be known.
    room: usize,
    /// Times that all was learned, and pieces of the next that were.
    epoch: u64,
    piece: usize,
    /// The order of pieces.
    order: Vec<usize>,
}

/// What does not change while a block learns.
struct Known {
    /// What the block is given.
    entry: Entry,
    /// What the float model has at its end.
    expected: Vec<Vec<f32>>,
}

impl Known {
    /// What it takes, of four bytes an element.
    fn bytes(&self) -> usize {
        4 * (self.entry.elements() + self.expected.iter().map(Vec::len).sum::<usize>())
    }
}

impl<'a> Interior<'a> {
    /// Samples before the first is learned, so many at a time, by a block of `module`; `float` is the float model up to
    /// the block's end.
    ///
    /// # Errors
    /// What the float model cannot take.
    pub(super) fn new(
        float: Loaded,
        module: &'a Module,
        (arrays, size): (&'a Arrays, Size),
        seed: u64,
    ) -> Result<Interior<'a>> {
        let outputs = float.outputs().filter(|port| port.data_type() == DataType::F32);
        let outputs = outputs.map(|port| Output::new(&float, module, port.value)).collect();
        let groups: Vec<usize> =
            arrays.learned.iter().map(|group| group.samples(arrays.axis)).collect();
        let pieces = shuffled(&groups, size, &mut SplitMix64(seed));
        let mut interior = Interior {
            session: float.session(),
            float,
            module,
            arrays,
            size,
            outputs,
            seed,
            known: pieces.iter().map(|_| None).collect(),
            pieces,
            room: MOST_BYTES,
            epoch: 0,
            piece: 0,
            order: Vec::new(),
        };
        interior.deal();
        interior.measure()?;
        Ok(interior)
    }

    /// The values that the loss is of.
    pub(super) fn outputs(&self) -> Vec<ValueId> {
        self.outputs.iter().map(|output| output.value).collect()
    }

    /// Brings pieces into the order of this time.
    fn deal(&mut self) {
        self.order = (0..self.pieces.len()).collect();
        SplitMix64(self.seed.wrapping_add(self.epoch << 32)).shuffle(&mut self.order);
    }

    /// Finds how large the values are.
    fn measure(&mut self) -> Result<()> {
        let mut distances = vec![Distance::default(); self.outputs.len()];
        for piece in 0..self.pieces.len().min(MEASURED) {
            let expected = self.expect(&self.batch(piece))?;
            for (distance, values) in distances.iter_mut().zip(&expected) {
                values.iter().for_each(|&y| distance.add(y.into(), 0.0));
            }
        }
        for (output, distance) in self.outputs.iter_mut().zip(distances) {
            output.energy = distance.energy();
        }
        Ok(())
    }

    fn batch(&self, piece: usize) -> Group {
        let Piece { group, places, .. } = &self.pieces[piece];
        self.arrays.learned[*group].select(self.arrays.axis, places)
    }

    /// What the float model has.
    fn expect(&mut self, batch: &Group) -> Result<Vec<Vec<f32>>> {
        let given = self.session.run(&views(&batch.inputs)).map_err(|e| self.float.error(e))?;
        Ok(values(&given, &self.outputs))
    }
}

impl Interior<'_> {
    /// Runs the network up to the block's end.
    fn forward(&mut self, tape: &mut Tape<'_>, params: &Params, batch: &Group) -> Result<Known> {
        let expected = self.expect(batch)?;
        tape.forward(params, batch.of_module(self.module))?;
        Ok(Known { entry: tape.entry(), expected })
    }

    /// The loss of the last call, and its gradients.
    fn loss(&self, tape: &Tape<'_>, known: &Known) -> Result<(f64, ByValues)> {
        compare(tape, &self.outputs, &known.expected, |output, (y, expected), width| {
            output.check(&self.float.path, y, expected)?;
            Ok(output.loss(y, expected, width))
        })
    }

    /// The mean losses of the block and of what it would be with `others`, on what students are judged by.
    ///
    /// # Errors
    /// What the models cannot take.
    pub(super) fn beside(
        &mut self,
        tape: &mut Tape<'_>,
        params: &mut Params,
        others: &mut Params,
    ) -> Result<[f64; 2]> {
        let (mut losses, mut count) = ([0.0; 2], 0);
        let Arrays { valid, axis, .. } = self.arrays;
        for group in valid {
            for (places, new) in self.size.in_order(group.samples(*axis)) {
                let known = self.forward(tape, params, &group.select(*axis, &places))?;
                losses[0] += new as f64 * self.loss(tape, &known)?.0;
                params.exchange(others);
                let entered = tape.enter(params, &known.entry);
                params.exchange(others);
                entered?;
                losses[1] += new as f64 * self.loss(tape, &known)?.0;
                count += new;
            }
        }
        Ok(losses.map(|loss| loss / count.max(1) as f64))
    }
}

impl Learn for Interior<'_> {
    fn learn(&mut self, tape: &mut Tape<'_>, params: &mut Params) -> Result<f64> {
        if self.piece >= self.order.len() {
            (self.epoch, self.piece) = (self.epoch + 1, 0);
            self.deal();
        }
        let piece = self.order[self.piece];
        self.piece += 1;
        let known = match self.known[piece].take() {
            Some(known) => {
                self.room += known.bytes();
                tape.enter(params, &known.entry)?;
                known
            }
            None => self.forward(tape, params, &self.batch(piece))?,
        };
        let (loss, gradients) = self.loss(tape, &known)?;
        tape.backward(params, gradients)?;
        if known.bytes() <= self.room {
            self.room -= known.bytes();
            self.known[piece] = Some(known);
        }
        Ok(loss)
    }

    fn save(&self, to: &mut Vec<u8>) {
        to.extend(self.epoch.to_le_bytes());
        to.extend((self.piece as u64).to_le_bytes());
    }

    fn restore(&mut self, from: &mut &[u8]) -> Option<()> {
        self.epoch = u64::from_le_bytes(from.split_off(..8)?.try_into().ok()?);
        self.piece = u64::from_le_bytes(from.split_off(..8)?.try_into().ok()?) as usize;
        self.deal();
        Some(())
    }
}
