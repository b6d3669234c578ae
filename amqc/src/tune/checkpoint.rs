//! Training as bytes, from which it goes on as if it had not ended.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::course::{Course, Length, Training};
use super::lesson::{Figure, Learn, Lesson, Measure};
use super::optimizer::Optimizer;
use super::params::Params;
use crate::error::{Error, Result};
use crate::options::ConvertOptions;

const MAGIC: &[u8; 8] = b"AMQTUNE\x03";
const DIGEST: usize = 32;

/// What a training is: one with another of these does not go on from its checkpoint.
pub(super) fn identity(
    source: &[u8],
    options: &ConvertOptions,
    training: &Training,
    lesson: &dyn Lesson,
) -> [u8; DIGEST] {
    let mut digest = Sha256::new();
    digest.update(source);
    digest.update(options.to_string());
    digest.update(options.recipe.as_ref().map_or("", |recipe| recipe.text()));
    let Training { length, seed, rule, rate, decay, reading, by_block, .. } = training;
    let length = match length {
        Length::Steps(steps) => format!("{steps} steps"),
        // How long a training with a clock goes on may change.
        Length::Time(_) => "a time".into(),
    };
    digest.update(format!("{length} {seed} {rule:?} {rate:?} {decay:?} {reading:?} {by_block}"));
    lesson.identify(&mut digest);
    digest.finalize().into()
}

/// A checkpoint.
pub(super) fn write(
    identity: &[u8; DIGEST],
    course: &Course,
    params: &Params,
    optimizer: &Optimizer,
    learned: &dyn Learn,
) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(identity);
    let Course {
        step,
        elapsed,
        valid,
        scale,
        undone,
        loss,
        before,
        last,
        best,
        best_step,
        student,
    } = course;
    for number in [*step, elapsed.as_nanos() as u64, *best_step, student.len() as u64] {
        bytes.extend(number.to_le_bytes());
    }
    let figures = [before, last, best].map(Figure::numbers);
    for number in [*scale, *loss].iter().chain(figures.as_flattened()) {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(valid.to_le_bytes());
    bytes.extend(undone.to_le_bytes());
    bytes.extend(student);
    params.save(&mut bytes);
    optimizer.save(&mut bytes);
    learned.save(&mut bytes);
    let digest = Sha256::digest(&bytes);
    bytes.extend(digest);
    bytes
}

/// How far a training is by what [`write`] gave, and the rest of it, which [`restore`] takes.
///
/// # Errors
/// Bytes that are no checkpoint or damaged, and one of another training.
pub(super) fn read<'b>(
    bytes: &'b [u8],
    identity: &[u8; DIGEST],
    measure: Measure,
) -> Result<(Course, &'b [u8])> {
    let (body, digest) = bytes.split_last_chunk::<DIGEST>().ok_or_else(damaged)?;
    let Some(mut rest) = body.strip_prefix(MAGIC) else {
        return Err(Error::bad_file("it is no checkpoint of this version of tune"));
    };
    if Sha256::digest(body).as_slice() != digest {
        return Err(damaged());
    }
    if rest.split_off(..DIGEST) != Some(identity) {
        return Err(Error::bad_file("the checkpoint is of another training")
            .remedy("give the model, the data and the options that it was made with"));
    }
    let course = course(measure, &mut rest).ok_or_else(damaged)?;
    Ok((course, rest))
}

/// Takes back the rest.
///
/// # Errors
/// It is not all of it, or more.
pub(super) fn restore(
    mut rest: &[u8],
    params: &mut Params,
    optimizer: &mut Optimizer,
    learned: &mut dyn Learn,
) -> Result<()> {
    let restored = params
        .restore(&mut rest)
        .and_then(|()| optimizer.restore(&mut rest))
        .and_then(|()| learned.restore(&mut rest));
    restored.filter(|()| rest.is_empty()).ok_or_else(damaged)
}

fn damaged() -> Error {
    Error::bad_file("the checkpoint is damaged").remedy("begin anew, without it")
}

fn course(measure: Measure, from: &mut &[u8]) -> Option<Course> {
    let mut number = || Some(u64::from_le_bytes(from.split_off(..8)?.try_into().ok()?));
    let [step, elapsed, best_step, length] = [number()?, number()?, number()?, number()?];
    let [scale, loss] = [number()?, number()?].map(f64::from_bits);
    let mut figure =
        || Some(Figure::of_numbers(measure, [number()?, number()?].map(f64::from_bits)));
    let [before, last, best] = [figure()?, figure()?, figure()?];
    let mut small = || Some(u32::from_le_bytes(from.split_off(..4)?.try_into().ok()?));
    let [valid, undone] = [small()?, small()?];
    let student = from.split_off(..usize::try_from(length).ok()?)?.to_vec();
    let elapsed = Duration::from_nanos(elapsed);
    Some(Course {
        step,
        elapsed,
        valid,
        scale,
        undone,
        loss,
        before,
        last,
        best,
        best_step,
        student,
    })
}
