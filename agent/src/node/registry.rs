//! Where a pull may fetch from: a public registry over HTTPS, never an address of this machine or its network that
//! somebody else names.

use echo_bus::host::Host;
use echo_bus::message::{Code, Failure, Named};
use serde_json::Value;

/// Whether the engine may be told to pull this.
///
/// # Errors
/// 400 that says what is not fetched.
pub fn judge(pull: &Named) -> Result<(), Failure> {
    let refused = |why: &str| Err(Failure::give_up(Code::BadRequest, why));
    if pull.model.contains("://") {
        return refused("a mesh pulls a model by its name, not by a URL");
    }
    if !matches!(pull.extra.get("insecure"), None | Some(Value::Null | Value::Bool(false))) {
        return refused(
            "a mesh pulls by HTTPS only, so that \"insecure\" is not for it; pull on the node itself",
        );
    }
    match registry(&pull.model) {
        Some(registry) if !is_public(registry) => refused(
            "a mesh pulls from public registries only, and not from an address of the node's own network; pull on the \
             node itself",
        ),
        _ => Ok(()),
    }
}

/// The host in `host/namespace/model`, as the engine reads it.
fn registry(model: &str) -> Option<&str> {
    let mut parts = model.rsplitn(3, '/');
    parts.nth(2)
}

/// A name that everybody may look up. What it points to has to show a certificate for it, so that it leads to no
/// machine of this network.
fn is_public(registry: &str) -> bool {
    let Some(host) = Host::parse(registry) else { return false };
    let Host::Name(name) = &host else { return false };
    // 127.1 and 0x7f.0.0.1 are addresses, too, wherever somebody reads them.
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
    name.contains('.') && !is_number && !host.is_near(None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pull(model: &str, extra: &Value) -> Result<(), Failure> {
        let named = json!({"model": model, "extra": extra});
        judge(&serde_json::from_value(named).unwrap())
    }

    #[test]
    fn a_model_comes_from_a_public_registry_and_from_no_address_that_a_client_names() {
        for good in [
            "llama3",
            "llama3:8b",
            "me/mine:latest",
            "hf.co/unsloth/gemma:Q4_K_M",
            "registry.ollama.ai/library/llama3",
            "registry.example.org:5000/a/b",
        ] {
            assert!(pull(good, &json!({"insecure": false})).is_ok(), "{good}");
        }
        for bad in [
            "http://evil.example/a/b",
            "https://hf.co/a/b",
            "127.0.0.1:9001/a/b",
            "127.1/a/b",
            "0x7f.1/a/b",
            "2130706433/a/b",
            "169.254.169.254/latest/meta-data",
            "8.8.8.8/a/b",
            "[::1]:80/a/b",
            "::1/a/b",
            "localhost/a/b",
            "LOCALHOST.:80/a/b",
            "box.local/a/b",
            "box.local:x/a/b",
            "box/a/b",
            "me@hf.co/a/b",
            "a/b/c/d",
            "hf.co/../a/b",
            "/a/b",
        ] {
            assert!(pull(bad, &json!({})).is_err(), "{bad}");
        }
        for insecure in [json!(true), json!("true"), json!(1)] {
            assert!(pull("llama3", &json!({"insecure": insecure})).is_err());
        }
    }
}
