//! `SharedDict`: a store of the process as Python sees it, with keys and values of plain types.

use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::{PyKeyError, PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyIterator, PyList, PyString};

use qanat_core::clock;
use qanat_core::store::{Key, MIN_SIZE, Mode, Number, OwnKey, Store, StoreError, Value};

/// A dictionary that all handlers share.
#[pyclass(frozen, mapping, module = "qanat._native")]
pub(crate) struct SharedDict {
    name: String,
    store: Arc<Store>,
}

/// A key as Python passes it, without a copy.
#[derive(FromPyObject)]
enum AnyKey {
    Text(PyBackedStr),
    Bytes(PyBackedBytes),
}

impl AnyKey {
    fn get(&self) -> Key<'_> {
        match self {
            Self::Text(text) => Key::Text(text),
            Self::Bytes(bytes) => Key::Bytes(bytes),
        }
    }

    fn missing(&self, py: Python<'_>) -> PyErr {
        match self {
            Self::Text(text) => PyKeyError::new_err(text.to_string()),
            Self::Bytes(bytes) => PyKeyError::new_err(PyBytes::new(py, bytes).unbind()),
        }
    }
}

/// A value of one of the types that are kept.
struct AnyValue(Value);

impl<'py> FromPyObject<'_, 'py> for AnyValue {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let value = if let Ok(bytes) = object.cast::<PyBytes>() {
            Value::Bytes(bytes.as_bytes().into())
        } else if let Ok(text) = object.cast::<PyString>() {
            Value::Text(text.to_str()?.into())
        } else if let Ok(truth) = object.cast::<PyBool>() {
            Value::Bool(truth.is_true())
        } else {
            return AnyNumber::extract(object).map(|number| Self(number.0.into()));
        };
        Ok(Self(value))
    }
}

/// A number; `bool` is none here.
struct AnyNumber(Number);

impl<'py> FromPyObject<'_, 'py> for AnyNumber {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if object.is_instance_of::<PyInt>() && !object.is_instance_of::<PyBool>() {
            return Ok(Self(Number::Int(object.extract()?)));
        }
        if object.is_instance_of::<PyFloat>() {
            return Ok(Self(Number::Float(object.extract()?)));
        }
        let kind = object.get_type().name()?;
        Err(PyTypeError::new_err(format!("a value is bytes, str, int, float or bool, not {kind}")))
    }
}

fn value_of<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
        Value::Text(text) => PyString::new(py, text).into_any(),
        Value::Int(number) => number.into_pyobject(py)?.into_any(),
        Value::Float(number) => PyFloat::new(py, *number).into_any(),
        Value::Bool(truth) => PyBool::new(py, *truth).to_owned().into_any(),
    })
}

fn key_of<'py>(py: Python<'py>, key: &OwnKey) -> Bound<'py, PyAny> {
    match std::str::from_utf8(&key.bytes) {
        Ok(text) if key.is_text => PyString::new(py, text).into_any(),
        _ => PyBytes::new(py, &key.bytes).into_any(),
    }
}

/// Seconds, which are positive if there are any.
fn time_to_live(ttl: Option<f64>) -> PyResult<Option<Duration>> {
    let Some(seconds) = ttl else { return Ok(None) };
    match Duration::try_from_secs_f64(seconds) {
        Ok(ttl) if !ttl.is_zero() => Ok(Some(ttl)),
        _ => Err(PyValueError::new_err(format!("a ttl is a positive number of seconds, not {seconds}"))),
    }
}

/// Bytes, or text such as `64m`.
#[derive(FromPyObject)]
enum Size {
    Bytes(i64),
    Text(String),
}

impl Size {
    fn bytes(self) -> PyResult<usize> {
        let (shown, parsed) = match self {
            Self::Bytes(bytes) => (bytes.to_string(), usize::try_from(bytes).ok()),
            Self::Text(text) => {
                let (digits, unit) = match text.as_bytes().last().map(u8::to_ascii_lowercase) {
                    Some(b'k') => (&text[..text.len() - 1], 1 << 10),
                    Some(b'm') => (&text[..text.len() - 1], 1 << 20),
                    Some(b'g') => (&text[..text.len() - 1], 1 << 30),
                    _ => (&*text, 1),
                };
                let bytes = digits.parse().ok().and_then(|count: usize| count.checked_mul(unit));
                (text.clone(), bytes)
            }
        };
        parsed.filter(|bytes| *bytes >= MIN_SIZE).ok_or_else(|| {
            let text =
                format!("a size is a number of bytes, at least {MIN_SIZE}, or as \"64m\", not {shown:?}");
            PyValueError::new_err(text)
        })
    }
}

impl SharedDict {
    fn put(&self, key: &AnyKey, value: AnyValue, ttl: Option<f64>, mode: Mode) -> PyResult<bool> {
        let ttl = time_to_live(ttl)?;
        self.store.put(key.get(), value.0, ttl, mode, clock::now()).map_err(|error| self.refuse(&error))
    }

    fn refuse(&self, error: &StoreError) -> PyErr {
        let text = error.to_string();
        match error {
            StoreError::TooLarge { .. } => {
                PyValueError::new_err(format!("{text} of SharedDict '{}'", self.name))
            }
            StoreError::Overflow => PyOverflowError::new_err(text),
            StoreError::NotANumber => PyTypeError::new_err(text),
            StoreError::Key(_) | StoreError::NotFound => PyValueError::new_err(text),
        }
    }

    fn all_keys<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Bound<'py, PyList>> {
        let keys = self.store.keys(most, clock::now());
        PyList::new(py, keys.iter().map(|key| key_of(py, key)))
    }
}

#[pymethods]
#[allow(clippy::needless_pass_by_value, reason = "what Python passes is owned")]
impl SharedDict {
    #[new]
    #[pyo3(signature = (name, size=None))]
    fn new(name: String, size: Option<Size>) -> PyResult<Self> {
        let store = Store::open(&name, size.map(Size::bytes).transpose()?);
        Ok(Self { name, store })
    }

    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    #[getter]
    fn capacity(&self) -> usize {
        self.store.capacity()
    }

    #[getter]
    fn used(&self) -> usize {
        self.store.used()
    }

    #[getter]
    fn evictions(&self) -> u64 {
        self.store.evictions()
    }

    /// Return a value, or `default`.
    #[pyo3(signature = (key, default=None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        key: AnyKey,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let found = self.store.read(key.get(), clock::now(), |value, _| value_of(py, value));
        found.transpose().map(|found| found.or(default))
    }

    /// Return a value and its version, or nothing.
    fn get_with_version<'py>(
        &self,
        py: Python<'py>,
        key: AnyKey,
    ) -> PyResult<Option<(Bound<'py, PyAny>, u64)>> {
        let read = |value: &Value, version| value_of(py, value).map(|value| (value, version));
        self.store.read(key.get(), clock::now(), read).transpose()
    }

    /// Put a value.
    #[pyo3(signature = (key, value, ttl=None))]
    fn set(&self, key: AnyKey, value: AnyValue, ttl: Option<f64>) -> PyResult<()> {
        self.put(&key, value, ttl, Mode::Set).map(drop)
    }

    /// Put a value if nothing is there.
    #[pyo3(signature = (key, value, ttl=None))]
    fn add(&self, key: AnyKey, value: AnyValue, ttl: Option<f64>) -> PyResult<bool> {
        self.put(&key, value, ttl, Mode::Add)
    }

    /// Put a value if something is there.
    #[pyo3(signature = (key, value, ttl=None))]
    fn replace(&self, key: AnyKey, value: AnyValue, ttl: Option<f64>) -> PyResult<bool> {
        self.put(&key, value, ttl, Mode::Replace)
    }

    /// Put a value if the one that is there has this version.
    #[pyo3(signature = (key, version, value, ttl=None))]
    fn compare_and_set(
        &self,
        py: Python<'_>,
        key: AnyKey,
        version: u64,
        value: AnyValue,
        ttl: Option<f64>,
    ) -> PyResult<bool> {
        let ttl = time_to_live(ttl)?;
        let mode = Mode::Version(version);
        self.store.put(key.get(), value.0, ttl, mode, clock::now()).map_err(|error| match error {
            StoreError::NotFound => key.missing(py),
            other => self.refuse(&other),
        })
    }

    /// Add to a number.
    #[pyo3(signature = (key, by=AnyNumber(Number::Int(1)), initial=None, ttl=None))]
    fn incr<'py>(
        &self,
        py: Python<'py>,
        key: AnyKey,
        by: AnyNumber,
        initial: Option<AnyNumber>,
        ttl: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let ttl = time_to_live(ttl)?;
        let initial = initial.map(|initial| (initial.0, ttl));
        let sum = self.store.incr(key.get(), by.0, initial, clock::now()).map_err(|error| match error {
            StoreError::NotFound => key.missing(py),
            other => self.refuse(&other),
        })?;
        value_of(py, &sum.into())
    }

    /// Remove a value.
    fn delete(&self, key: AnyKey) -> bool {
        self.store.take(key.get(), clock::now()).is_some()
    }

    /// Remove and return a value.
    #[pyo3(signature = (key, *default))]
    fn pop<'py>(
        &self,
        py: Python<'py>,
        key: AnyKey,
        default: Vec<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if default.len() > 1 {
            return Err(PyTypeError::new_err("pop() takes one default at most"));
        }
        match self.store.take(key.get(), clock::now()) {
            Some(value) => value_of(py, &value),
            None => default.into_iter().next().ok_or_else(|| key.missing(py)),
        }
    }

    /// Give a value another time to live.
    #[pyo3(signature = (key, ttl))]
    fn expire(&self, key: AnyKey, ttl: Option<f64>) -> PyResult<bool> {
        Ok(self.store.expire(key.get(), time_to_live(ttl)?, clock::now()))
    }

    /// Return how long a value lasts.
    fn ttl(&self, py: Python<'_>, key: AnyKey) -> PyResult<Option<f64>> {
        let left = self.store.ttl(key.get(), clock::now()).ok_or_else(|| key.missing(py))?;
        Ok(left.map(|left| left.as_secs_f64()))
    }

    /// List keys.
    #[pyo3(signature = (limit=Some(1024)))]
    fn keys<'py>(&self, py: Python<'py>, limit: Option<usize>) -> PyResult<Bound<'py, PyList>> {
        self.all_keys(py, limit.unwrap_or(usize::MAX))
    }

    /// Remove everything.
    fn clear(&self, py: Python<'_>) {
        py.detach(|| self.store.clear());
    }

    /// Remove values whose time is over.
    #[pyo3(signature = (limit=None))]
    fn flush_expired(&self, py: Python<'_>, limit: Option<usize>) -> usize {
        py.detach(|| self.store.flush_expired(limit.unwrap_or(usize::MAX), clock::now()))
    }

    fn __len__(&self) -> usize {
        self.store.len(clock::now())
    }

    fn __contains__(&self, key: AnyKey) -> bool {
        self.store.contains(key.get(), clock::now())
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.all_keys(py, usize::MAX)?.as_any().try_iter()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, key: AnyKey) -> PyResult<Bound<'py, PyAny>> {
        let found = self.store.read(key.get(), clock::now(), |value, _| value_of(py, value));
        found.transpose()?.ok_or_else(|| key.missing(py))
    }

    fn __setitem__(&self, key: AnyKey, value: AnyValue) -> PyResult<()> {
        self.put(&key, value, None, Mode::Set).map(drop)
    }

    fn __delitem__(&self, py: Python<'_>, key: AnyKey) -> PyResult<()> {
        self.store.take(key.get(), clock::now()).map(drop).ok_or_else(|| key.missing(py))
    }

    fn __repr__(&self) -> String {
        format!("SharedDict('{}', size={})", self.name, self.store.capacity())
    }
}
