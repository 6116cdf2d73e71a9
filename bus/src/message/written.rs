//! A value as its JSON text: written once, relayed unread, and read by whoever wants to know it.

use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A `T` as text; cheap to clone. It can be a field of what is read at once, and not of something that is taken apart
/// first to find its tag.
#[derive(Debug)]
pub struct Written<T>(Arc<RawValue>, PhantomData<fn() -> T>);

impl<T> Written<T> {
    /// How many bytes it has.
    pub fn size(&self) -> usize {
        self.text().len()
    }

    /// The JSON itself.
    pub fn text(&self) -> &str {
        self.0.get()
    }
}

impl<T: Serialize> Written<T> {
    /// Writes the value.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn new(value: &T) -> serde_json::Result<Self> {
        Ok(Self(serde_json::value::to_raw_value(value)?.into(), PhantomData))
    }
}

impl<T: DeserializeOwned> Written<T> {
    /// The value; `None` if this version cannot read it.
    pub fn read(&self) -> Option<T> {
        serde_json::from_str(self.text()).ok()
    }
}

impl<T> Clone for Written<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<T> PartialEq for Written<T> {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl<T> Serialize for Written<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de, T> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(Box::<RawValue>::deserialize(from)?.into(), PhantomData))
    }
}
