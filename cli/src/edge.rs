//! The mesh as a client sees it: an edge, over HTTP.

mod events;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use echo_bus::process::BadConfig;
use reqwest::{Certificate, Response, StatusCode, Url, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::clean::Clean;
use crate::keys::local;
use crate::place::RunArgs;
use crate::record::Record;
use events::LONGEST;
pub use events::{Event, Events};

/// How long an edge on this network may take to be reached.
const CONNECT: Duration = Duration::from_secs(3);

/// Which edge is asked.
#[derive(Debug, Clone, clap::Args)]
pub struct EdgeArgs {
    /// The edge of the mesh [default: that of the mesh that runs here, else http://127.0.0.1:8080]
    #[arg(long = "edge", env = "ECHO_EDGE_URL", value_name = "URL", value_parser = address)]
    pub url: Option<Url>,

    /// Whose certificates an edge over HTTPS may show, in PEM [default: those that this system trusts]
    #[arg(long = "edge-ca", env = "ECHO_EDGE_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Holds the API key that the edge wants, one line [default: the variable ECHO_API_KEY; of the mesh that runs here,
    /// local.key in its run directory]
    // Never the key itself: everybody on a machine sees the arguments of everything that runs there.
    #[arg(long, env = "ECHO_API_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<PathBuf>,

    #[command(flatten)]
    pub run: RunArgs,
}

/// The address of an edge, as people write it.
///
/// # Errors
/// It is none: the sentence that says so.
pub fn address(text: &str) -> Result<Url, String> {
    let whole = if text.contains("://") { text.trim().to_owned() } else { format!("http://{}", text.trim()) };
    let url =
        Url::parse(&whole).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| format!("an edge has an address such as {DEFAULT}, or https://HOST"))
}

/// The address as it may be shown: without a password, nor whose it is.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // A URL without a host has neither.
    let _ = (url.set_password(None), url.set_username(""));
    url.as_str().trim_end_matches('/').to_owned()
}

/// Where an edge is, if nobody says otherwise.
const DEFAULT: &str = "http://127.0.0.1:8080";
/// The variable that may hold an API key.
const KEY: &str = "ECHO_API_KEY";

impl EdgeArgs {
    /// The edge that is meant.
    pub fn edge(&self) -> Result<Edge> {
        let trusted = self.ca.as_deref().map_or(Trusted::System, Trusted::Only);
        let here = self.here();
        let (url, trusted) = match (&self.url, &here) {
            (Some(url), _) => (url.clone(), trusted),
            (None, Some((url, trusted))) => (url.parse()?, *trusted),
            (None, None) => (DEFAULT.parse()?, trusted),
        };
        let is_here = here.is_some_and(|(here, _)| Url::parse(&here).ok().as_ref() == Some(&url));
        Ok(Edge::trusting(url, trusted)?.with_key(self.named_key(is_here)?))
    }

    /// The key that was named, or that of this machine for the edge that runs here and for no other.
    fn named_key(&self, is_here: bool) -> Result<Option<String>> {
        if let Some(path) = self.key_file.as_ref().filter(|path| !path.as_os_str().is_empty()) {
            return Ok(Some(local::read(path).map_err(BadConfig)?));
        }
        if let Some(key) = std::env::var(KEY).ok().filter(|key| !key.trim().is_empty()) {
            return Ok(Some(key.trim().to_owned()));
        }
        Ok(if is_here { local::read(&local::file(&self.run.dir()?)).ok() } else { None })
    }

    /// The edge of the mesh that runs here, or that this machine has joined.
    fn here(&self) -> Option<(String, Trusted<'_>)> {
        let record = Record::known(&self.run.dir().ok()?)?;
        let joined = self.ca.as_deref().map_or(Trusted::System, Trusted::Only);
        let trusted = if record.joined { joined } else { Trusted::Anybody };
        record.edge.filter(|_| record.supervisor.runs()).map(|url| (url, trusted))
    }
}

/// Whose certificate an edge over HTTPS may show.
#[derive(Debug, Clone, Copy)]
enum Trusted<'a> {
    /// One that this system trusts.
    System,
    /// One of the authorities in this file.
    Only(&'a Path),
    /// Any: an edge that this machine has started itself is reached without a network, and under another name than its
    /// clients use.
    Anybody,
}

/// One edge.
#[derive(Clone)]
pub struct Edge {
    url: Url,
    client: reqwest::Client,
    key: Option<String>,
}

impl Edge {
    /// The one that this machine has started itself.
    pub fn own(url: Url) -> Result<Self> {
        Self::trusting(url, Trusted::Anybody)
    }

    fn trusting(url: Url, trusted: Trusted) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A proxy for the web knows nothing of machines at home.
        let mut client = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT);
        match trusted {
            Trusted::System => {}
            Trusted::Only(path) => client = client.tls_certs_only(authorities(path)?),
            Trusted::Anybody => client = client.tls_danger_accept_invalid_certs(true),
        }
        Ok(Self { url, client: client.build()?, key: None })
    }

    /// The same for who has this API key.
    #[must_use]
    pub fn with_key(mut self, key: Option<String>) -> Self {
        self.key = key;
        self
    }

    /// Its key, for who asks it in another way.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    /// What asks it.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Its address, as it may be shown.
    pub fn shown(&self) -> String {
        shown(&self.url)
    }

    /// GET, and the JSON that came.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.read(self.asked(self.client.get(self.address(path)?)).await?).await
    }

    /// GET of JSON that is wanted also if it tells of a failure.
    pub async fn told(&self, path: &str) -> Result<Value> {
        let reply = self.sent(self.client.get(self.address(path)?)).await?;
        if reply.status() == StatusCode::UNAUTHORIZED {
            return Err(self.unknown(Refused::read(reply).await).into());
        }
        self.read(reply).await
    }

    /// POST of JSON; the answer may be a stream.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Response> {
        self.asked(self.client.post(self.address(path)?).json(body)).await
    }

    /// DELETE, and the JSON that came.
    pub async fn delete(&self, path: &str) -> Result<Value> {
        self.read(self.asked(self.client.delete(self.address(path)?)).await?).await
    }

    /// DELETE of what a body names.
    pub async fn delete_with(&self, path: &str, body: &Value) -> Result<()> {
        self.asked(self.client.delete(self.address(path)?).json(body)).await.map(drop)
    }

    /// GET of a stream of events.
    pub async fn events(&self, path: &str) -> Result<Events> {
        Ok(Events::of(self.asked(self.client.get(self.address(path)?)).await?))
    }

    fn address(&self, path: &str) -> Result<Url> {
        self.url.join(path).with_context(|| format!("{} makes no address with {path}", self.shown()))
    }

    async fn read<T: DeserializeOwned>(&self, reply: Response) -> Result<T> {
        let body = body(reply).await?;
        serde_json::from_slice(&body).map_err(|_| {
            anyhow!("what answers at {} is no edge of a mesh: name one with --edge", self.shown())
        })
    }

    async fn asked(&self, request: reqwest::RequestBuilder) -> Result<Response> {
        let reply = self.sent(request).await?;
        if reply.status() == StatusCode::UNAUTHORIZED {
            return Err(self.unknown(Refused::read(reply).await).into());
        }
        if reply.status().is_success() {
            return Ok(reply);
        }
        Err(Refused::read(reply).await.into())
    }

    /// What to do about a key that is missing or not taken.
    fn unknown(&self, refused: Refused) -> Refused {
        let edge = self.shown();
        let error = if self.key.is_some() {
            format!("the edge at {edge} does not take this API key ({})", refused.error)
        } else {
            format!(
                "the edge at {edge} wants an API key: set ECHO_API_KEY, or name a file that holds it with --key-file; whoever \
                 runs that mesh makes one with `echo-mesh keys add NAME`"
            )
        };
        Refused { error, ..refused }
    }

    async fn sent(&self, mut request: reqwest::RequestBuilder) -> Result<Response> {
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        request.send().await.map_err(|error| {
            if let Some(why) = is_distrusted(&error) {
                anyhow!(
                    "{} shows a certificate that is not trusted ({why}): name its authority with --edge-ca",
                    self.shown()
                )
            } else if error.is_connect() || error.is_timeout() {
                anyhow!(
                    "no mesh answers at {}: start one with `echo-mesh up`, or name its edge with --edge",
                    self.shown()
                )
            } else {
                anyhow::Error::new(error.without_url()).context("the edge has not answered")
            }
        })
    }
}

fn authorities(path: &Path) -> Result<Vec<Certificate>> {
    let shown = path.display();
    let pem = std::fs::read(path).with_context(|| format!("cannot read --edge-ca {shown}"))?;
    let found = Certificate::from_pem_bundle(&pem).ok().filter(|found| !found.is_empty());
    found.with_context(|| format!("--edge-ca {shown} holds no certificate in PEM"))
}

/// Why the edge's certificate is not trusted, if it is that.
fn is_distrusted(error: &reqwest::Error) -> Option<&rustls::Error> {
    let first: &(dyn std::error::Error + 'static) = error;
    std::iter::successors(Some(first), |error| match error.downcast_ref::<std::io::Error>() {
        // What an error of I/O holds is no source of it, but that one itself.
        Some(io) => io.get_ref().map(|inner| inner as _),
        None => error.source(),
    })
    .find_map(|error| error.downcast_ref::<rustls::Error>())
    .filter(|error| matches!(error, rustls::Error::InvalidCertificate(_)))
}

/// All of an answer.
///
/// # Errors
/// The connection broke, or the answer does not end.
pub async fn body(mut reply: Response) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(bytes) = reply.chunk().await.map_err(reqwest::Error::without_url)? {
        if body.len() + bytes.len() > LONGEST {
            bail!("the edge sends an answer that does not end");
        }
        body.extend_from_slice(&bytes);
    }
    Ok(body)
}

/// The edge has said no.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Refused {
    /// Absent for the end of an answer that had begun.
    pub status: Option<u16>,
    /// For programs.
    pub code: String,
    /// What happened and what to do.
    pub error: String,
}

impl Refused {
    async fn read(reply: Response) -> Self {
        let status = reply.status();
        let wait = reply.headers().get(header::RETRY_AFTER).and_then(|wait| wait.to_str().ok());
        let wait = wait.map(|wait| format!(" (in about {wait} s)")).unwrap_or_default();
        let said: Value = serde_json::from_slice(&body(reply).await.unwrap_or_default()).unwrap_or_default();
        let mut refused = Self::said(&said, &format!("the edge answers {status}"));
        refused.error += &wait;
        Self { status: Some(status.as_u16()), ..refused }
    }

    /// The refusal in an object of the edge's.
    pub fn said(said: &Value, otherwise: &str) -> Self {
        let error = said["error"].as_str().unwrap_or(otherwise);
        // The line for curl helps nobody who has this program.
        let error = error.split("; this works: curl").next().unwrap_or(error);
        let error = Clean::of(error).to_string();
        Self { status: None, code: said["code"].as_str().unwrap_or_default().to_owned(), error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_is_named_as_people_write_it_and_no_password_is_shown() {
        let read = |text: &str| address(text).map(|url| url.to_string());
        assert_eq!(read("box:8080").unwrap(), "http://box:8080/");
        assert_eq!(read(" 10.0.0.1 ").unwrap(), "http://10.0.0.1/");
        assert_eq!(read("https://mesh.example/").unwrap(), "https://mesh.example/");
        for nonsense in ["", "nats://box:4222", "file:///etc", "http://", "a b"] {
            assert!(read(nonsense).unwrap_err().contains("http://127.0.0.1:8080"), "{nonsense:?}");
        }
        assert_eq!(shown(&address("ada:hush@box:1").unwrap()), "http://box:1");
    }

    #[test]
    fn a_refusal_has_no_line_for_another_program() {
        let said = serde_json::json!({"error": "no such model; this works: curl -X POST x", "code": "c"});
        let refused = Refused::said(&said, "");
        assert_eq!((refused.to_string().as_str(), refused.code.as_str()), ("no such model", "c"));
    }

    #[test]
    fn spoilt_events_refusals_and_addresses() {
        let seeds = [
            "id: 7\nevent: x\ndata: {\"a\":\ndata: 1}\n\n",
            ": queued, position 2, expected wait 1500 ms\n\n",
            "data: \u{1b}]0;x\u{7}\r\n\r\n",
            "{\"error\":\"no such model; this works: curl -X POST x\",\"code\":\"c\"}",
            "https://ada:hush@box:8080/x",
        ];
        echo_fuzz::parser("events, refusals, addresses", &seeds, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let event = Event::read(&text);
            assert!(event.data.len() + event.comment.len() + event.name.len() <= text.len());
            let said = serde_json::from_slice::<Value>(bytes).unwrap_or_default();
            let refused = Refused::said(&said, &text).to_string();
            assert!(refused.chars().count() <= 301 && !refused.chars().any(char::is_control), "{refused:?}");
            let url = address(&text);
            if let Ok(url) = &url {
                let shown = Url::parse(&shown(url)).unwrap();
                assert_eq!((shown.username(), shown.password()), ("", None));
            }
            // Nearly any word is a host name: only a whole URL shows that an address was understood.
            event != Event::default() || said.is_object() || (url.is_ok() && text.contains("://"))
        });
    }
}
