//! The clients' own task ids: each is one client's for as long as its answer lives.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use echo_bus::id::ClientName;

use super::error::ApiError;

/// The ids in use; cheap to clone.
#[derive(Clone, Default)]
pub struct Names(Arc<Mutex<HashSet<Owned>>>);

/// An id, and the client that uses it: none learns which ids another one has.
type Owned = (Option<ClientName>, String);

/// An id in use, until it is dropped.
pub struct Name {
    names: Names,
    name: Owned,
}

impl Names {
    /// Reserves an id.
    ///
    /// # Errors
    /// 409 while another task has it.
    pub fn reserve(&self, client: Option<&ClientName>, name: &str) -> Result<Name, ApiError> {
        let owned = (client.cloned(), name.to_owned());
        if !self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(owned.clone()) {
            return Err(ApiError::conflict(format!(
                "task_id {name:?} is in use; wait for its end or choose another"
            )));
        }
        Ok(Name { names: self.clone(), name: owned })
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        self.names.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}
