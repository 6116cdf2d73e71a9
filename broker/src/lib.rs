//! The bus of the mesh: what can be said (ids, subjects, messages), the typed client that says it,
//! and the nats-server underneath, found or fetched and supervised.

pub mod bus;
pub mod discover;
pub mod id;
pub mod message;
pub mod process;
pub mod secret;
pub mod server;
pub mod subject;

pub use bus::Bus;
