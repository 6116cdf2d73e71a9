//! The broker: nats-server under the real `echo-mesh broker`, always on the port of its first start.

use std::ops::Deref;

use super::{Program, binaries};

pub struct Broker(Program);

impl Broker {
    /// Starts it with the project's own nats.conf on ports that the kernel chooses.
    pub async fn start() -> Self {
        let config = binaries::root().join("nats.conf");
        let args =
            ["--nats-conf", &config.to_string_lossy(), "--listen", "127.0.0.1:0", "--monitor", "127.0.0.1:0"];
        let broker = Self(Program::new("broker", "broker", args.map(str::to_owned).to_vec()));
        broker.0.start().await;
        broker
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }
}

/// Its life is a program's.
impl Deref for Broker {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.0
    }
}
