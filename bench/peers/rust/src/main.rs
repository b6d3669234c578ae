//! The least time of a step of an ONNX model in a Rust runtime, in microseconds.
//!
//!     rust-peers RUNTIME THREADS MODEL.onnx NAME=TYPE:SIZES..
//!
//! RUNTIME is tract (one thread alone) or rten. Each input is named with its type, f32 or i64, and its
//! sizes, such as `x=f32:1x64x32x32`.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How long a turn is, and a slice of it, of which the fastest counts.
const TURN: Duration = Duration::from_millis(400);
const SLICE: f64 = 1e-3;

struct Input {
    name: String,
    floats: bool,
    sizes: Vec<usize>,
}

impl Input {
    fn parse(argument: &str) -> Result<Input> {
        let (name, what) = argument.split_once('=').ok_or("an input is NAME=TYPE:SIZES")?;
        let (kind, sizes) = what.split_once(':').ok_or("an input is NAME=TYPE:SIZES")?;
        let sizes = sizes.split('x').map(str::parse).collect::<std::result::Result<_, _>>()?;
        Ok(Input { name: name.into(), floats: kind == "f32", sizes })
    }

    fn len(&self) -> usize {
        self.sizes.iter().product()
    }

    fn floats(&self) -> Vec<f32> {
        (0..self.len()).map(|i| (i * 29 % 97) as f32 / 48.0 - 1.0).collect()
    }

    fn integers<T: TryFrom<usize>>(&self) -> Result<Vec<T>> {
        let number = |i: usize| T::try_from(i * 29 % 1000).map_err(|_| "a number too large".into());
        (0..self.len()).map(number).collect()
    }
}

fn least(mut step: impl FnMut() -> Result<()>) -> Result<f64> {
    step()?;
    let (mut least, mut count) = (f64::INFINITY, 1);
    let end = Instant::now() + TURN;
    while Instant::now() < end {
        let begin = Instant::now();
        for _ in 0..count {
            step()?;
        }
        let taken = begin.elapsed().as_secs_f64() / f64::from(count);
        least = least.min(taken);
        count = ((SLICE / taken.max(1e-7)).round() as u32).max(1);
    }
    Ok(1e6 * least)
}

fn tract(path: &str, inputs: &[Input]) -> Result<f64> {
    use tract_onnx::prelude::*;

    let mut model = tract_onnx::onnx().model_for_path(path)?;
    let mut values = TVec::new();
    for (i, outlet) in model.input_outlets()?.to_vec().into_iter().enumerate() {
        let name = &model.node(outlet.node).name;
        let input = inputs.iter().find(|input| input.name == *name).ok_or("an input is missing")?;
        let (kind, tensor) = match input.floats {
            true => (f32::datum_type(), Tensor::from_shape(&input.sizes, &input.floats())?),
            false => (i64::datum_type(), Tensor::from_shape(&input.sizes, &input.integers::<i64>()?)?),
        };
        model.set_input_fact(i, InferenceFact::dt_shape(kind, &input.sizes))?;
        values.push(tensor.into_tvalue());
    }
    let model = model.into_optimized()?.into_runnable()?;
    least(|| {
        black_box(model.run(values.clone())?);
        Ok(())
    })
}

fn rten(path: &str, threads: usize, inputs: &[Input]) -> Result<f64> {
    use rten::{Model, RunOptions, ThreadPool, Value, ValueOrView};
    use rten_tensor::Tensor;

    let model = Model::load_file(path)?;
    let mut values: Vec<(_, Value)> = Vec::new();
    for input in inputs {
        let value = match input.floats {
            true => Tensor::from_data(&input.sizes, input.floats()).into(),
            false => Tensor::from_data(&input.sizes, input.integers::<i32>()?).into(),
        };
        values.push((model.node_id(&input.name)?, value));
    }
    let pool = std::sync::Arc::new(ThreadPool::with_num_threads(threads));
    let options = RunOptions::default().with_thread_pool(Some(pool));
    least(|| {
        let inputs = values.iter().map(|(id, value)| (*id, ValueOrView::from(value))).collect();
        black_box(model.run(inputs, model.output_ids(), Some(options.clone()))?);
        Ok(())
    })
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [runtime, threads, path, inputs @ ..] = arguments.as_slice() else {
        return Err("usage: rust-peers RUNTIME THREADS MODEL.onnx NAME=TYPE:SIZES..".into());
    };
    let inputs = inputs.iter().map(|input| Input::parse(input)).collect::<Result<Vec<_>>>()?;
    let least = match runtime.as_str() {
        "tract" => tract(path, &inputs),
        "rten" => rten(path, threads.parse()?, &inputs),
        other => return Err(format!("no runtime {other}").into()),
    };
    println!("{}", least?);
    Ok(())
}
