//! A JSON merge patch (RFC 7396), taken into fields. What is absent stays as it is; a null, or a value of another kind than
//! the field, is the field's default. Fields that are not known are not kept, so nothing grows by what others say.

use serde_json::{Map, Value};

use crate::clean::Clean;

/// What a patch says of one object.
pub type Patch = Map<String, Value>;

pub fn text(field: &mut Clean, patch: &Patch, name: &str) {
    set(field, patch, name, Clean::read);
}

pub fn number(field: &mut u64, patch: &Patch, name: &str) {
    set(field, patch, name, |value| value.as_u64().unwrap_or_default());
}

pub fn perhaps(field: &mut Option<u64>, patch: &Patch, name: &str) {
    set(field, patch, name, Value::as_u64);
}

pub fn flag(field: &mut bool, patch: &Patch, name: &str) {
    set(field, patch, name, |value| value == true);
}

/// A list is replaced as a whole; of a long one the beginning is kept.
pub fn list<T>(field: &mut Vec<T>, patch: &Patch, name: &str, most: usize, read: impl Fn(&Value) -> T) {
    set(field, patch, name, |value| value.as_array().into_iter().flatten().take(most).map(read).collect());
}

/// An object is patched in its turn.
pub fn object<T: Default>(field: &mut T, patch: &Patch, name: &str, merge: impl FnOnce(&mut T, &Patch)) {
    match patch.get(name) {
        None => {}
        Some(Value::Object(inner)) => merge(field, inner),
        Some(_) => *field = T::default(),
    }
}

fn set<T>(field: &mut T, patch: &Patch, name: &str, read: impl FnOnce(&Value) -> T) {
    if let Some(value) = patch.get(name) {
        *field = read(value);
    }
}
