//! Sessions, for Python.

use std::sync::Arc;

use amq_runtime::View;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use crate::arrays::{Given, array};
use crate::failed;
use crate::model::Model;

/// One stream of calls. Python lends it to one call at a time.
#[pyclass(module = "amq")]
pub(crate) struct Session {
    model: Py<Model>,
    session: amq_runtime::Session,
    /// Of each output, its name, and whether it is a state's.
    outputs: Vec<(Py<PyString>, bool)>,
}

#[pymethods]
impl Session {
    #[new]
    #[pyo3(signature = (model, state = None))]
    fn new(py: Python<'_>, model: Py<Model>, state: Option<&[u8]>) -> PyResult<Session> {
        let loaded = Arc::clone(&model.get().model);
        let named = |(i, port): (usize, &amq_runtime::Port)| {
            let is_state = loaded.states().iter().any(|state| state.output == i);
            (PyString::new(py, &port.name).unbind(), is_state)
        };
        let outputs = loaded.outputs().iter().enumerate().map(named).collect();
        let mut session = amq_runtime::Session::new(Arc::clone(&loaded));
        if let Some(state) = state {
            session.restore(state).map_err(failed)?;
        }
        Ok(Session { model, session, outputs })
    }

    #[getter]
    fn model(&self, py: Python<'_>) -> Py<Model> {
        self.model.clone_ref(py)
    }

    fn run<'py>(
        &mut self,
        py: Python<'py>,
        inputs: Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyDict>> {
        self.call(py, &inputs, false)
    }

    fn step<'py>(
        &mut self,
        py: Python<'py>,
        inputs: Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyDict>> {
        self.call(py, &inputs, true)
    }

    fn states<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let states = PyDict::new(py);
        self.session
            .states()
            .try_for_each(|(name, view)| states.set_item(name, array(py, view)))?;
        Ok(states)
    }

    fn reset(&mut self) {
        self.session.reset();
    }

    fn save<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.session.save())
    }

    fn restore(&mut self, state: &[u8]) -> PyResult<()> {
        self.session.restore(state).map_err(failed)
    }

    fn __reduce__<'py>(
        &self,
        py: Python<'py>,
    ) -> (Bound<'py, PyAny>, (Py<Model>, Bound<'py, PyBytes>)) {
        (py.get_type::<Session>().into_any(), (self.model(py), self.save(py)))
    }
}

impl Session {
    fn call<'py>(
        &mut self,
        py: Python<'py>,
        inputs: &Bound<'py, PyDict>,
        stepping: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let given = Given::all(inputs)?;
        let views: Vec<(&str, View<'_>)> =
            given.iter().map(Given::view).collect::<PyResult<_>>()?;
        let session = &mut self.session;
        py.detach(|| match stepping {
            true => session.step(&views).map(drop),
            false => session.run(&views).map(drop),
        })
        .map_err(failed)?;
        let found = PyDict::new(py);
        for ((name, is_state), (_, view)) in
            self.outputs.iter().zip(session.outputs().iter().flat_map(|outputs| outputs.iter()))
        {
            if !(stepping && *is_state) {
                found.set_item(name, array(py, view))?;
            }
        }
        Ok(found)
    }
}
