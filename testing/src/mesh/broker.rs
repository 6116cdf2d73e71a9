//! The broker: nats-server under the real `echo-mesh broker`, always on the port of its first start; or a nats-server by
//! itself, with a configuration that a person has written.

use std::ops::Deref;
use std::path::Path;

use echo_broker::trust::Trust;
use echo_bus::subject::Duty;

use super::{Program, binaries};

pub struct Broker {
    program: Program,
    /// Whose keys get in, where not everybody does.
    keys: Option<Keys>,
}

/// Keys of a mesh's parts, made and let in by name before they start.
#[derive(Clone)]
pub struct Keys(Trust);

impl Keys {
    /// A new list in this folder.
    ///
    /// # Panics
    /// When it cannot be written there.
    pub fn new(folder: &Path) -> Self {
        Self(Trust::open(folder).expect("a folder for keys"))
    }

    /// The same, and these parts are in before the broker starts, so that it need not be told.
    ///
    /// # Panics
    /// When one cannot be let in.
    pub fn of(folder: &Path, parts: impl IntoIterator<Item = (impl AsRef<str>, Duty)>) -> Self {
        let keys = Self::new(folder);
        parts.into_iter().for_each(|(name, duty)| drop(keys.args(name.as_ref(), duty)));
        keys
    }

    /// What a part is told to get in: a key of its own, and whom to believe that he is the broker.
    ///
    /// # Panics
    /// When the key cannot be let in.
    pub fn args(&self, name: &str, duty: Duty) -> [String; 4] {
        let node = (duty == Duty::Agent).then(|| name.parse().expect("a node's id"));
        let key = self.0.own_key(name, duty, node.as_ref()).expect("a key that is let in");
        let (key, authority) = (key.to_string_lossy().into_owned(), self.0.authority());
        ["--nkey".to_owned(), key, "--tls-ca".to_owned(), authority.to_string_lossy().into_owned()]
    }
}

impl Broker {
    /// Starts it with the project's own nats.conf on ports that the kernel chooses.
    pub async fn start() -> Self {
        Self::with(None).await
    }

    /// The same, and only these keys get in.
    pub async fn with(keys: Option<Keys>) -> Self {
        let broker = Self::new(keys);
        broker.begin().await;
        broker
    }

    /// Not started yet.
    pub fn new(keys: Option<Keys>) -> Self {
        let config = binaries::root().join("nats.conf");
        let args =
            ["--nats-conf", &config.to_string_lossy(), "--listen", "127.0.0.1:0", "--monitor", "127.0.0.1:0"];
        let mut args = args.map(str::to_owned).to_vec();
        if let Some(Keys(trust)) = &keys {
            let folder = trust.authority().with_file_name("");
            args.extend(["--trust".to_owned(), folder.to_string_lossy().into_owned()]);
        }
        Self { program: Program::new("broker", "broker", args), keys }
    }

    /// See [`Program::as_users_run_it`].
    #[must_use]
    pub fn as_users_run_it(self) -> Self {
        Self { program: self.program.as_users_run_it(), ..self }
    }

    /// A server of a cluster; not started.
    pub fn configured(number: usize, file: &Path) -> Self {
        let args = vec!["-c".to_owned(), file.to_string_lossy().into_owned()];
        let program = Program::new(server_name(number), "nats-server", args);
        Self { program, keys: None }
    }

    /// Starts it.
    pub async fn begin(&self) {
        self.program.start().await;
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// What a part is told beside that address; nothing where everybody gets in.
    pub fn login(&self, name: &str, duty: Duty) -> Vec<String> {
        self.keys.as_ref().map_or_else(Vec::new, |keys| keys.args(name, duty).to_vec())
    }
}

/// Its life is a program's.
impl Deref for Broker {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

/// The program alone, without the keys.
impl From<Broker> for Program {
    fn from(broker: Broker) -> Self {
        broker.program
    }
}

/// What a server of a cluster is called.
pub(super) fn server_name(number: usize) -> String {
    format!("echo-{}", char::from(b'a' + u8::try_from(number).expect("few servers")))
}
