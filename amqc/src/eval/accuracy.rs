//! Accuracy on items with labels, or on positions in them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::items::{self, Given, refuse};
use super::labels::{Known, Labels};
use super::scores::{self, top1};
use crate::error::Result;
use crate::loaded::Loaded;
use crate::tensor::Tensor;

/// How often a model's largest score is at the label.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// A share, from 0 to 1.
    pub accuracy: f64,
    /// The mean over classes of `2 right / (labels + choices)`, of those that have a label or a choice.
    pub macro_f1: f64,
    /// The share of labels that are among the largest scores, if that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top: Option<Top>,
    /// Where each label has a single score: above which it says 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutoff: Option<f32>,
    /// Items, or positions in them.
    pub predicted: usize,
    /// Positions that have no label.
    #[serde(skip_serializing_if = "is_none")]
    pub unlabelled: usize,
}

/// Labels among the largest scores.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Top {
    /// How many scores.
    pub k: usize,
    /// A share, from 0 to 1.
    pub accuracy: f64,
}

fn is_none(count: &usize) -> bool {
    *count == 0
}

/// Runs the model on inputs whose items stand along axis 0; `output` names the one that gives the
/// scores, unless only one is float and no state. Labels are one for each item, or one for each position: then
/// classes are the output's last axis, or axis 1, and the others are those of the labels; negative labels are left out. Where
/// the output has one score for each label, these are 0 or 1: a probability above a half says 1, or a logit above 0. With `top`,
/// labels among so many largest scores are counted too. `tell` is told how many items of how many are done.
///
/// # Errors
/// Labels that are not one for each item or not a class, inputs that the model cannot take in batches
/// and scores that are not numbers.
pub fn accuracy(
    loaded: &Loaded,
    inputs: &[(String, Tensor)],
    labels: &Labels,
    output: Option<&str>,
    top: Option<usize>,
    tell: &dyn Fn(usize, usize),
) -> Result<Accuracy> {
    let Known::Classes(classes) = &labels.known else {
        return Err(labels.wrong("classes are whole numbers".into()));
    };
    let places = labels.dims[1..].iter().product::<usize>();
    let mut counts = Counts::default();
    let mut cutoff = None;
    items::run(loaded, inputs, labels, output, |given| {
        tell(given.items.end, labels.items());
        let scores = Scores::of(&given, &labels.dims, labels, loaded)?;
        cutoff = scores.cutoff;
        let known = &classes[given.items.start * places..given.items.end * places];
        for (place, &class) in known.iter().enumerate() {
            if class < 0 && labels.dims.len() > 1 {
                counts.unlabelled += 1;
                continue;
            }
            let at = given.items.start * places + place;
            let Some(label) = usize::try_from(class).ok().filter(|&label| label < scores.classes)
            else {
                let count = scores.classes;
                let wrong = format!("label {class} of item {at}: there are {count} classes");
                return Err(match cutoff {
                    Some(_) => {
                        labels.wrong(format!("{wrong}, for {:?} has one score a label", given.name))
                    }
                    None => labels.wrong(wrong),
                });
            };
            let row = scores.row(place);
            let Some(best) = top1(&row) else {
                return Err(refuse(loaded, format!("the scores of item {at} are not numbers")));
            };
            counts.add(label, best, rank(&row, label) < top.unwrap_or(0));
        }
        Ok(())
    })?;
    if counts.predicted == 0 {
        return Err(labels.wrong("no position has a label".into()));
    }
    let share = |count: usize| count as f64 / counts.predicted as f64;
    Ok(Accuracy {
        accuracy: share(counts.right()),
        macro_f1: counts.macro_f1(),
        top: top.map(|k| Top { k, accuracy: share(counts.among) }),
        cutoff,
        predicted: counts.predicted,
        unlabelled: counts.unlabelled,
    })
}

/// Scores by place and class.
struct Scores<'a> {
    values: &'a [f32],
    classes: usize,
    /// Places between two classes of one place.
    inner: usize,
    /// Where there is one score a place: above which it says 1.
    cutoff: Option<f32>,
}

impl<'a> Scores<'a> {
    /// Of an output for labels of this shape, which has all items along axis 0.
    fn of(
        given: &Given<'a>,
        shape: &[usize],
        labels: &Labels,
        loaded: &Loaded,
    ) -> Result<Scores<'a>> {
        let Given { name, dims, values, .. } = *given;
        let length = dims.first().copied().unwrap_or(0);
        if !values.is_empty() && values.len() == length * shape[1..].iter().product::<usize>() {
            let cutoff = Some(scores::cutoff(loaded.graph(), given.value));
            return Ok(Scores { values, classes: 2, inner: 1, cutoff });
        }
        if let ([_], true) = (shape, length > 0 && !values.is_empty()) {
            return Ok(Scores { values, classes: values.len() / length, inner: 1, cutoff: None });
        }
        let others = |axis: usize| dims.iter().enumerate().filter(move |(i, _)| *i != axis);
        let fits = |axis: &usize| {
            *axis < dims.len()
                && others(*axis).skip(1).map(|(_, dim)| dim).eq(shape[1..].iter())
                && dims.len() == shape.len() + 1
        };
        match [dims.len().wrapping_sub(1), 1].iter().find(|axis| fits(axis)) {
            Some(&axis) if !values.is_empty() => {
                let inner = dims[axis + 1..].iter().product();
                Ok(Scores { values, classes: dims[axis], inner, cutoff: None })
            }
            _ if shape.len() == 1 => {
                Err(refuse(loaded, format!("{} scores of {name:?} for {length} items", values.len())))
            }
            _ => Err(labels.wrong(format!(
                "labels have the shape {shape:?} and {name:?} has {:?}: expected the shape of labels, \
                 with or without an axis of classes at its end or after the first",
                items::whole(dims, labels)
            ))),
        }
    }

    /// The scores of a place, by class.
    fn row(&self, place: usize) -> Vec<f32> {
        if let Some(cutoff) = self.cutoff {
            return vec![cutoff, self.values[place]];
        }
        let start = place / self.inner * self.classes * self.inner + place % self.inner;
        (0..self.classes).map(|class| self.values[start + class * self.inner]).collect()
    }
}

/// How many classes have a larger score, or the same before it.
fn rank(row: &[f32], label: usize) -> usize {
    let before =
        |(class, &score): (usize, &f32)| score > row[label] || score == row[label] && class < label;
    row.iter().enumerate().filter(|&score| before(score)).count()
}

#[derive(Default)]
struct Counts {
    /// By class: labels, choices, and both at once.
    classes: BTreeMap<usize, [usize; 3]>,
    predicted: usize,
    among: usize,
    unlabelled: usize,
}

impl Counts {
    fn add(&mut self, label: usize, best: usize, among: bool) {
        self.classes.entry(label).or_default()[0] += 1;
        self.classes.entry(best).or_default()[1] += 1;
        self.classes.entry(label).or_default()[2] += usize::from(best == label);
        self.predicted += 1;
        self.among += usize::from(among);
    }

    fn right(&self) -> usize {
        self.classes.values().map(|[.., both]| both).sum()
    }

    fn macro_f1(&self) -> f64 {
        let f1 =
            |[labels, choices, both]: &[usize; 3]| 2.0 * *both as f64 / (labels + choices) as f64;
        self.classes.values().map(f1).sum::<f64>() / self.classes.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::onnx::tests::Build;
    use crate::open::Opened;
    use crate::tensor::Data;

    /// The accuracy of a model for an input of two items of three positions.
    fn judged(build: &Build, labels: &[i64]) -> Result<Accuracy> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        std::fs::write(&path, build.model.encode_to_vec()).unwrap();
        let loaded = Opened::read(&path).unwrap().load(amq_runtime::Isa::detect()).unwrap();
        let x = Data::F32(vec![-1.0, 0.25, 2.0, 0.75, -3.0, -0.5]);
        let inputs = [("x".to_owned(), Tensor { dims: vec![2, 3], data: x })];
        let known = Known::Classes(labels.to_vec());
        let labels = Labels { file: "l.npy".into(), dims: vec![2, labels.len() / 2], known };
        accuracy(&loaded, &inputs, &labels, None, None, &|_, _| ())
    }

    #[test]
    fn a_score_that_stands_alone_says_yes_or_no() {
        let yes = [0, 1, 1, 1, 0, 1];
        let sigmoid = Build::new(13).input("x", "n 3").node("Sigmoid", "x", "y").output("y");
        let found = judged(&sigmoid, &yes).unwrap();
        assert_eq!((found.cutoff, found.predicted), (Some(0.5), 6));
        assert!((found.accuracy - 5.0 / 6.0).abs() < 1e-12, "{found:?}");
        // The same scores as logits; labels below 0 are left out.
        let logits = Build::new(13).input("x", "n 3").node("Identity", "x", "y").output("y");
        let found = judged(&logits, &[0, 1, 1, 1, 0, -100]).unwrap();
        assert_eq!((found.cutoff, found.accuracy, found.unlabelled), (Some(0.0), 1.0, 1));
        let error = judged(&sigmoid, &[0, 1, 2, 1, 0, 1]).unwrap_err().to_string();
        assert!(error.contains("label 2 of item 2") && error.contains("\"y\""), "{error}");
    }

    #[test]
    fn items_may_stand_along_another_axis_of_the_output() {
        let turned = Build::new(13).input("x", "n t").node("Transpose", "x", "y").output("y");
        let found = judged(&turned, &[0, 1, 1, 1, 0, 0]).unwrap();
        assert_eq!((found.accuracy, found.predicted), (1.0, 6));
    }

    #[test]
    fn an_output_of_one_item_may_lack_its_axis() {
        let flat = Build::new(13).input("x", "1 3").ints("shape", &[-1]);
        let flat = flat.node("Reshape", "x shape", "y").output("y");
        let found = judged(&flat, &[0, 1, 1, 1, 0, 0]).unwrap();
        assert_eq!((found.accuracy, found.predicted), (1.0, 6));
    }

    #[test]
    fn measures_are_those_of_their_definitions() {
        // Labels 0 0 1 1 2, choices 0 1 1 1 0: F1 of 0 is 2/4, of 1 is 4/5, of 2 is 0.
        let mut counts = Counts::default();
        for (label, best) in [(0, 0), (0, 1), (1, 1), (1, 1), (2, 0)] {
            counts.add(label, best, label == best);
        }
        assert_eq!((counts.right(), counts.among, counts.predicted), (3, 3, 5));
        assert!((counts.macro_f1() - (0.5 + 0.8) / 3.0).abs() < 1e-12);
        assert_eq!([0, 1, 2, 3].map(|label| rank(&[1.0, 3.0, 3.0, 2.0], label)), [3, 0, 1, 2]);
    }

    #[test]
    fn classes_stand_at_the_end_or_after_the_items() {
        let values: Vec<f32> = (0..12u8).map(f32::from).collect();
        let last = Scores { values: &values, classes: 3, inner: 1, cutoff: None };
        assert_eq!(last.row(2), [6.0, 7.0, 8.0]);
        // [2, 3, 2]: the place (1, 0) is number 2.
        let after = Scores { values: &values, classes: 3, inner: 2, cutoff: None };
        assert_eq!(after.row(2), [6.0, 8.0, 10.0]);
        assert_eq!(after.row(3), [7.0, 9.0, 11.0]);
    }
}
