//! Other hosts: network namespaces on a switch of their own, out of everybody's way, and gone on drop.

use std::{
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

static LANS: AtomicU32 = AtomicU32::new(0);

/// Longer than any answer that a test waits for.
const LIMIT: Duration = Duration::from_secs(20);

pub struct Lan {
    name: String,
    hosts: Vec<String>,
}

impl Lan {
    /// That many hosts, each with the loopback and one address of the same network.
    ///
    /// # Errors
    /// What this machine does not have or does not allow.
    pub fn new(hosts: usize) -> Result<Self, String> {
        let name = format!("echo-{}-{}", std::process::id(), LANS.fetch_add(1, Relaxed));
        let mut lan = Self { name, hosts: Vec::new() };
        // The bridge is in a namespace too: whatever of all this is there goes with them.
        let switch = lan.add("switch")?;
        ip(&["-n", &switch, "link", "add", "bridge", "type", "bridge", "mcast_snooping", "0"])?;
        ip(&["-n", &switch, "link", "set", "bridge", "up"])?;
        for number in 1..=hosts {
            let host = lan.add(&number.to_string())?;
            let (port, address) = (format!("port{number}"), format!("{}/24", lan.address(number)));
            ip(&[
                "-n", &host, "link", "add", "eth0", "type", "veth", "peer", "name", &port, "netns", &switch,
            ])?;
            ip(&["-n", &switch, "link", "set", &port, "master", "bridge", "up"])?;
            ip(&["-n", &host, "addr", "add", &address, "dev", "eth0"])?;
            ip(&["-n", &host, "link", "set", "lo", "up"])?;
            ip(&["-n", &host, "link", "set", "eth0", "up"])?;
            // A host has one by its default route; here nothing leads out.
            ip(&["-n", &host, "route", "add", "224.0.0.0/4", "dev", "eth0"])?;
        }
        Ok(lan)
    }

    /// The namespace of a host; the first is 1.
    pub fn host(&self, number: usize) -> &str {
        &self.hosts[number]
    }

    pub fn address(&self, number: usize) -> String {
        format!("10.77.0.{number}")
    }

    /// One HTTP request from a host to itself: the body of what comes back, or why nothing does.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn ask(&self, number: usize, to: SocketAddr, request: &str) -> Result<String, String> {
        let (host, request) = (self.host(number).to_owned(), request.to_owned());
        let asked = tokio::task::spawn_blocking(move || {
            // A thread of its own, since it never comes back into the test's network.
            let thread = std::thread::spawn(move || exchange(&host, to, &request));
            thread.join().unwrap_or_else(|_| Err(std::io::Error::other("the asking thread panicked")))
        });
        asked.await.expect("it does not panic").map_err(|error| error.to_string())
    }

    /// A connection from a host, which stays in that host's network.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(&self, number: usize, to: SocketAddr) -> Result<TcpStream, String> {
        let host = self.host(number).to_owned();
        let thread = std::thread::spawn(move || {
            enter(&host)?;
            let stream = TcpStream::connect(to)?;
            stream.set_read_timeout(Some(LIMIT))?;
            Ok(stream)
        });
        let connected = thread.join().unwrap_or_else(|_| Err(std::io::Error::other("the thread panicked")));
        connected.map_err(|error| error.to_string())
    }

    fn add(&mut self, role: &str) -> Result<String, String> {
        let name = format!("{}-{role}", self.name);
        ip(&["netns", "add", &name])?;
        self.hosts.push(name.clone());
        Ok(name)
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for host in &self.hosts {
            if let Err(error) = ip(&["netns", "delete", host]) {
                eprintln!("{error}");
            }
        }
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("there is no ip command: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {}: {}", args.join(" "), said.trim()))
}

fn exchange(host: &str, to: SocketAddr, request: &str) -> std::io::Result<String> {
    enter(host)?;
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(request.as_bytes())?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    let body = reply.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    body.ok_or_else(|| std::io::Error::other(format!("no HTTP in {reply:?}")))
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn enter(host: &str) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;

    let namespace = File::open(format!("/run/netns/{host}"))?;
    // Safe: no memory is involved; it changes the network of this thread alone.
    match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[cfg(not(target_os = "linux"))]
fn enter(_: &str) -> std::io::Result<()> {
    Err(std::io::Error::other("only Linux has network namespaces"))
}
