//! The mesh as a client sees it: an edge, over HTTP.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reqwest::{Response, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::place;
use crate::record::Record;

/// How long an edge on this network may take to be reached.
const CONNECT: Duration = Duration::from_secs(3);
/// The longest event that is read.
const LONGEST_EVENT: usize = 16 << 20;

/// Which edge is asked.
#[derive(Debug, Clone, clap::Args)]
pub struct EdgeArgs {
    /// The edge of the mesh [default: that of the mesh that runs here, else http://127.0.0.1:8080]
    #[arg(long = "edge", env = "ECHO_EDGE_URL", value_name = "URL")]
    pub url: Option<Url>,
}

/// Where an edge is, if nobody says otherwise.
const DEFAULT: &str = "http://127.0.0.1:8080";

impl EdgeArgs {
    /// The edge that is meant.
    pub fn edge(&self) -> Result<Edge> {
        match &self.url {
            Some(url) => Edge::at(url.clone()),
            None => Edge::at(Url::parse(here().as_deref().unwrap_or(DEFAULT))?),
        }
    }
}

/// The edge of the mesh that runs here.
fn here() -> Option<String> {
    let record = Record::read(&place::run_dir().ok()?)?;
    record.edge.filter(|_| record.supervisor.runs())
}

/// One edge.
#[derive(Debug, Clone)]
pub struct Edge {
    url: Url,
    client: reqwest::Client,
}

impl Edge {
    pub fn at(url: Url) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A proxy for the web knows nothing of machines at home.
        let client = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT).build()?;
        Ok(Self { url, client })
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    /// GET, and the JSON that came.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let reply = self.asked(self.client.get(self.address(path)?)).await?;
        reply.json().await.context("the edge's answer cannot be read")
    }

    /// POST of JSON; the answer may be a stream.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Response> {
        self.asked(self.client.post(self.address(path)?).json(body)).await
    }

    /// DELETE, and the JSON that came.
    pub async fn delete(&self, path: &str) -> Result<Value> {
        let reply = self.asked(self.client.delete(self.address(path)?)).await?;
        reply.json().await.context("the edge's answer cannot be read")
    }

    /// GET of a stream of events.
    pub async fn events(&self, path: &str) -> Result<Events> {
        Ok(Events::of(self.asked(self.client.get(self.address(path)?)).await?))
    }

    fn address(&self, path: &str) -> Result<Url> {
        self.url.join(path).with_context(|| format!("{} makes no address with {path}", self.url))
    }

    async fn asked(&self, request: reqwest::RequestBuilder) -> Result<Response> {
        let reply = request.send().await.map_err(|error| {
            if error.is_connect() || error.is_timeout() {
                anyhow::anyhow!(
                    "no mesh answers at {}: start one with `echo-mesh up`, or name its edge with --edge",
                    self.url
                )
            } else {
                anyhow::Error::new(error.without_url()).context("the edge has not answered")
            }
        })?;
        if reply.status().is_success() {
            return Ok(reply);
        }
        let status = reply.status();
        let text = reply.text().await.unwrap_or_default();
        match serde_json::from_str::<Value>(&text).ok().as_ref().and_then(|it| it["error"].as_str()) {
            Some(error) => bail!("{error}"),
            None => bail!("the edge answers {status}"),
        }
    }
}

/// A stream of server-sent events, each the text of its data.
pub struct Events {
    reply: Response,
    read: Vec<u8>,
    ended: bool,
}

impl Events {
    /// The events of an answer.
    pub fn of(reply: Response) -> Self {
        Self { reply, read: Vec::new(), ended: false }
    }

    /// The next event's data; `None` at the end.
    ///
    /// # Errors
    /// The connection broke, or an event is too long.
    pub async fn next(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(data) = self.taken() {
                return Ok(Some(data));
            }
            if self.ended {
                return Ok(None);
            }
            match self.reply.chunk().await.map_err(reqwest::Error::without_url)? {
                Some(bytes) => self.read.extend_from_slice(&bytes),
                None => self.ended = true,
            }
            if self.read.len() > LONGEST_EVENT {
                bail!("the edge sends an event that does not end");
            }
        }
    }

    /// A whole event that is here already; comments are none.
    fn taken(&mut self) -> Option<String> {
        loop {
            let end = self.read.windows(2).position(|pair| pair == b"\n\n")?;
            let event: Vec<u8> = self.read.drain(..end + 2).collect();
            let text = String::from_utf8_lossy(&event);
            let data: Vec<&str> =
                text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim_start).collect();
            if !data.is_empty() {
                return Some(data.join("\n"));
            }
        }
    }
}
