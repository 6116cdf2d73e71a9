//! The configuration of a server that only lets listed keys in: made from nats.conf and the list of keys.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use echo_bus::client::Access;
use echo_bus::permission::{Machine, Part};
use echo_bus::subject::Duty;
use sha2::{Digest as _, Sha256};

use super::error::Error;
use crate::trust::{self, BROKER, Certificate, OPERATOR, Trust};

/// Between two lines that begin like this, a configuration is replaced.
const USERS: &str = "# echo-mesh: users of the mesh";
const WAY_IN: &str = "# echo-mesh: way in";

/// A handshake takes milliseconds; on a slow line with lost packets, seconds.
const HANDSHAKE: u32 = 5;

/// What makes the difference between a server that is open and one with keys.
pub(super) struct Keyed {
    trust: Trust,
    /// The configuration with marks.
    template: String,
    certificate: Certificate,
    /// How long that is good for.
    lasts: Duration,
    /// How the broker's own part gets in.
    pub(super) access: Access,
}

impl Keyed {
    /// Makes what is missing: the broker's certificate, its own key, and one for the commands of its people.
    pub(super) fn new(trust: Trust, template: String, named: &Path, lasts: Duration) -> Result<Self, Error> {
        for mark in [USERS, WAY_IN] {
            if replaced(&template, mark, "").is_none() {
                return Err(Error::NoMarks { config: named.to_owned(), mark });
            }
        }
        let certificate = trust.server_certificate(BROKER, lasts)?;
        let own = trust.own_key(BROKER, Duty::Broker, None)?;
        trust.own_key(OPERATOR, Duty::Operator, None)?;
        let access = trust.access(&own)?;
        Ok(Self { trust, template, certificate, lasts, access })
    }

    /// The configuration for the keys that are in now.
    pub(super) fn config(&self) -> Result<String, Error> {
        let machines = self.trust.machines()?;
        // With a list that somebody has removed everybody would be cut off, and nobody could mend it.
        if machines.iter().all(|one| one.duty != Duty::Broker) {
            return Err(trust::Error::NoBroker(self.trust.list()).into());
        }
        let users = users(&machines);
        let text = replaced(&self.template, USERS, &users).unwrap_or_default();
        let certificate = std::fs::read(&self.certificate.certificate).map_err(Error::Folder)?;
        let tls = tls(&self.certificate, &format!("{:x}", Sha256::digest(certificate)));
        Ok(replaced(&text, WAY_IN, &tls).unwrap_or_default())
    }

    /// Signs the broker's certificate anew if it will end.
    pub(super) fn renew(&mut self) -> Result<(), Error> {
        if self.certificate.is_due(SystemTime::now()) {
            self.certificate = self.trust.server_certificate(BROKER, self.lasts)?;
        }
        Ok(())
    }
}

fn users(machines: &[Machine]) -> String {
    let mut text = "    users: [\n".to_owned();
    for machine in machines {
        let Some(part) = Part::of(machine.duty, machine.node.as_ref(), &machine.key) else { continue };
        let permissions = part.permissions().to_conf(8);
        let _ = write!(text, "      {{\n        nkey: \"{}\"\n{permissions}\n      }}\n", machine.key);
    }
    text.push_str("    ]\n");
    text
}

/// The text differs when the certificate does, though the file's name is the same.
fn tls(certificate: &Certificate, digest: &str) -> String {
    let (cert, key) = (quoted(&certificate.certificate), quoted(&certificate.key));
    format!(
        "# The certificate's sha256: {digest}\ntls {{ cert_file: {cert}, key_file: {key}, timeout: {HANDSHAKE} }}\n"
    )
}

fn quoted(path: &Path) -> String {
    let path = path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{path}\"")
}

/// The text with something else between the lines `MARK begin` and `MARK end`, once; none if these are not there.
fn replaced(text: &str, mark: &str, by: &str) -> Option<String> {
    let is =
        |line: &str, which: &str| line.trim().strip_prefix(mark).is_some_and(|rest| rest.trim() == which);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let begin = lines.iter().position(|line| is(line, "begin"))?;
    let end = begin + lines[begin..].iter().position(|line| is(line, "end"))?;
    Some([&lines[..=begin].concat(), by, &lines[end..].concat()].concat())
}

#[cfg(test)]
mod tests;
