//! The broker: nats-server under the real `echo-mesh broker`, always on the port of its first start; or a nats-server by
//! itself, with a configuration that a person has written.

use std::{ops::Deref, path::Path};

use super::{Program, binaries, cluster};

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

    /// A server of a cluster; not started. What `echo-mesh broker` fills in, it is told in its environment.
    pub fn configured(number: usize, file: &Path) -> Self {
        let args = vec!["-c".to_owned(), file.to_string_lossy().into_owned()];
        let program = Program::new(cluster::name(number), "nats-server", args);
        program.env("ECHO_SECRET", "\"\"");
        program.env("ECHO_ANYONE", "watch");
        Self(program)
    }

    /// Starts it.
    pub async fn begin(&self) {
        self.0.start().await;
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
