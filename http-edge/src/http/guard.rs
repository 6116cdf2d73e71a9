//! Who may ask: `Host` and `Origin` are checked, so that no web page can use a mesh on this machine unasked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::extract::Request;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};

use echo_bus::host::Host;
use tracing::warn;

use super::error::ApiError;
use super::route_headers;

/// Schemes of applications on this machine that are no web pages.
const APP_SCHEMES: [&str; 6] =
    ["app://", "file://", "tauri://", "vscode-webview://", "vscode-file://", "moz-extension://"];

/// Addresses of a page on this machine.
const OWN: [IpAddr; 3] =
    [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// The names and origins that are let in.
pub struct Guard {
    /// Whether others than this machine reach the edge.
    on_network: bool,
    hosts: Vec<Host>,
    origins: Vec<String>,
    /// What this machine is called.
    own: Option<String>,
}

impl Guard {
    pub fn new(address: SocketAddr, hosts: &[String], origins: &[String]) -> Self {
        let plain = |name: &String| name.trim().trim_end_matches('/').to_ascii_lowercase();
        let hosts = hosts.iter().map(plain).filter(|name| !name.is_empty()).filter_map(|name| {
            let host = Host::parse(&name);
            if host.is_none() {
                warn!(name, "--allow-host names no host: it is a name like mesh.example.org");
            }
            host
        });
        let (hosts, origins) = (hosts.collect(), origins.iter().map(plain).collect());
        Self { on_network: !address.ip().is_loopback(), hosts, origins, own: sysinfo::System::host_name() }
    }

    fn allows_host(&self, host: &str) -> bool {
        host.is_empty() || Host::parse(host).is_some_and(|host| self.is_named(&host) || self.is_local(&host))
    }

    fn is_named(&self, host: &Host) -> bool {
        self.hosts.contains(host)
    }

    /// A name that no stranger can point here (DNS rebinding). On a network, also any address, and a name without a dot
    /// (`http://edge:8080` in a network of containers): no public name is without one, and whoever answers for such
    /// names on the same network can ask this edge without anybody's browser.
    fn is_local(&self, host: &Host) -> bool {
        host.is_near(self.own.as_deref()) || self.on_network && (is_one_word(host) || host.is_certain())
    }

    /// The edge's own page, under an address or a name that cannot be made to point here from outside. Behind another
    /// name a stranger's page may be (DNS rebinding): that one is to be allowed by name. Names like `box.local` are
    /// anybody's on the same network: an edge that listens there can be asked by them anyway, one on loopback cannot.
    fn is_own_page(&self, origin: &str, asked: &str) -> bool {
        let page = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        page.is_some_and(|page| page.eq_ignore_ascii_case(asked))
            && Host::parse(asked).is_some_and(|host| {
                self.is_named(&host) || self.is_local(&host) && (self.on_network || host.is_certain())
            })
    }

    fn allows_origin(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        if self.origins.iter().any(|allowed| allowed == "*" || *allowed == origin) {
            return true;
        }
        if APP_SCHEMES.iter().any(|scheme| origin.starts_with(scheme)) {
            return true;
        }
        let page = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        page.and_then(Host::parse).is_some_and(|host| match host {
            Host::Address(ip) => OWN.contains(&ip),
            Host::Name(name) => name == "localhost",
        })
    }
}

/// A name without a dot.
fn is_one_word(host: &Host) -> bool {
    matches!(host, Host::Name(name) if !name.contains('.'))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

/// Lets a request in or not, answers the browser's question before it, and marks the answer for the browser.
/// `next` is what follows for who is let in.
pub async fn check<F: Future<Output = Response>>(
    guard: &Guard,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let host = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let host = host.or_else(|| text(request.headers(), header::HOST).map(str::to_owned)).unwrap_or_default();
    if !guard.allows_host(&host) {
        return ApiError::forbidden("this host name is not known here; allow it with --allow-host")
            .into_response();
    }
    let Some(origin) = request.headers().get(header::ORIGIN).cloned() else {
        return next(request).await;
    };
    let page = origin.to_str().unwrap_or("?");
    if !guard.allows_origin(page) && !guard.is_own_page(page, &host) {
        return ApiError::forbidden("this web origin may not ask here; allow it with --allow-origin")
            .into_response();
    }
    let asks_first = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let response = if asks_first { preflight(request.headers()) } else { next(request).await };
    allow(response, origin)
}

/// Any header may come: the origin was let in by name, and clients bring a dozen of their own (`x-stainless-os`, …).
fn preflight(asked: &HeaderMap) -> Response {
    let wanted = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let wanted = wanted.unwrap_or(HeaderValue::from_static("authorization, content-type"));
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, DELETE")),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, wanted),
        (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

fn allow(mut response: Response, origin: HeaderValue) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(route_headers::NAMES));
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        let origins = ["https://chat.example.org/".to_owned()];
        Guard::new("127.0.0.1:8080".parse().unwrap(), &["mesh.example.org".to_owned()], &origins)
    }

    #[test]
    fn a_foreign_host_name_is_kept_out_on_loopback() {
        for good in
            ["localhost:8080", "127.0.0.1", "[::1]:8080", "box.local", "192.168.1.5:8080", "mesh.example.org"]
        {
            assert!(guard().allows_host(good), "{good} was kept out");
        }
        for bad in ["evil.example:8080", "8.8.8.8", "localhost.evil.example", "127.0.0.1.evil.example"] {
            assert!(!guard().allows_host(bad), "{bad} was let in");
        }
        assert!(!guard().allows_host("mesh:8080"), "on loopback nobody needs such a name");
    }

    #[test]
    fn a_public_name_is_kept_out_on_a_network_too_unless_it_was_allowed() {
        let names = ["Mesh.example.org".to_owned()];
        let mut open = Guard::new("0.0.0.0:8080".parse().unwrap(), &names, &[]);
        open.own = Some("box.example.net".to_owned());
        for (host, good) in [
            ("", true),
            ("localhost:8080", true),
            ("a.localhost", true),
            ("10.0.0.7:8080", true),
            ("203.0.113.5", true),
            ("[2001:db8::1]:8080", true),
            ("[fe80::1]", true),
            ("box.local:8080", true),
            ("edge.mesh.svc.cluster.local", true),
            ("edge:8080", true),
            ("EDGE", true),
            ("box.example.net:8080", true),
            ("BOX.Example.Net.:8080", true),
            ("mesh.example.org:443", true),
            ("mesh.example.org.", true),
            ("evil.example:8080", false),
            ("evil.example.", false),
            ("mesh.example.org.evil.example", false),
            ("evil.mesh.example.org", false),
            ("box.example.net.evil.example", false),
            ("localhost.evil.example", false),
            ("10.0.0.7.evil.example", false),
            ("10-0-0-7.sslip.io", false),
            ("0x7f.1", false),
            (".", false),
            (":8080", false),
            ("?", false),
            ("edge.evil", false),
            ("user@evil.example", false),
            ("evil.example#@..localhost", false),
            ("evil.example?.local", false),
            ("box.local:80#@evil.example", false),
            (":@evil.example", false),
        ] {
            assert_eq!(open.allows_host(host), good, "{host}");
        }
    }

    #[test]
    fn the_page_of_an_edge_on_the_network_may_ask_that_edge_unless_its_name_may_be_anybodys() {
        let open = Guard::new("0.0.0.0:8080".parse().unwrap(), &["mesh.example.org".to_owned()], &[]);
        for (origin, host) in [
            ("http://192.168.1.5:8080", "192.168.1.5:8080"),
            ("https://box.local", "box.local"),
            ("http://mesh.example.org:8080", "mesh.example.org:8080"),
            ("http://203.0.113.5:8080", "203.0.113.5:8080"),
            ("http://edge:8080", "edge:8080"),
        ] {
            assert!(open.is_own_page(origin, host), "{origin} was kept out");
        }
        for (origin, host) in [
            ("http://evil.example:8080", "evil.example:8080"),
            ("http://192.168.1.5:8080", "192.168.1.5:9090"),
            ("http://192.168.1.6:8080", "192.168.1.5:8080"),
            ("ftp://192.168.1.5", "192.168.1.5"),
            ("http://", ""),
            ("null", "null"),
            ("http://evil.example#@..localhost", "evil.example#@..localhost"),
        ] {
            assert!(!open.is_own_page(origin, host), "{origin} was let in");
        }
    }

    #[test]
    fn a_name_that_others_on_the_network_can_give_is_not_the_page_of_an_edge_on_loopback() {
        for (origin, host) in
            [("http://evil.local:8080", "evil.local:8080"), ("http://evil.internal", "evil.internal")]
        {
            assert!(!guard().is_own_page(origin, host), "{origin} was let in");
            assert!(!guard().allows_origin(origin), "{origin} was let in");
        }
        for (origin, host) in [
            ("http://127.0.0.2:8080", "127.0.0.2:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
            ("http://echo.localhost:8080", "echo.localhost:8080"),
            ("http://mesh.example.org", "mesh.example.org"),
        ] {
            assert!(guard().is_own_page(origin, host), "{origin} was kept out");
        }
    }

    #[test]
    fn only_pages_of_this_machine_and_named_ones_may_ask() {
        for good in [
            "http://localhost:3000",
            "https://127.0.0.1",
            "http://[::1]:5173",
            "app://x",
            "https://chat.example.org",
        ] {
            assert!(guard().allows_origin(good), "{good} was kept out");
        }
        for bad in [
            "null",
            "https://evil.example",
            "http://localhost.evil.example",
            "https://localhost@evil.example",
            "http://localhost:@evil.example",
            "http://[::1]evil.example",
        ] {
            assert!(!guard().allows_origin(bad), "{bad} was let in");
        }
    }

    /// No spelling of a name that is not this machine's is let in on loopback.
    #[test]
    fn spoilt_hosts_and_origins() {
        let seeds = [
            "http://localhost:3000",
            "https://[::1]:5173",
            "http://127.0.0.1",
            "box.local:8080",
            "https://chat.example.org",
            "http://mesh.example.org",
            "http://localhost.evil.example",
            "http://evil.example#@localhost",
        ];
        let guard = guard();
        echo_fuzz::parser("host and origin", &seeds, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let (host, origin) = (guard.allows_host(&text), guard.allows_origin(&text));
            let own = guard.is_own_page(&text, text.strip_prefix("http://").unwrap_or(&text));
            let foreign =
                axum::http::Uri::try_from(&*text).ok().and_then(|uri| Some(uri.host()?.to_ascii_lowercase()));
            let foreign = foreign.is_some_and(|host| host.ends_with("evil.example"));
            assert!(!foreign || !origin && !own, "{text:?}");
            host || origin || own || text.contains("evil")
        });
    }
}
