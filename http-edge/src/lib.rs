//! The HTTP edge: owns every task that a client is waiting for, and speaks HTTP to the clients.

pub mod config;
pub mod desk;
pub mod driver;
mod events;
pub mod http;
pub mod life;
pub mod measure;
pub mod owner;
mod pumps;
pub mod run;
mod serve;
mod suspects;

pub use config::Config;
pub use run::run;
