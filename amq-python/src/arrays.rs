//! NumPy's arrays as tensors, and back.

use amq_runtime::amq_format::graph::DataType;
use amq_runtime::{Data, View};
use numpy::npyffi::flags::NPY_ARRAY_ALIGNED;
use numpy::{
    Element, PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

/// What NumPy calls a type.
pub(crate) fn name(data_type: DataType) -> &'static str {
    match data_type {
        DataType::F32 => "float32",
        DataType::I64 => "int64",
        DataType::I32 => "int32",
        DataType::U8 => "uint8",
        DataType::I8 => "int8",
        DataType::Bool => "bool",
        DataType::I16 => "int16",
        DataType::U16 => "uint16",
        DataType::U32 => "uint32",
        DataType::U64 => "uint64",
    }
}

/// An input of a call: an array that is contiguous and aligned, and kept for as long as it is read.
pub(crate) struct Given<'py> {
    name: Bound<'py, PyString>,
    array: Bound<'py, PyUntypedArray>,
    data_type: DataType,
}

impl<'py> Given<'py> {
    /// Those of a dictionary.
    pub(crate) fn all(inputs: &Bound<'py, PyDict>) -> PyResult<Vec<Given<'py>>> {
        inputs.iter().map(|(name, value)| Given::new(name, value)).collect()
    }

    fn new(name: Bound<'py, PyAny>, value: Bound<'py, PyAny>) -> PyResult<Given<'py>> {
        let name = name
            .cast_into::<PyString>()
            .map_err(|error| PyTypeError::new_err(format!("names of inputs are text: {error}")))?;
        let mut array = value.cast_into::<PyUntypedArray>().map_err(|error| {
            let value = error.into_inner();
            let kind = value.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string());
            PyTypeError::new_err(format!("input {name} is {kind}, it must be a NumPy array"))
        })?;
        let descr = array.dtype();
        let native = descr.is_native_byteorder() != Some(false);
        let data_type = match (descr.kind(), descr.itemsize()) {
            (b'f', 4) => DataType::F32,
            (b'i', 8) => DataType::I64,
            (b'i', 4) => DataType::I32,
            (b'i', 2) => DataType::I16,
            (b'i', 1) => DataType::I8,
            (b'u', 8) => DataType::U64,
            (b'u', 4) => DataType::U32,
            (b'u', 2) => DataType::U16,
            (b'u', 1) => DataType::U8,
            (b'b', 1) => DataType::Bool,
            _ => return Err(unknown(&name, &descr)),
        };
        if !native {
            return Err(unknown(&name, &descr));
        }
        // SAFETY: a NumPy array, whose object lives as long as `array`.
        let flags = unsafe { (*array.as_array_ptr()).fields.flags };
        if !array.is_c_contiguous() || flags & NPY_ARRAY_ALIGNED == 0 {
            array = array.call_method0("copy")?.cast_into::<PyUntypedArray>()?;
        }
        Ok(Given { name, array, data_type })
    }

    /// Its name and elements. They are read without the GIL: that no other thread writes to them
    /// meanwhile is asked of callers, as NumPy's own functions ask it.
    pub(crate) fn view(&self) -> PyResult<(&str, View<'_>)> {
        let len = self.array.len();
        // SAFETY: the object lives as long as `self`.
        let at = unsafe { (*self.array.as_array_ptr()).fields.data };
        macro_rules! elements {
            ($($kind:ident $element:ty),*) => {
                match self.data_type {
                    $(DataType::$kind => Data::$kind(match len {
                        0 => &[],
                        // SAFETY: `new` made sure of an array of `len` elements of this type, contiguous and
                        // aligned, and `self` keeps it; any bits are valid numbers, and a bool is read as a byte.
                        _ => unsafe { std::slice::from_raw_parts(at.cast::<$element>(), len) },
                    }),)*
                }
            };
        }
        let data = elements!(
            F32 f32, I64 i64, I32 i32, U8 u8, I8 i8, Bool u8, I16 i16, U16 u16, U32 u32, U64 u64
        );
        Ok((self.name.to_str()?, View { dims: self.array.shape(), data }))
    }
}

fn unknown(name: &Bound<'_, PyString>, descr: &Bound<'_, numpy::PyArrayDescr>) -> PyErr {
    PyTypeError::new_err(format!("input {name} is of the type {descr}, which no model takes"))
}

/// A new array with what a view shows.
pub(crate) fn array<'py>(py: Python<'py>, view: View<'_>) -> Bound<'py, PyAny> {
    match view.data {
        Data::F32(x) => new(py, view.dims, x),
        Data::I64(x) => new(py, view.dims, x),
        Data::I32(x) => new(py, view.dims, x),
        Data::U8(x) => new(py, view.dims, x),
        Data::I8(x) => new(py, view.dims, x),
        Data::I16(x) => new(py, view.dims, x),
        Data::U16(x) => new(py, view.dims, x),
        Data::U32(x) => new(py, view.dims, x),
        Data::U64(x) => new(py, view.dims, x),
        Data::Bool(x) => {
            let x: Vec<bool> = x.iter().map(|&byte| byte != 0).collect();
            new(py, view.dims, &x)
        }
    }
}

fn new<'py, T: Element + Copy>(
    py: Python<'py>,
    dims: &[usize],
    elements: &[T],
) -> Bound<'py, PyAny> {
    // SAFETY: it is filled before anyone sees it.
    let array = unsafe { PyArrayDyn::<T>::new(py, dims, false) };
    assert_eq!(array.len(), elements.len());
    // SAFETY: as many elements as there is room for, in new memory, which overlaps nothing.
    unsafe { std::ptr::copy_nonoverlapping(elements.as_ptr(), array.data(), elements.len()) };
    array.into_any()
}
