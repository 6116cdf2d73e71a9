//! The client of the load generator: a connection, the body that comes by it, and the answer in it.

pub mod answer;
pub mod body;
pub mod connection;
pub mod request;

pub use answer::Dialect;
pub use connection::Connection;
