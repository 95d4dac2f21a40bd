//! The vectors of `tests/conformance`, which the Python tests read too.

use serde_json::Value;

/// The list `list` of the file `name`.
pub(crate) fn load(name: &str, list: &str) -> Vec<Value> {
    let path = format!("{}/../../tests/conformance/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    file[list].as_array().unwrap().clone()
}

/// The bytes of a vector: its `bytes` in hex, or its `text`.
pub(crate) fn bytes(vector: &Value) -> Vec<u8> {
    let Some(hex) = vector["bytes"].as_str() else { return text(vector, "text").into() };
    hex.as_bytes()
        .chunks(2)
        .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
        .collect()
}

/// A field that is text.
pub(crate) fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field].as_str().unwrap_or_else(|| panic!("{field} of {vector}"))
}
