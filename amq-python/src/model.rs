//! Models, for Python.

use std::path::PathBuf;
use std::sync::Arc;

use amq_runtime::amq_format::graph::Dim;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::{arrays, failed, unread};

/// A model and the bytes of its file, by which it is pickled.
#[pyclass(frozen, module = "amq")]
pub(crate) struct Model {
    pub(crate) model: Arc<amq_runtime::Model>,
    data: Py<PyBytes>,
}

/// An input or output of a model.
#[pyclass(frozen, get_all, module = "amq")]
pub(crate) struct Port {
    name: String,
    dtype: &'static str,
    shape: Py<PyTuple>,
    state: Option<String>,
}

#[derive(FromPyObject)]
enum Source<'py> {
    Bytes(Bound<'py, PyBytes>),
    Path(PathBuf),
}

#[pymethods]
impl Model {
    #[new]
    fn new(py: Python<'_>, source: Source<'_>) -> PyResult<Model> {
        let data = match source {
            Source::Bytes(data) => data,
            Source::Path(path) => {
                let bytes = py.detach(|| amq_runtime::read(&path));
                PyBytes::new(py, &bytes.map_err(|error| unread(&path, &error))?)
            }
        };
        let bytes = data.as_bytes();
        let model = py.detach(|| amq_runtime::Model::load(bytes)).map_err(failed)?;
        Ok(Model { model: Arc::new(model), data: data.unbind() })
    }

    #[getter]
    fn inputs(&self, py: Python<'_>) -> PyResult<Vec<Port>> {
        let (inputs, outputs) = (self.model.inputs(), self.model.outputs());
        let port = |(i, port)| {
            let state = self.model.states().iter().find(|state| state.input == i);
            Port::new(py, port, state.map(|state| &outputs[state.output]))
        };
        inputs.iter().enumerate().map(port).collect()
    }

    #[getter]
    fn outputs(&self, py: Python<'_>) -> PyResult<Vec<Port>> {
        let (inputs, outputs) = (self.model.inputs(), self.model.outputs());
        let port = |(i, port)| {
            let state = self.model.states().iter().find(|state| state.output == i);
            Port::new(py, port, state.map(|state| &inputs[state.input]))
        };
        outputs.iter().enumerate().map(port).collect()
    }

    #[getter]
    fn data(&self, py: Python<'_>) -> Py<PyBytes> {
        self.data.clone_ref(py)
    }

    #[getter]
    fn isa(&self) -> &'static str {
        self.model.isa().name()
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> (Bound<'py, PyAny>, (Py<PyBytes>,)) {
        (py.get_type::<Model>().into_any(), (self.data.clone_ref(py),))
    }

    fn __repr__(&self) -> String {
        let names = |ports: &[amq_runtime::Port]| {
            let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
            names.join(", ")
        };
        format!("<amq.Model: {} -> {}>", names(self.model.inputs()), names(self.model.outputs()))
    }
}

impl Port {
    fn new(
        py: Python<'_>,
        port: &amq_runtime::Port,
        state: Option<&amq_runtime::Port>,
    ) -> PyResult<Port> {
        let size = |dim: &Dim| -> PyResult<Bound<'_, PyAny>> {
            Ok(match dim.as_size() {
                Some(size) => size.into_pyobject(py)?.into_any(),
                None => dim.to_string().into_pyobject(py)?.into_any(),
            })
        };
        let shape = port.dims.iter().map(size).collect::<PyResult<Vec<_>>>()?;
        Ok(Port {
            name: port.name.clone(),
            dtype: arrays::name(port.data_type),
            shape: PyTuple::new(py, shape)?.unbind(),
            state: state.map(|port| port.name.clone()),
        })
    }
}

#[pymethods]
impl Port {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let shape = self.shape.bind(py).repr()?;
        Ok(format!("<amq.Port {}: {} {shape}>", self.name, self.dtype))
    }
}
