//! The mesh's own authority, and the certificates that it signs.
//!
//! It signs for servers only, and no further authority. It is not bound to a domain (name constraints), since the machines
//! of a mesh are called whatever their people call them, and get new addresses: who has `ca.key` can pose as any server
//! towards those who believe this authority. Nobody but the mesh's own parts is asked to.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};

use super::error::Error;
use super::folder::Folder;
use super::names::{Names, own_names};
use super::rules;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const AUTHORITY_LASTS: Duration = DAY.saturating_mul(3650);
/// How long a server's certificate is good for, if nobody says otherwise.
pub const CERTIFICATE_LASTS: Duration = DAY.saturating_mul(365);

/// The clock of another machine may be behind ours.
const EARLIER: Duration = DAY;

/// What the broker itself is called, as a server and in the list of keys.
pub const BROKER: &str = "broker";

/// Below it a name stands for a part of a mesh, not for a machine. See `BROKER_NAME` of the bus.
const DOMAIN: &str = "echo-mesh.internal";

/// A server's certificate, and its key, as files.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
    made: SystemTime,
    lasts: Duration,
}

impl Certificate {
    /// Whether less than a third of its time is left.
    pub fn is_due(&self, now: SystemTime) -> bool {
        now.duration_since(self.made).is_ok_and(|age| age > self.lasts * 2 / 3)
    }
}

/// Makes the authority where there is none.
pub(super) fn make(folder: &Folder) -> Result<(), Error> {
    let key = key(folder, "ca")?;
    folder.read_or_create("ca.pem", || Ok(params(SystemTime::now()).self_signed(&key)?.pem())).map(drop)
}

/// Signs a certificate for a server on this machine.
pub(super) fn sign(folder: &Folder, name: &str, lasts: Duration) -> Result<Certificate, Error> {
    if name == "ca" {
        return Err(Error::Refused("\"ca\" is the authority's own name".to_owned()));
    }
    rules::check_name(name).map_err(Error::Refused)?;
    let (now, own) = (SystemTime::now(), key(folder, name)?);
    let authority = params(now);
    let issuer = Issuer::from_params(&authority, key(folder, "ca")?);
    let signed = server(name, own_names(), now, lasts)?.signed_by(&own, &issuer)?;
    folder.write(&format!("{name}.pem"), &signed.pem())?;
    let path = |end: &str| folder.path(&format!("{name}.{end}"));
    Ok(Certificate { certificate: path("pem"), key: path("key"), made: now, lasts })
}

fn key(folder: &Folder, name: &str) -> Result<KeyPair, Error> {
    let file = format!("{name}.key");
    let pem = folder
        .read_or_create(&file, || Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?.serialize_pem()))?;
    KeyPair::from_pem(&pem).map_err(|_| Error::NoKey(folder.path(&file)))
}

/// The authority's certificate; all but its times is the same each time, so that it can be used without being read.
fn params(now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Echo-System mesh authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    bound(&mut params, now, AUTHORITY_LASTS);
    params
}

fn server(
    name: &str,
    own: Names,
    now: SystemTime,
    lasts: Duration,
) -> Result<CertificateParams, rcgen::Error> {
    let called = format!("{name}.{DOMAIN}");
    let mut params = CertificateParams::new([called.clone()])?;
    params.subject_alt_names.extend(own.0);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, called);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    if name != BROKER {
        params.extended_key_usages.truncate(1);
    }
    params.use_authority_key_identifier_extension = true;
    bound(&mut params, now, lasts);
    Ok(params)
}

/// When it is good.
fn bound(params: &mut CertificateParams, now: SystemTime, long: Duration) {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = date_time_ymd(1970, 1, 1) + since;
    params.not_before = now - EARLIER;
    params.not_after = now + long;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_due_when_a_third_of_its_time_is_left() {
        let now = SystemTime::now();
        let (certificate, key) = (PathBuf::new(), PathBuf::new());
        let one = Certificate { certificate, key, made: now, lasts: CERTIFICATE_LASTS };
        assert!(!one.is_due(now) && !one.is_due(now - DAY) && !one.is_due(now + DAY * 243));
        assert!(one.is_due(now + DAY * 244));
    }

    #[test]
    fn the_broker_is_called_what_its_clients_look_for() {
        assert_eq!(format!("{}.{DOMAIN}", BROKER), echo_bus::client::BROKER_NAME);
    }
}
