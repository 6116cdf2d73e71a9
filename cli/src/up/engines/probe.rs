//! Looks at what answers at an address.

use std::time::Duration;

use anyhow::Result;
use echo_bus::process::BadConfig;
use futures::future::join_all;
use reqwest::{Client, Url};
use serde_json::Value;

use super::facts::{Found, Mode};

/// Where engines listen unless they are told otherwise, those that come first being the likelier ones.
pub const WELL_KNOWN: [u16; 9] = [
    11434, // Ollama
    8080,  // llama.cpp's server, llamafile, LocalAI
    8081,  // the same beside another program
    1234,  // LM Studio
    8000,  // vLLM
    30000, // SGLang
    5001,  // KoboldCpp
    5000,  // text-generation-webui, TabbyAPI
    1337,  // Jan
];

/// An engine that is busy loading a model may take its time.
const PATIENT: Duration = Duration::from_secs(5);
/// Nobody is kept waiting by a program that is no engine.
const QUICK: Duration = Duration::from_secs(2);
/// A longer list of models is none.
const LONGEST: usize = 4 << 20;

/// The name of the variable that holds the engine's key.
const KEY_FILE: &str = "ECHO_ENGINE_KEY_FILE";

/// How to look.
pub struct Prober {
    client: Client,
    /// For OpenAI APIs that want a bearer token.
    key: Option<String>,
    /// Only the OpenAI API counts, which Ollama speaks as well.
    openai_only: bool,
    limit: Duration,
}

impl Prober {
    /// For addresses that the user has named: they get his key.
    ///
    /// # Errors
    /// The key cannot be read.
    pub fn of_named(mode: Mode) -> Result<Self> {
        let key = match std::env::var_os(KEY_FILE).filter(|path| !path.is_empty()) {
            None => None,
            Some(path) => Some(std::fs::read_to_string(&path).map_err(|error| {
                BadConfig(format!("{KEY_FILE}={} cannot be read: {error}.", path.display()))
            })?),
        };
        Self::new(mode, key.map(|key| key.trim().to_owned()), PATIENT)
    }

    /// For addresses where anybody may listen: they get no key.
    ///
    /// # Errors
    /// There is no HTTP client.
    pub fn of_strangers(mode: Mode) -> Result<Self> {
        Self::new(mode, None, QUICK)
    }

    fn new(mode: Mode, key: Option<String>, limit: Duration) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A proxy for the web knows nothing of engines at home.
        let client = Client::builder().no_proxy().connect_timeout(limit).timeout(limit).build()?;
        Ok(Self { client, key, openai_only: mode == Mode::Openai, limit })
    }

    /// Looks at all of them at once.
    pub async fn look(&self, urls: &[Url]) -> Vec<Found> {
        join_all(urls.iter().map(|url| self.found(url))).await
    }

    /// What answers at an address.
    pub async fn found(&self, url: &Url) -> Found {
        let mut answered = false;
        let limit = self.limit;
        if !self.openai_only {
            let version = self.ask(url, "api/version", &mut answered).await;
            if version.is_some_and(|it| it["version"].is_string()) {
                if self.is_edge(url).await {
                    return Found::Edge;
                }
                let tags = self.ask(url, "api/tags", &mut answered).await.unwrap_or_default();
                return Found::Ollama(names(&tags["models"], &["name", "model"]));
            }
            // A port that does not answer one question in time does not answer the next.
            if !answered && tokio::time::timeout(limit, self.connects(url)).await != Ok(true) {
                return Found::Nothing;
            }
        }
        match self.ask(url, "v1/models", &mut answered).await {
            Some(it) if it["data"].is_array() => Found::Openai(names(&it["data"], &["id"])),
            _ if answered => Found::Other,
            _ => Found::Nothing,
        }
    }

    /// Our own edge speaks as Ollama does, and is known by the status of its mesh.
    async fn is_edge(&self, url: &Url) -> bool {
        let status = self.ask(url, "status", &mut false).await;
        status.is_some_and(|it| it["node_count"].is_u64() && it["nodes"].is_array())
    }

    async fn connects(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        tokio::net::TcpStream::connect((host, url.port_or_known_default().unwrap_or(80))).await.is_ok()
    }

    /// The JSON of a 2xx answer. `answered` is set where anything came at all.
    async fn ask(&self, url: &Url, path: &str, answered: &mut bool) -> Option<Value> {
        let address = format!("{}/{path}", url.as_str().trim_end_matches('/'));
        let mut request = self.client.get(address);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let mut reply = match request.send().await {
            Ok(reply) => reply,
            Err(error) => {
                // Something listens, and what it says is no HTTP.
                *answered |= !error.is_connect() && !error.is_timeout();
                return None;
            }
        };
        *answered = true;
        if !reply.status().is_success() {
            return None;
        }
        let mut text = Vec::new();
        while let Ok(Some(piece)) = reply.chunk().await {
            text.extend_from_slice(&piece);
            if text.len() > LONGEST {
                return None;
            }
        }
        serde_json::from_slice(&text).ok()
    }
}

/// The names in a list of models, by the first of the keys that has one.
fn names(list: &Value, keys: &[&str]) -> Vec<String> {
    let name = |item: &Value| {
        let mut names = keys.iter().filter_map(|key| item[*key].as_str());
        names.find(|name| !name.is_empty()).map(str::to_owned)
    };
    list.as_array().into_iter().flatten().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Something that says these words to whoever comes.
    async fn one_who_says(words: &'static [u8]) -> Url {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(words).await;
            }
        });
        Url::parse(&url).unwrap()
    }

    #[tokio::test]
    async fn what_is_no_engine_is_told_from_nothing() {
        let prober = Prober::of_strangers(Mode::Auto).unwrap();
        for words in [
            &b"SSH-2.0-OpenSSH_9.6\r\n"[..],
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\n<ht>",
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n[]",
        ] {
            let url = one_who_says(words).await;
            assert_eq!(prober.found(&url).await, Found::Other, "{}", String::from_utf8_lossy(words));
        }
        let nobody = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap()
        };
        assert_eq!(prober.found(&nobody).await, Found::Nothing);
    }

    #[tokio::test]
    async fn a_list_of_models_makes_an_openai_engine() {
        let url = one_who_says(
            b"HTTP/1.1 200 OK\r\ncontent-length: 29\r\nconnection: close\r\n\r\n{\"data\":[{\"id\":\"m\"},{},null]}",
        )
        .await;
        let found = Prober::of_strangers(Mode::Auto).unwrap().found(&url).await;
        assert_eq!(found, Found::Openai(vec!["m".into()]));
    }

    #[test]
    fn odd_lists_have_no_names() {
        assert_eq!(names(&json!([{"name": "", "model": "b"}, {"id": 7}, "x"]), &["name", "model"]), ["b"]);
        assert_eq!(names(&json!({"name": "a"}), &["name"]), Vec::<String>::new());
    }
}
