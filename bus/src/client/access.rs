//! By what a process gets onto the bus: who it says that it is, and whom it believes.

use std::path::PathBuf;

use crate::id::ProcessId;
use crate::key::{self, Credentials, PublicKey, Seed};

use super::authority::{self, Authority};

/// By what a process gets onto the bus.
#[derive(Debug, Clone, Default)]
pub struct Access {
    pub login: Login,
    /// Who must have signed the broker's certificate; absent: with TLS, those whom this machine believes.
    pub authority: Option<Authority>,
}

/// Who a process says that it is.
#[derive(Debug, Clone, Default)]
pub enum Login {
    /// The user `mesh` without a password: a broker of one machine lets it in.
    #[default]
    Open,
    /// A key that the broker knows.
    Key(Seed),
    /// Credentials that somebody else's NATS has given.
    Credentials(Credentials),
}

/// Why a process has nothing to get in by. Each is for a person to put right.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error(transparent)]
    Key(#[from] key::Error),
    #[error(transparent)]
    Authority(#[from] authority::Error),
}

/// The flags about the way in.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct AccessArgs {
    /// This part's own key (an nkey seed), which the broker knows
    #[arg(long, env = "ECHO_NKEY", value_name = "FILE")]
    pub nkey: Option<PathBuf>,

    /// Credentials for a NATS of your own, as nsc writes them
    #[arg(long, env = "ECHO_CREDS", value_name = "FILE", conflicts_with = "nkey")]
    pub creds: Option<PathBuf>,

    /// Who must have signed the broker's certificate (PEM); the connection is then always encrypted
    #[arg(long, env = "ECHO_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
}

impl AccessArgs {
    /// What the files hold.
    ///
    /// # Errors
    /// One cannot be read, is open to others, or holds something else.
    pub fn read(&self) -> Result<Access, AccessError> {
        let login = match (&self.nkey, &self.creds) {
            (Some(file), _) => Login::Key(Seed::read(file)?),
            (None, Some(file)) => Login::Credentials(Credentials::read(file)?),
            (None, None) => Login::Open,
        };
        let authority = self.tls_ca.as_deref().map(Authority::read).transpose()?;
        Ok(Access { login, authority })
    }
}

impl Access {
    /// The key by which the broker knows this process, if there is one.
    pub fn key(&self) -> Option<&PublicKey> {
        match &self.login {
            Login::Key(seed) => Some(seed.public()),
            Login::Credentials(credentials) => Some(credentials.public()),
            Login::Open => None,
        }
    }

    /// Who this process is: by its key, or by chance.
    pub fn process(&self) -> ProcessId {
        self.key().map_or_else(ProcessId::random, PublicKey::process)
    }
}
