//! Whose request it is, decided in one place before any route, and what that client may do.
//!
//! A key comes as `Authorization: Bearer KEY`, as `x-api-key: KEY`, or as the password of `Authorization: Basic`. It never
//! comes in an address, which stands in logs and in the history of browsers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use echo_bus::id::ClientName;
use echo_bus::message::{Model, Request as Ask};

use super::error::ApiError;
use crate::edge::Owner;
use crate::keys::file::Entry;
use crate::keys::{Found, Keys};

/// Longer texts are no keys, and are not hashed.
const LONGEST: usize = 256;

/// From where a connection comes.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// Who asks.
#[derive(Debug, Clone)]
pub enum Caller {
    /// This edge wants no keys.
    Anybody,
    Key(Arc<Entry>),
}

/// Lets a request on to its route, for whoever has sent it.
pub async fn admit(keys: Option<Arc<Keys>>, mut request: Request, next: Next) -> Response {
    let caller = match &keys {
        None => Caller::Anybody,
        Some(_) if is_open(request.method().as_str(), request.uri().path()) => {
            return next.run(request).await;
        }
        Some(keys) => match known(keys, &request) {
            Ok(entry) => Caller::Key(entry),
            Err((error, pause)) => {
                drop(request);
                tokio::time::sleep(pause).await;
                return error.into_response();
            }
        },
    };
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// What says nothing of this mesh: whether the edge is alive, and the files of the page.
pub fn is_open(method: &str, path: &str) -> bool {
    matches!(method, "GET" | "HEAD") && (matches!(path, "/" | "/health") || path.starts_with("/page/"))
}

/// Whose key a request brings; else what is said, after such a pause.
fn known(keys: &Keys, request: &Request) -> Result<Arc<Entry>, (ApiError, Duration)> {
    let (mut sent, mut expired) = (false, None);
    for key in offered(request.headers()) {
        sent = true;
        match keys.find(&key) {
            Found::Good(entry) => return Ok(entry),
            Found::Expired(entry) => expired = Some(entry),
            Found::Unknown => {}
        }
    }
    if !sent {
        return Err((ApiError::no_key(), Duration::ZERO));
    }
    if let Some(entry) = expired {
        let error = format!(
            "the API key {:?} has expired; whoever runs this mesh makes another one with `echo-mesh keys`",
            entry.name.as_str()
        );
        return Err((ApiError::wrong_key(error), Duration::ZERO));
    }
    let address = request.extensions().get::<Peer>().map(|peer| peer.0);
    let error = ApiError::wrong_key("this API key is not known here: it is misspelled, or was revoked");
    Err((error, keys.wrong(address)))
}

/// Every key that a request brings: some clients send what they have in two headers.
fn offered(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let plain =
        headers.get_all("x-api-key").iter().filter_map(|value| value.to_str().ok()).map(str::to_owned);
    let logins = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| value.to_str().ok());
    let keys = plain.chain(logins.filter_map(login)).take(4);
    keys.map(|key| key.trim().to_owned()).filter(|key| (1..=LONGEST).contains(&key.len()))
}

fn login(value: &str) -> Option<String> {
    let (scheme, rest) = value.trim().split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") || rest.len() > 2 * LONGEST {
        return None;
    }
    let login = String::from_utf8(BASE64_STANDARD.decode(rest.trim()).ok()?).ok()?;
    login.split_once(':').map(|(_, password)| password.to_owned())
}

impl Caller {
    /// The name of the key.
    pub fn name(&self) -> Option<&ClientName> {
        self.entry().map(|entry| &entry.name)
    }

    fn entry(&self) -> Option<&Arc<Entry>> {
        match self {
            Self::Anybody => None,
            Self::Key(entry) => Some(entry),
        }
    }

    /// Whether this client may use the model.
    pub fn may_use(&self, model: &str) -> bool {
        self.entry().is_none_or(|entry| entry.models.has(model))
    }

    /// The models that this client may use.
    pub fn allowed<'a>(&self, mut models: Vec<&'a Model>) -> Vec<&'a Model> {
        models.retain(|model| self.may_use(&model.name));
        models
    }

    /// Whether this client is kept from some models, and from knowing of them.
    pub fn is_limited(&self) -> bool {
        self.entry().is_some_and(|entry| !entry.models.is_all())
    }

    /// Whether this client may change the mesh.
    ///
    /// # Errors
    /// 403.
    pub fn manages(&self) -> Result<(), ApiError> {
        match self.entry() {
            Some(entry) if !entry.manage => Err(ApiError::forbidden(format!(
                "the API key {:?} is not for managing the mesh; a key made with `echo-mesh keys add NAME --manage` is",
                entry.name.as_str()
            ))),
            _ => Ok(()),
        }
    }

    /// Whether this client may see the mesh as a whole, with the names of all models.
    ///
    /// # Errors
    /// 403.
    pub fn sees_all(&self) -> Result<(), ApiError> {
        match self.entry().filter(|_| self.is_limited()) {
            Some(entry) => Err(ApiError::forbidden(format!(
                "the API key {:?} is limited to some models, and the whole mesh cannot be seen with it",
                entry.name.as_str()
            ))),
            None => Ok(()),
        }
    }

    /// The owner of a task with this request, with its place among the client's tasks.
    ///
    /// # Errors
    /// 403 or 429: the key is not good for it, or not for more of it.
    pub fn owner(&self, request: &Ask, keys: Option<&Arc<Keys>>) -> Result<Owner, ApiError> {
        let Some((entry, keys)) = self.entry().zip(keys) else { return Ok(Owner::default()) };
        match request.model() {
            Some(model) if !entry.models.has(model) => return Err(ApiError::no_right_to(&entry.name, model)),
            None if self.is_limited() => return Err(ApiError::names_no_model(entry)),
            _ => {}
        }
        // Questions about a model take no place of a task: they cost little, and have bounds of their own.
        let is_work = matches!(request, Ask::Generate(_) | Ask::Chat(_) | Ask::Embed(_));
        let place = is_work.then(|| keys.place(entry)).transpose();
        let place = place.map_err(|denied| ApiError::limit(&entry.name, denied))?;
        Ok(Owner { key: Some(entry.clone()), place })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(headers: &[(&'static str, &str)]) -> Vec<String> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        offered(&headers.collect()).collect()
    }

    #[test]
    fn a_key_comes_in_the_headers_that_clients_know() {
        assert_eq!(sent(&[("authorization", "Bearer echo-a")]), ["echo-a"]);
        assert_eq!(sent(&[("authorization", "bearer  echo-a ")]), ["echo-a"]);
        assert_eq!(sent(&[("x-api-key", "echo-a")]), ["echo-a"]);
        let basic = BASE64_STANDARD.encode("who:echo-a:b");
        assert_eq!(sent(&[("authorization", &format!("Basic {basic}"))]), ["echo-a:b"]);
        assert_eq!(sent(&[("authorization", "Bearer a"), ("x-api-key", "b")]), ["b", "a"]);
        let long = "x".repeat(1000);
        for none in [
            "",
            "Bearer",
            "Bearer ",
            "Basic ?",
            "Digest x",
            &format!("Bearer {long}"),
            &format!("Basic {long}"),
        ] {
            assert_eq!(sent(&[("authorization", none)]), [""; 0], "{none}");
        }
    }

    #[test]
    fn only_what_says_nothing_of_the_mesh_is_open() {
        for path in ["/", "/health", "/page/app.js"] {
            assert!(is_open("GET", path) && is_open("HEAD", path) && !is_open("POST", path), "{path}");
        }
        for path in
            ["/status", "/metrics", "/mesh/watch", "/v1/models", "/docs", "/healthy", "/page", "/pages/x"]
        {
            assert!(!is_open("GET", path), "{path}");
        }
    }
}
