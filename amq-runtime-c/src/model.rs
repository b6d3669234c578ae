//! Models: loading, and what their inputs and outputs are.

use std::ffi::{CString, c_char, c_void};
use std::sync::Arc;

use amq_runtime::amq_format::Quoted;
use amq_runtime::{Model, Port};

use crate::handles::Handles;
use crate::status::{AMQ_ERROR_FORMAT, AMQ_ERROR_IO, Failure, amq_status, bad, guard};
use crate::tensor::{give, slice, text};

/// A model, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct amq_model {
    /// 0 is none.
    pub id: u64,
}

/// An input or output of a model. See `amq.h`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct amq_port {
    /// Its name.
    pub name: *const c_char,
    /// Type of its elements, one of `amq_type`.
    pub data_type: u32,
    /// Number of axes.
    pub rank: usize,
    /// Their sizes, outermost first; -1 where calls decide.
    pub sizes: *const i64,
    /// The shape as text, such as `[seq, batch, 2000]`: numbers, names, and expressions of names.
    pub shape: *const c_char,
    /// Of a state, the number of the output that gives the next value of this input, or of the input
    /// that takes this output; -1 for what is no state.
    pub state: i64,
}

/// A model with the texts that C reads.
pub(crate) struct Loaded {
    pub(crate) model: Arc<Model>,
    pub(crate) inputs: Vec<Described>,
    pub(crate) outputs: Vec<Described>,
}

/// A port, as C reads it.
pub(crate) struct Described {
    pub(crate) name: CString,
    data_type: u32,
    sizes: Vec<i64>,
    shape: CString,
    state: i64,
}

pub(crate) static MODELS: Handles<Loaded> = Handles::new("model");

impl Loaded {
    fn new(model: Model) -> Result<Loaded, Failure> {
        let states = model.states();
        let number = |found: Option<usize>| found.map_or(-1, |number| number as i64);
        let describe = |port: &Port, state: Option<usize>| Described::new(port, number(state));
        let inputs = model.inputs().iter().enumerate().map(|(i, port)| {
            describe(port, states.iter().find(|state| state.input == i).map(|state| state.output))
        });
        let inputs = inputs.collect::<Result<_, _>>()?;
        let outputs = model.outputs().iter().enumerate().map(|(i, port)| {
            describe(port, states.iter().find(|state| state.output == i).map(|state| state.input))
        });
        let outputs = outputs.collect::<Result<_, _>>()?;
        Ok(Loaded { inputs, outputs, model: Arc::new(model) })
    }
}

impl Described {
    fn new(port: &Port, state: i64) -> Result<Described, Failure> {
        let c = |text: &str| {
            CString::new(text).map_err(|_| {
                let text = Quoted(text);
                let what = format!("the name {text} has a zero byte, which C cannot write");
                Failure(AMQ_ERROR_FORMAT, what)
            })
        };
        let dims: Vec<String> = port.dims.iter().map(ToString::to_string).collect();
        Ok(Described {
            name: c(&port.name)?,
            data_type: port.data_type as u32,
            sizes: port.dims.iter().map(|dim| dim.as_size().unwrap_or(-1)).collect(),
            shape: c(&format!("[{}]", dims.join(", ")))?,
            state,
        })
    }

    /// Its addresses are good for as long as this lives.
    fn port(&self) -> amq_port {
        amq_port {
            name: self.name.as_ptr(),
            data_type: self.data_type,
            rank: self.sizes.len(),
            sizes: self.sizes.as_ptr(),
            shape: self.shape.as_ptr(),
            state: self.state,
        }
    }
}

fn load(bytes: &[u8]) -> Result<amq_model, Failure> {
    let loaded = Loaded::new(Model::load(bytes)?)?;
    Ok(amq_model { id: MODELS.insert(loaded) })
}

/// See `amq.h`.
///
/// # Safety
/// `bytes` is null, or `size` bytes lie there; `model` is null, or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn amq_model_load(
    bytes: *const c_void,
    size: usize,
    model: *mut amq_model,
) -> amq_status {
    guard(|| {
        // SAFETY: as the caller promises.
        unsafe { give(model, amq_model { id: 0 }, "the address of the model")? };
        // SAFETY: as the caller promises; the bytes are read in this call alone.
        let loaded = load(unsafe { slice(bytes.cast::<u8>(), size, "the address of the bytes")? })?;
        // SAFETY: as the caller promises.
        unsafe { give(model, loaded, "the address of the model") }
    })
}

/// See `amq.h`.
///
/// # Safety
/// `path` is null, or a text that ends with a zero byte; `model` is null, or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn amq_model_open(path: *const c_char, model: *mut amq_model) -> amq_status {
    guard(|| {
        // SAFETY: as the caller promises.
        unsafe { give(model, amq_model { id: 0 }, "the address of the model")? };
        // SAFETY: as the caller promises; the text is read in this call alone.
        let path = unsafe { text(path, "the path")? };
        // The web has no files, and no need of texts for all that can be wrong with them.
        if cfg!(all(target_family = "wasm", target_os = "unknown")) {
            return Err(Failure(AMQ_ERROR_IO, format!("{path}: there are no files here")));
        }
        let bytes = amq_runtime::read(path)
            .map_err(|error| Failure(AMQ_ERROR_IO, format!("{path}: {error}")))?;
        // SAFETY: as the caller promises.
        unsafe { give(model, load(&bytes)?, "the address of the model") }
    })
}

/// See `amq.h`.
#[unsafe(no_mangle)]
pub extern "C" fn amq_model_free(model: amq_model) -> amq_status {
    guard(|| MODELS.take(model.id).map(drop))
}

/// See `amq.h`.
///
/// # Safety
/// `inputs` and `outputs` are null, or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn amq_model_counts(
    model: amq_model,
    inputs: *mut usize,
    outputs: *mut usize,
) -> amq_status {
    guard(|| {
        let loaded = MODELS.get(model.id)?;
        // SAFETY: as the caller promises.
        unsafe {
            give(inputs, loaded.inputs.len(), "the address of the inputs' number")?;
            give(outputs, loaded.outputs.len(), "the address of the outputs' number")
        }
    })
}

/// See `amq.h`.
///
/// # Safety
/// `port` is null, or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn amq_model_input(
    model: amq_model,
    index: usize,
    port: *mut amq_port,
) -> amq_status {
    guard(|| {
        let loaded = MODELS.get(model.id)?;
        // SAFETY: as the caller promises.
        unsafe { give(port, port_of(&loaded.inputs, index, "input")?, "the address of the port") }
    })
}

/// See `amq.h`.
///
/// # Safety
/// `port` is null, or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn amq_model_output(
    model: amq_model,
    index: usize,
    port: *mut amq_port,
) -> amq_status {
    guard(|| {
        let loaded = MODELS.get(model.id)?;
        // SAFETY: as the caller promises.
        unsafe { give(port, port_of(&loaded.outputs, index, "output")?, "the address of the port") }
    })
}

fn port_of(ports: &[Described], index: usize, kind: &str) -> Result<amq_port, Failure> {
    let port = ports.get(index).map(Described::port);
    port.ok_or_else(|| bad(format!("there is no {kind} {index}: the model has {}", ports.len())))
}
