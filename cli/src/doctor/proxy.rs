//! A proxy for the web that would get the calls to this machine.

use super::finding::Looked;

const PROXIES: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];

pub async fn look() -> Looked {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let Some(proxy) = PROXIES.into_iter().find(|name| set(name).is_some()) else { return Looked::default() };
    let except = set("no_proxy").or_else(|| set("NO_PROXY")).unwrap_or_default();
    if spares(&except) {
        return Looked::seen(format!("{proxy}, which spares this machine"));
    }
    Looked::wrong(
        format!("{proxy} is set, and NO_PROXY does not spare this machine"),
        "curl and the clients of OpenAI and Ollama ask the proxy for the mesh, which does not know it",
        "export NO_PROXY=localhost,127.0.0.1,::1",
    )
}

/// Whether both ways to name this machine are left out.
fn spares(except: &str) -> bool {
    let words: Vec<&str> = except.split(',').map(str::trim).collect();
    let has = |any: &[&str]| words.iter().any(|word| any.contains(word));
    has(&["*"])
        || has(&["localhost", ".localhost"]) && has(&["127.0.0.1", "127.0.0.0/8", "127.0.0.1/8", "127."])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_of_this_machine_must_be_spared() {
        for (except, spared) in [
            ("", false),
            ("*", true),
            ("localhost", false),
            ("localhost, 127.0.0.1", true),
            ("127.0.0.0/8,localhost,::1", true),
            ("example.org", false),
        ] {
            assert_eq!(spares(except), spared, "{except}");
        }
    }
}
