//! The codes of each matrix that the plan has coded.

use std::borrow::Cow;
use std::collections::BTreeSet;

use amq_format::graph::{BinaryFunction as B, Op, ValueId};
use amq_format::operator::Role;

use crate::calibrate::moments::{Block, Moments};
use crate::calibrate::pairs::Pairs;
use crate::error::{Error, Result};
use crate::ir::Module;
use crate::plan::{Choice, Plan, Planned};
use crate::quant::{self, Method, QuantizedMatrix};
use crate::tensor::Data;
use crate::weights::Weight;

/// The codes of a network's matrices.
#[derive(Clone, Debug, Default)]
pub struct Fitted {
    /// Each constant that was coded: tied weights with the same settings are one.
    pub matrices: Vec<Matrix>,
    /// Of each entry of the plan, its place in `matrices`; none where it stays float.
    pub places: Vec<Option<usize>>,
    /// Of each entry of the plan, what is added to the products' biases, one for each row: the mean
    /// product of what the codes leave with the vectors of the calibration data.
    pub shifts: Vec<Option<Vec<f64>>>,
    /// Matrices that were to be calibrated and are fitted by their weights alone.
    pub unmet: Vec<Unmet>,
}

/// A matrix of which calibration data say nothing.
#[derive(Clone, Debug)]
pub struct Unmet {
    /// Its name.
    pub name: String,
    /// Whether it is a table, whose rows enter no product of weights directly; else no data met it, or what did
    /// takes too much memory.
    pub table: bool,
}

/// A constant that was coded.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// The constant.
    pub source: ValueId,
    /// How it was fitted.
    pub options: quant::Options,
    /// Its codes.
    pub codes: QuantizedMatrix,
}

impl Fitted {
    /// Fits the codes of every matrix, to what `moments` says that it meets; `progress` is told of each by name how many of its rows are
    /// done, of how many.
    ///
    /// # Errors
    /// Weights that are not finite.
    pub fn new(
        module: &Module,
        plan: &Plan,
        moments: Option<&Moments>,
        progress: &(dyn Fn(&str, usize, usize) + Sync),
    ) -> Result<Fitted> {
        let mut fitted = Fitted::none(module, plan)?;
        for (entry, planned) in plan.matrices.iter().enumerate() {
            let met = moments.map(|moments| met(&planned.weight, moments)).unwrap_or_default();
            fitted.fit(module, plan, entry, &met, progress);
        }
        Ok(fitted)
    }

    /// No matrix is coded yet.
    ///
    /// # Errors
    /// Weights that are not finite.
    pub(crate) fn none(module: &Module, plan: &Plan) -> Result<Fitted> {
        check_biases(module)?;
        for Planned { weight, choice } in &plan.matrices {
            if let Data::F32(data) = &module.constants[&weight.value].data
                && (matches!(choice, Choice::Codes { .. }) || !weight.is_table())
            {
                check_finite(weight, data)?;
            }
        }
        let count = plan.matrices.len();
        Ok(Fitted { places: vec![None; count], shifts: vec![None; count], ..Fitted::default() })
    }

    /// Fits the codes of an entry of the plan, if it is coded, to what its rows meet.
    pub(crate) fn fit(
        &mut self,
        module: &Module,
        plan: &Plan,
        entry: usize,
        met: &[Met<'_>],
        progress: &(dyn Fn(&str, usize, usize) + Sync),
    ) {
        let Planned { weight, choice } = &plan.matrices[entry];
        let (Data::F32(data), Choice::Codes { fit, .. }) =
            (&module.constants[&weight.value].data, choice)
        else {
            return;
        };
        let calibrated = fit.method == Method::Calibrated;
        let same = |m: &Matrix| m.source == weight.value && m.options == *fit;
        let place = self.matrices.iter().position(same).unwrap_or_else(|| {
            let tell = |rows| progress(&weight.name, rows, weight.rows);
            let (rows, cols) = (weight.rows, weight.cols);
            let codes = match calibrated {
                true => {
                    let norms = match weight.is_table() {
                        true => consumers(module, weight).into_iter().collect(),
                        false => met.iter().map(Met::moment).collect::<Vec<_>>(),
                    };
                    if norms.is_empty() {
                        let (name, table) = (weight.name.clone(), weight.is_table());
                        self.unmet.push(Unmet { name, table });
                    }
                    let targets = targets(data, cols, met);
                    quant::quantize_for(&targets, rows, cols, fit, &norms, &tell)
                }
                false => quant::quantize(data, rows, cols, fit, &tell),
            };
            self.matrices.push(Matrix { source: weight.value, options: *fit, codes });
            self.matrices.len() - 1
        });
        self.places[entry] = Some(place);
        if calibrated && !met.is_empty() {
            self.shifts[entry] = Some(shift(data, &self.matrices[place].codes, met));
        }
    }
}

/// Biases are finite, and what is added to values or scales them is no NaN, be it a bias that stayed
/// a sum or not.
fn check_biases(module: &Module) -> Result<()> {
    for node in &module.graph.nodes {
        let slots = node.op.as_ref().map(|op| op.operator().slots()).unwrap_or_default();
        let biases = slots.iter().filter(|slot| matches!(slot.role, Role::Bias));
        let biases: Vec<usize> = biases.map(|slot| slot.input).collect();
        for (input, value) in node.inputs.iter().enumerate() {
            let Some(Data::F32(data)) = module.constants.get(value).map(|c| &c.data) else {
                continue;
            };
            let is_bad = |x: &f32| match &node.op {
                _ if biases.contains(&input) => !x.is_finite(),
                Some(Op::Binary(binary)) => {
                    let function = binary.function();
                    x.is_nan() && matches!(function, B::Add | B::Sub | B::Mul | B::Div)
                }
                _ => false,
            };
            if let Some(bad) = data.iter().position(is_bad) {
                let (node, value) = (&node.name, module.name(*value));
                return Err(Error::bad_file(format!(
                    "node {node:?}: element {bad} of {value:?} is {}",
                    data[bad]
                ))
                .remedy("the model is damaged, or its training diverged"));
            }
        }
    }
    Ok(())
}

/// What rows of a matrix meet.
#[derive(Debug)]
pub(crate) struct Met<'a> {
    /// The rows, counted in the matrix.
    rows: Vec<usize>,
    /// What they meet in the float model.
    pub(crate) block: &'a Block,
    /// The same where matrices before them are coded.
    pairs: Option<&'a Pairs>,
}

impl<'a> Met<'a> {
    /// The same, with what the rows meet where matrices before them are coded.
    pub(crate) fn paired(&self, pairs: Option<&'a Pairs>) -> Met<'a> {
        let pairs = pairs.filter(|pairs| pairs.columns() == self.block.sums.columns());
        Met { rows: self.rows.clone(), block: self.block, pairs }
    }

    /// What errors of the rows do.
    fn moment(&self) -> quant::Moment {
        let (all, halves) = match self.pairs {
            Some(pairs) => (pairs.covariance(), pairs.covariances_of_halves()),
            None => (self.block.sums.covariance(), self.block.sums.covariances_of_halves()),
        };
        quant::Moment { rows: self.rows.clone(), all, halves }
    }
}

/// What the rows of a matrix meet in the float model.
pub(crate) fn met<'a>(weight: &Weight, moments: &'a Moments) -> Vec<Met<'a>> {
    let met = |block: &'a Block| -> Option<Met<'a>> {
        let direction = weight.direction(block.part)?;
        // Both directions have as many rows.
        let of_direction = weight.rows / weight.directions;
        let rows: Vec<usize> =
            block.rows.iter().map(|row| row + direction * of_direction).collect();
        let fits = block.sums.columns() == weight.cols && rows.iter().all(|&r| r < weight.rows);
        // What bodies meet is not seen.
        let place = weight.place.is_outermost() && block.node == weight.place.node;
        (place && fits).then_some(Met { rows, block, pairs: None })
    };
    moments.blocks.iter().filter_map(met).collect()
}

/// What the codes are to be near to: the weights, but where rows meet something else than in the float model
/// what gives nearly the same there.
fn targets<'a>(data: &'a [f32], cols: usize, met: &[Met<'_>]) -> Cow<'a, [f32]> {
    let mut targets = Cow::Borrowed(data);
    for Met { rows, pairs, .. } in met {
        let Some(pairs) = pairs else { continue };
        let weights: Vec<&[f32]> = rows.iter().map(|row| &data[row * cols..][..cols]).collect();
        let [covariance, drift] = pairs.covariance_and_drift();
        let found = quant::targets(&weights, &covariance, &drift);
        for (row, target) in rows.iter().zip(found.unwrap_or_default()) {
            targets.to_mut()[row * cols..][..cols].copy_from_slice(&target);
        }
    }
    targets
}

/// What an error in a table's rows does: the sum of `w w^T` over the rows `w` of the matrices that are
/// multiplied with what is looked up.
fn consumers(module: &Module, table: &Weight) -> Option<quant::Moment> {
    let cols = table.cols;
    if !table.place.is_outermost() {
        return None;
    }
    let index = table.place.node;
    let mut same = BTreeSet::from([*module.graph.nodes[index].outputs.first()?]);
    let mut all = vec![0.0; cols * cols];
    let mut found = false;
    for node in &module.graph.nodes[index + 1..] {
        let reads = node.inputs.first().is_some_and(|value| same.contains(value));
        match &node.op {
            Some(Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_)) if reads => {
                same.extend(&node.outputs);
            }
            Some(Op::Linear(_) | Op::Recurrent(_)) if reads => {
                let weights = module.constants.get(node.inputs.get(1)?)?;
                let Data::F32(weights_data) = &weights.data else { return None };
                if weights.dims.last() != Some(&cols) {
                    return None;
                }
                for row in weights_data.chunks_exact(cols) {
                    for (all, &a) in all.chunks_exact_mut(cols).zip(row) {
                        for (all, &b) in all.iter_mut().zip(row) {
                            *all += f64::from(a) * f64::from(b);
                        }
                    }
                }
                found = true;
            }
            _ => {}
        }
    }
    found.then(|| quant::Moment { rows: (0..table.rows).collect(), all, halves: None })
}

/// What is added to each row's bias: the mean of what the weights give on the vectors that the row meets in the
/// float model, less that of what the codes give on those that it meets.
///
/// Under a softmax half the variance comes on top. What codes leave hardly depends on what they give, so
/// `exp(z)` is `exp` of what they give times, in the mean, `exp` of so much.
fn shift(data: &[f32], codes: &QuantizedMatrix, met: &[Met<'_>]) -> Vec<f64> {
    let mut shift = vec![0.0; codes.rows];
    let mut decoded = vec![0.0; codes.cols];
    for Met { rows, block, pairs } in met {
        let mean = || [block.sums.mean(), vec![0.0; codes.cols]];
        let [coded, drift] = pairs.map_or_else(mean, Pairs::means);
        let covariance = block.under_softmax.then(|| block.sums.covariance());
        for &row in rows {
            codes.decode_row(row, &mut decoded);
            let weights = data[row * codes.cols..][..codes.cols].iter().map(|&w| f64::from(w));
            let left: Vec<f64> =
                weights.clone().zip(&decoded).map(|(w, &d)| w - f64::from(d)).collect();
            let lost: f64 = weights.zip(&drift).map(|(w, drift)| w * drift).sum();
            shift[row] = dot(&left, &coded) + lost;
            if let Some(covariance) = &covariance {
                let image = covariance.chunks_exact(codes.cols).map(|row| dot(row, &left));
                shift[row] += 0.5 * image.zip(&left).map(|(a, b)| a * b).sum::<f64>();
            }
        }
    }
    shift
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Weights of products are finite; so are tables that are coded.
fn check_finite(weight: &Weight, data: &[f32]) -> Result<()> {
    let Some(bad) = data.iter().position(|w| !w.is_finite()) else { return Ok(()) };
    let remedy = match weight.is_table() {
        true => "if that is meant, keep the table in float with a recipe (bits: f32)",
        false => "the model is damaged, or its training diverged",
    };
    Err(Error::bad_file(format!("{}: weight {bad} is {}", weight.name, data[bad])).remedy(remedy))
}

#[cfg(test)]
mod tests {
    use amq_runtime::Part;

    use super::*;
    use crate::calibrate::moments::Sums;
    use crate::calibrate::source::Source;
    use crate::onnx::tests::Build;
    use crate::options::ConvertOptions;
    use crate::passes;
    use crate::settings::Given;
    use crate::weights::Weights;

    /// What is said of a calibrated matrix with these moments.
    fn unmet(moments: &Moments) -> Vec<Unmet> {
        let build = Build::new(13).input("x", "n 4").weight("w", &[4, 8]);
        let build = build.node("MatMul", "x w", "y").output("y");
        let mut module = build.import().unwrap();
        passes::run(&mut module).unwrap();
        let flags = Given { method: Some(Method::Calibrated), ..Given::default() };
        let source = Source { path: "x.npz".into(), vocabulary: None, axis: 0, most: None };
        let options =
            ConvertOptions { flags, calibration: Some(source), ..ConvertOptions::default() };
        let weights = Weights::find(&module).unwrap();
        let plan = Plan::new(&module, &weights, options.resolver().unwrap()).unwrap();
        Fitted::new(&module, &plan, Some(moments), &|_, _, _| ()).unwrap().unmet
    }

    #[test]
    fn a_matrix_that_no_data_met_is_named() {
        let mut sums = Sums::new(4);
        sums.add(0, &[1.0, -2.0, 0.5, 3.0, -1.0, 2.0, 0.0, 1.0], [1.0, 1.0].into_iter());
        sums.settle();
        let block =
            Block { node: 0, part: Part::W, rows: (0..8).collect(), under_softmax: false, sums };
        assert!(unmet(&Moments { blocks: vec![block] }).is_empty());
        assert_eq!(unmet(&Moments::default()).len(), 1);
    }
}
