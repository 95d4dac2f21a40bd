//! What can be in a store.

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Bytes.
    Bytes(Box<[u8]>),
    /// Text.
    Text(Box<str>),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// True or false.
    Bool(bool),
}

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole one.
    Int(i64),
    /// Another one.
    Float(f64),
}

impl Value {
    /// How many bytes it has beside the value itself.
    pub(super) fn extra(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Text(text) => text.len(),
            Self::Int(_) | Self::Float(_) | Self::Bool(_) => 0,
        }
    }

    pub(super) fn number(&self) -> Option<Number> {
        match self {
            Self::Int(number) => Some(Number::Int(*number)),
            Self::Float(number) => Some(Number::Float(*number)),
            Self::Bytes(_) | Self::Text(_) | Self::Bool(_) => None,
        }
    }
}

impl Number {
    /// The sum: whole if both are; none if it does not fit.
    pub(super) fn plus(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.checked_add(b).map(Self::Int),
            (a, b) => Some(Self::Float(a.as_float() + b.as_float())),
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "as Python adds an int to a float")]
    fn as_float(self) -> f64 {
        match self {
            Self::Int(number) => number as f64,
            Self::Float(number) => number,
        }
    }
}

impl From<Number> for Value {
    fn from(number: Number) -> Self {
        match number {
            Number::Int(number) => Self::Int(number),
            Number::Float(number) => Self::Float(number),
        }
    }
}
