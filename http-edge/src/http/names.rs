//! The clients' own task ids: each is one client's for as long as its answer lives.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::ApiError;

/// The ids in use; cheap to clone.
#[derive(Clone, Default)]
pub struct Names(Arc<Mutex<HashSet<String>>>);

/// An id in use, until it is dropped.
pub struct Name {
    names: Names,
    name: String,
}

impl Names {
    /// Reserves an id.
    ///
    /// # Errors
    /// 409 while another task has it.
    pub fn reserve(&self, name: &str) -> Result<Name, ApiError> {
        if !self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned()) {
            return Err(ApiError::conflict(format!(
                "task_id {name:?} is in use; wait for its end or choose another"
            )));
        }
        Ok(Name { names: self.clone(), name: name.to_owned() })
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        self.names.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}
