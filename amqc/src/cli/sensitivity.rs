//! `amqc sensitivity`

use std::path::PathBuf;

use amq_runtime::Isa;
use clap::Args;

use super::calibration::Calibration;
use super::progress::Bar;
use super::settings::Settings;
use super::{Outcome, Work};
use crate::calibrate::trial::Answer;
use crate::error::{Error, Result};
use crate::open::is_amq;
use crate::options::ConvertOptions;
use crate::sensitivity::{Cost, Sensitivity as Found, sensitivity};
use crate::table::Table;

/// Rank matrices by what quantizing each alone does to a model's answers
///
/// Each matrix is coded as convert would code it, while all others stay float, and the model's outputs are
/// compared with those of the float model on calibration data.
#[derive(Debug, Args)]
pub(super) struct Sensitivity {
    /// The ONNX model
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    calibration: Calibration,
    #[command(flatten)]
    work: Work,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Sensitivity {
    pub(super) fn execute(&self, isa: Isa) -> Result<Outcome> {
        if is_amq(&self.model)? {
            return Err(Error::usage("an .amq file is quantized already")
                .within(self.model.display())
                .remedy("name the ONNX model that it was made from"));
        }
        self.work.begin()?;
        let Some(source) = self.calibration.source()? else {
            return Err(Error::usage("answers are compared on data, and none are named")
                .remedy("name data that the model is meant for with --calib"));
        };
        let calibration = Some(source.clone());
        let options = ConvertOptions { calibration, ..self.settings.options()? };
        options.resolver()?;
        let bar = Bar::with_lines(false);
        let found = sensitivity(&self.model, &options, &source, isa, &bar.show());
        bar.clear();
        Outcome::of(self.json, &found?, text)
    }
}

fn text(found: &Found) -> String {
    let header = ["layer", "op", "shape", "bits", "act.", "rel. MSE"];
    let header = [&header[..], &["output", "snr, dB", "KL, nats", "same choice"]].concat();
    let mut table = Table::new(&header, "llrrlllrrr");
    let answers = |table: &mut Table, cells: [String; 6], answers: &[Answer]| {
        for (index, answer) in answers.iter().enumerate() {
            let first = if index == 0 { cells.clone() } else { Default::default() };
            let mut row = first.to_vec();
            row.push(answer.name.clone());
            row.push(format!("{:.1}", answer.snr_db));
            row.push(answer.kl.map(|kl| format!("{kl:.4}")).unwrap_or_default());
            let share = |share: f64| format!("{:.1}%", 100.0 * share);
            row.push(answer.same_choice.map(share).unwrap_or_default());
            table.row(row);
        }
    };
    for Cost { name, op, rows, cols, bits, activations, relative_mse, outputs } in &found.matrices {
        let (shape, error) = (format!("{rows}x{cols}"), format!("{relative_mse:.4}"));
        let cells = [name.clone(), op.clone(), shape, bits.to_string(), activations.clone(), error];
        answers(&mut table, cells, outputs);
    }
    let all = ["all of them".to_owned(), "".into(), "".into(), "".into(), "".into(), "".into()];
    answers(&mut table, all, &found.all);
    format!("{}compared on {} {}\n", table.render(), found.samples, found.what)
}
