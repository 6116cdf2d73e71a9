//! The engine of this machine: it answers, has a model, and answers nobody else.

use reqwest::Url;

use super::ask::Asker;
use super::finding::Looked;
use super::listening::beyond_loopback;
use super::scene::{Scene, local_port};

/// Where Ollama is.
const USUAL: &str = "http://127.0.0.1:11434";

/// What answers there.
enum Engine {
    Absent(String),
    Refuses(u16),
    /// With so many models.
    There(usize),
}

pub async fn look(scene: &Scene) -> Looked {
    let given = scene.args.engine_url.clone();
    let Some(url) = given.clone().or_else(|| Url::parse(USUAL).ok()) else { return Looked::default() };
    let key = scene.args.engine_key_file.as_deref().and_then(|path| std::fs::read_to_string(path).ok());
    let shown = shown(&url);
    match ask(&scene.asker, &url, key.as_deref().map(str::trim)).await {
        Engine::Absent(_) | Engine::Refuses(_) if given.is_none() => Looked::default(),
        Engine::Absent(why) => Looked::wrong(
            format!("no engine answers at {shown} ({why})"),
            "its agent has nothing to work with",
            "start it (`ollama serve`, or `llama-server`), or correct --engine-url",
        ),
        Engine::Refuses(status) => Looked::wrong(
            format!("the engine at {shown} answers {status} and no list of models"),
            "it wants a key, or is no engine that the mesh knows",
            "name the key with --engine-key-file, or correct --engine-url",
        ),
        Engine::There(0) if given.is_some() => Looked::wrong(
            format!("the engine at {shown} has no model"),
            "it can answer nothing",
            "ollama pull NAME, or start the server with a model",
        ),
        Engine::There(models) => open(&url, &shown, models),
    }
}

async fn ask(asker: &Asker, url: &Url, key: Option<&str>) -> Engine {
    let (mut absent, mut refused) = (String::new(), None);
    for (path, list) in [("api/tags", "models"), ("v1/models", "data")] {
        let mut base = url.clone();
        base.set_path(&format!("{}/{path}", url.path().trim_end_matches('/').trim_end_matches("/v1")));
        match asker.get(&base, key).await {
            Err(why) => absent = why,
            Ok(answer) => match answer.json[list].as_array() {
                Some(models) if answer.status == 200 => return Engine::There(models.len()),
                // What the other dialect says of a path that it does not know is no word about the engine.
                _ if refused.is_none() || answer.status != 404 => refused = Some(answer.status),
                _ => {}
            },
        }
    }
    refused.map_or(Engine::Absent(absent), Engine::Refuses)
}

fn open(url: &Url, shown: &str, models: usize) -> Looked {
    let looked =
        Looked::seen(format!("the engine at {shown} ({models} model{})", if models == 1 { "" } else { "s" }));
    let Some(port) = local_port(url) else { return looked };
    match beyond_loopback(port) {
        None => looked.with(Looked::unseen("whether the engine is open to other machines: only Linux says who listens")),
        Some(addresses) if addresses.is_empty() => looked,
        Some(addresses) => looked.and_wrong(
            format!("the engine at {shown} listens beyond this machine, at {}", addresses[0]),
            "whoever reaches this machine can use it, load and delete models, past the mesh",
            "let it listen at 127.0.0.1: OLLAMA_HOST=127.0.0.1 for Ollama, --host 127.0.0.1 for llama-server, \
             -p 127.0.0.1:PORT:PORT for a container",
        ),
    }
}

/// Without what may be a password.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = (url.set_username(""), url.set_password(None));
    url.as_str().trim_end_matches('/').to_owned()
}
