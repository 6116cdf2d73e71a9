//! A nats-server with a configuration of the test's own: what somebody runs who has NATS already.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use echo_broker::server;
use echo_bus::key::{PublicKey, Seed};
use echo_testing::mesh::until;
use tempfile::TempDir;

/// The real server; killed on drop.
pub struct NatsServer {
    child: Child,
    binary: PathBuf,
    folder: TempDir,
    port: u16,
}

impl NatsServer {
    /// Starts it on a port that the kernel chooses; `config` says nothing of ports.
    pub async fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let given = std::env::var_os("ECHO_NATS_SERVER").map(PathBuf::from);
        let cache = std::env::var_os("ECHO_CACHE_DIR").map(PathBuf::from).or_else(server::default_cache);
        let binary = server::find(given, cache.expect("a cache folder")).await.expect("a nats-server");
        let child = launch(&binary, folder.path(), config, -1);
        let ports = folder.path().join(format!("nats-server_{}.ports", child.id()));
        let port = until("nats-server to say its port", || async {
            let text = std::fs::read(&ports).map_err(|error| error.to_string())?;
            let ports: serde_json::Value =
                serde_json::from_slice(&text).map_err(|error| error.to_string())?;
            let port = ports["nats"][0].as_str().and_then(|url| url.rsplit_once(':')?.1.parse().ok());
            port.ok_or_else(|| ports.to_string())
        })
        .await;
        Self { child, binary, folder, port }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Another configuration, from now on: SIGHUP.
    pub fn reload(&self, config: &str) {
        std::fs::write(
            self.folder.path().join("nats.conf"),
            whole(config, self.folder.path(), self.port.into()),
        )
        .expect("it can be written");
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().expect("kill").success());
    }

    /// What `nats-server -t` says of a configuration: nothing, if it is good.
    pub fn check(&self, config: &str) -> Result<(), String> {
        let file = self.folder.path().join("checked.conf");
        std::fs::write(&file, config).expect("it can be written");
        let said = Command::new(&self.binary).arg("-t").arg("-c").arg(&file).output().expect("it runs");
        if said.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said.stderr).into_owned()) }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn whole(config: &str, folder: &Path, port: i32) -> String {
    format!("host: 127.0.0.1\nport: {port}\nports_file_dir: {:?}\n{config}", folder.to_string_lossy())
}

fn launch(binary: &Path, folder: &Path, config: &str, port: i32) -> Child {
    let file = folder.join("nats.conf");
    std::fs::write(&file, whole(config, folder, port)).expect("it can be written");
    let log = std::fs::File::create(folder.join("log")).expect("a log");
    let mut command = Command::new(binary);
    command.arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().expect("nats-server starts")
}

/// A key that was made for the test, in a file as the parts want it.
pub struct KeyFile {
    pub path: PathBuf,
    pub public: PublicKey,
}

impl KeyFile {
    pub fn new(folder: &Path, name: &str) -> Self {
        let path = folder.join(format!("{name}.nk"));
        let public = Seed::read_or_create(&path).expect("a key").public().clone();
        Self { path, public }
    }

    /// The private half, as async-nats wants it.
    pub fn seed(&self) -> String {
        std::fs::read_to_string(&self.path).expect("it was written").trim().to_owned()
    }
}
