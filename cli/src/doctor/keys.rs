//! The files with keys: there, readable, and for nobody else.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::finding::Looked;
use super::scene::Scene;

pub async fn look(scene: &Scene) -> Looked {
    let key = scene.args.engine_key_file.as_deref().map(key).unwrap_or_default();
    own(scene).with(key)
}

fn own(scene: &Scene) -> Looked {
    let access = &scene.login.access;
    let Some(path) = access.nkey.as_ref().or(access.creds.as_ref()).or(access.tls_ca.as_ref()) else {
        return Looked::default();
    };
    let error = match access.read() {
        Ok(_) => return Looked::seen(format!("the key file {}", path.display())),
        Err(error) => anyhow::Error::from(error),
    };
    let sentence = format!("{error:#}");
    // Some of its errors say after a semicolon what to do.
    let (what, mend) = sentence.split_once("; ").unwrap_or((
        sentence.as_str(),
        "name the right file, let this user read it, or join with a new code: echo-mesh join CODE",
    ));
    Looked::wrong(what, "nothing gets onto the bus with it", mend)
}

fn key(path: &Path) -> Looked {
    let shown = path.display();
    let why = "the agent does not get into its engine with it, or others can";
    let about = std::fs::metadata(path).map(|about| about.permissions().mode());
    match (std::fs::read_to_string(path), about) {
        (Err(error), _) | (_, Err(error)) => Looked::wrong(
            format!("the engine's key file {shown} cannot be read: {error}"),
            why,
            format!("correct --engine-key-file, or let this user read it: chown $USER '{shown}'"),
        ),
        (Ok(text), _) if text.trim().is_empty() || text.trim().chars().any(char::is_control) => {
            Looked::wrong(
                format!("the engine's key file {shown} holds no key"),
                why,
                "write the key into it, on one line",
            )
        }
        (Ok(_), Ok(mode)) if mode & 0o077 != 0 => Looked::wrong(
            format!("others can read the engine's key file {shown}"),
            why,
            format!("chmod 600 '{shown}'"),
        ),
        _ => Looked::seen(format!("the key file {shown}")),
    }
}
