//! Whom this process believes about who the broker is: the authority that has signed the broker's certificate.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

/// The name in the certificate of a mesh's own broker. Its address may change, and several ways may lead to it.
pub const BROKER_NAME: &str = "broker.echo-mesh.internal";

/// An authority that signs certificates, and nobody else is believed.
#[derive(Clone)]
pub struct Authority {
    pem: String,
    config: Arc<ClientConfig>,
}

/// Why there is no authority. Each is for a person to put right.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the certificate of the authority, {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("{} holds no certificate in PEM", .0.display())]
    NoCertificate(PathBuf),
}

/// A text holds no certificate that can sign others.
#[derive(Debug, thiserror::Error)]
#[error("this is no certificate in PEM")]
pub struct NoCertificate;

impl Authority {
    /// The certificates that the file holds.
    ///
    /// # Errors
    /// The file cannot be read, or holds no certificate.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let pem = std::fs::read_to_string(path).map_err(|source| Error::Read(path.to_owned(), source))?;
        Self::of(pem).map_err(|_| Error::NoCertificate(path.to_owned()))
    }

    /// The certificates in a text.
    ///
    /// # Errors
    /// There is none.
    pub fn of(pem: String) -> Result<Self, NoCertificate> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(certificate.map_err(|_| NoCertificate)?).map_err(|_| NoCertificate)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        let verifier = Verifier { usual: usual.map_err(|_| NoCertificate)? };
        let config = config(provider, Arc::new(verifier)).map_err(|_| NoCertificate)?;
        Ok(Self { pem, config: Arc::new(config) })
    }

    /// The certificates as they were read.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// How to speak TLS with a broker.
    pub fn client_config(&self) -> ClientConfig {
        (*self.config).clone()
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

impl PartialEq for Authority {
    fn eq(&self, other: &Self) -> bool {
        self.pem == other.pem
    }
}

impl Eq for Authority {}

/// How a guest speaks TLS, who does not know the authority yet: whoever answers proves by the code who it is.
///
/// # Errors
/// This program cannot speak TLS.
pub fn guest_config() -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    config(provider.clone(), Arc::new(Anybody(provider)))
}

fn config(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// As everybody verifies, and a certificate of the mesh's own broker is good at any address: the authority signs that
/// name for brokers only.
#[derive(Debug)]
struct Verifier {
    usual: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        match self.usual.verify_server_cert(certificate, between, name, ocsp, now) {
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => {
                let broker =
                    ServerName::try_from(BROKER_NAME).map_err(|_| TlsError::General("no name".into()))?;
                self.usual.verify_server_cert(certificate, between, &broker, ocsp, now)
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.usual.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.usual.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// Believes whatever certificate there is.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
