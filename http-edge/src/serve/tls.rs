//! TLS for clients, by a certificate from two files. They are read again when they have changed, so that whatever renews
//! them needs to tell nobody.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use echo_bus::private_file::{self, Trouble};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;
use tracing::{error, info, trace};

use super::version::Version;

#[cfg(test)]
mod tests;

/// The files are looked at no more often.
const LOOK: Duration = Duration::from_secs(1);
/// A chain of certificates has some thousand bytes.
const LONGEST: usize = 1 << 20;
/// How every record of a handshake begins. No method of HTTP has this byte.
const HANDSHAKE: u8 = 0x16;
/// What a client over HTTP/2 and one over HTTP/1.1 agree on with us, the better first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// How long a client that has come without TLS may take to hear so.
const GOODBYE: Duration = Duration::from_secs(1);
/// So much of its request is read and dropped: a connection that is closed over unread bytes loses its answer.
const DROPPED: u64 = 256 << 10;
const NO_TLS: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n\
    {\"success\":false,\"error\":\"this port speaks HTTPS: ask again with https:// in place of http://\",\
    \"code\":\"bad_request\"}\n";

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the certificate {0}")]
    Certificate(PathBuf, #[source] io::Error),
    #[error("{0} holds no certificate: it has to be PEM, the server's own first")]
    NoCertificate(PathBuf),
    #[error("cannot read the private key {0}")]
    Key(PathBuf, #[source] io::Error),
    #[error("others can read the private key {0}: chmod 600 it")]
    OpenKey(PathBuf),
    #[error("{0} holds no private key in PEM")]
    NoKey(PathBuf),
    #[error("the certificate {0} and the private key {1} make no pair")]
    NoPair(PathBuf, PathBuf, #[source] rustls::Error),
}

/// The certificate that is shown, and where it comes from.
pub struct Tls {
    files: Files,
    shown: Mutex<Shown>,
}

struct Shown {
    config: Arc<ServerConfig>,
    /// What the files were when they were read, whether they were good or not: each change is told once.
    read: [Stamp; 2],
    looked: Instant,
}

impl Tls {
    /// Reads the certificate with its chain, and its key.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, Error> {
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
        let read = files.stamps();
        let shown = Shown { config: files.config()?, read, looked: Instant::now() };
        Ok(Self { files, shown: Mutex::new(shown) })
    }

    /// What is shown to who comes now.
    fn config(&self) -> Arc<ServerConfig> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.looked.elapsed() >= LOOK {
            shown.looked = Instant::now();
            let stamps = self.files.stamps();
            if stamps != shown.read {
                shown.read = stamps;
                match self.files.config() {
                    Ok(config) => {
                        shown.config = config;
                        info!(certificate = %self.files.certificate.display(), "showing a new certificate");
                    }
                    Err(error) => {
                        error!(error = &error as &dyn std::error::Error, "the old certificate stays in use");
                    }
                }
            }
        }
        shown.config.clone()
    }

    /// Shakes hands; `None` if that comes to nothing. A client without TLS is told what is missing.
    pub async fn accept(&self, stream: TcpStream) -> Option<(TlsStream<TcpStream>, Version)> {
        let mut first = [0];
        match stream.peek(&mut first).await {
            Ok(1..) if first[0] == HANDSHAKE => {}
            Ok(1..) => {
                without_tls(stream).await;
                return None;
            }
            _ => return None,
        }
        match TlsAcceptor::from(self.config()).accept(stream).await {
            Ok(stream) => {
                let version = match stream.get_ref().1.alpn_protocol() {
                    Some(b"h2") => Version::Unclear,
                    _ => Version::One,
                };
                Some((stream, version))
            }
            Err(error) => {
                trace!(%error, "a handshake came to nothing");
                None
            }
        }
    }
}

async fn without_tls(mut stream: TcpStream) {
    let told = async {
        stream.write_all(NO_TLS.as_bytes()).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(DROPPED), &mut tokio::io::sink()).await
    };
    // Whether it has heard it is its own affair.
    let _ = timeout(GOODBYE, told).await;
}

struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// A file, as it is told from another or from itself at another time; `None` if it is not there.
type Stamp = Option<(u64, u64, i64, i64)>;

impl Files {
    fn stamps(&self) -> [Stamp; 2] {
        [&self.certificate, &self.key].map(|path| {
            let file = std::fs::metadata(path).ok()?;
            Some((file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
        })
    }

    fn config(&self) -> Result<Arc<ServerConfig>, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (chain, key) = (self.chain()?, self.private_key()?);
        let no_pair = |error| Error::NoPair(self.certificate.clone(), self.key.clone(), error);
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(no_pair)?.with_no_client_auth();
        let mut config = builder.with_single_cert(chain, key).map_err(no_pair)?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(Arc::new(config))
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        let text = std::fs::read(&self.certificate);
        let text = text.map_err(|error| Error::Certificate(self.certificate.clone(), error))?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        chain.ok_or_else(|| Error::NoCertificate(self.certificate.clone()))
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        let path = || self.key.clone();
        let text = private_file::read(&self.key, LONGEST).map_err(|trouble| match trouble {
            Trouble::Missing => Error::Key(path(), io::ErrorKind::NotFound.into()),
            Trouble::Open => Error::OpenKey(path()),
            Trouble::TooLong => Error::NoKey(path()),
            Trouble::Io(error) => Error::Key(path(), error),
        })?;
        PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| Error::NoKey(path()))
    }
}
