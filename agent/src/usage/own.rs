//! Which processes of this machine work for the mesh: our programs, the engine, and all that these have started.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use reqwest::Url;
use sysinfo::{Pid, Process, System};

/// How the programs of engines are called, or begin to be called. The kernel tells 15 characters.
const ENGINES: [&str; 12] = [
    "ollama",
    "llama-server",
    "llama-box",
    "llamafile",
    "lm-studio",
    "lm studio",
    "lms",
    "vllm",
    "sglang",
    "koboldcpp",
    "local-ai",
    "mlx_lm",
];

/// Where the engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnginePlace {
    /// On this machine, at this port.
    Here(u16),
    Elsewhere,
}

impl EnginePlace {
    /// Only an address that cannot be another machine's is here; a name of this machine in its network is not known as such.
    pub fn of(url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let is_here = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        match url.port_or_known_default() {
            Some(port) if is_here => Self::Here(port),
            _ => Self::Elsewhere,
        }
    }
}

/// The processes that work for the mesh, as of the last look.
#[derive(Debug)]
pub struct Own {
    engine: EnginePlace,
    pids: HashSet<Pid>,
    everybody: HashSet<Pid>,
    engine_found: bool,
}

impl Own {
    pub fn new(engine: EnginePlace) -> Self {
        Self { engine, pids: HashSet::new(), everybody: HashSet::new(), engine_found: false }
    }

    /// Looks at all processes.
    pub fn look(&mut self, system: &System) {
        let ours = sysinfo::get_current_pid().ok();
        let name = ours.and_then(|pid| system.process(pid)).map(Process::name);
        let mut roots: HashSet<Pid> = ours.into_iter().collect();
        // The other parts of the mesh here are the same program.
        roots.extend(system.processes().values().filter(|it| Some(it.name()) == name).map(Process::pid));
        if let EnginePlace::Here(port) = self.engine {
            let named = system.processes().values().filter(|it| is_engine(it)).map(Process::pid);
            let engines: HashSet<_> = named.chain(listeners(port, system)).collect();
            self.engine_found = !engines.is_empty();
            roots.extend(engines);
        }
        let parents = system.processes().iter().map(|(pid, it)| (*pid, it.parent())).collect();
        self.pids = with_descendants(&roots, &parents);
        self.everybody = parents.into_keys().collect();
    }

    pub fn pids(&self) -> &HashSet<Pid> {
        &self.pids
    }

    /// Whether there is such a process, as far as can be seen from here.
    pub fn is_known(&self, pid: Pid) -> bool {
        self.everybody.contains(&pid)
    }

    /// The engine is on this machine, but its processes are not found.
    pub fn engine_is_hidden(&self) -> bool {
        self.engine != EnginePlace::Elsewhere && !self.engine_found
    }
}

fn is_engine(process: &Process) -> bool {
    let name = process.name().to_string_lossy().to_lowercase();
    ENGINES.iter().any(|engine| name.starts_with(engine))
}

fn with_descendants(roots: &HashSet<Pid>, parents: &HashMap<Pid, Option<Pid>>) -> HashSet<Pid> {
    let mut found = roots.clone();
    loop {
        let is_child = |(pid, parent): (&Pid, &Option<Pid>)| {
            (!found.contains(pid) && parent.is_some_and(|parent| found.contains(&parent))).then_some(*pid)
        };
        let children: Vec<_> = parents.iter().filter_map(is_child).collect();
        if children.is_empty() {
            return found;
        }
        found.extend(children);
    }
}

/// Who listens at this port: the sockets there, and the processes that have one of them, as far as we may see that.
#[cfg(target_os = "linux")]
fn listeners(port: u16, system: &System) -> Vec<Pid> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let sockets: HashSet<_> = tables.iter().flat_map(|table| listening(table, port)).collect();
    let has_one = |pid: &&Pid| {
        let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        files.flatten().any(|file| {
            let link = std::fs::read_link(file.path());
            link.is_ok_and(|link| link.to_str().is_some_and(|link| sockets.contains(link)))
        })
    };
    if sockets.is_empty() {
        return Vec::new();
    }
    system.processes().keys().filter(has_one).copied().collect()
}

#[cfg(not(target_os = "linux"))]
fn listeners(_: u16, _: &System) -> Vec<Pid> {
    Vec::new()
}

/// The sockets that listen at this port, as the kernel's table has them, in the words of `/proc/PID/fd`.
#[cfg(target_os = "linux")]
fn listening(table: &str, port: u16) -> Vec<String> {
    const LISTENS: &str = "0A";
    let socket = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
        let at = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        (at == port && *state == LISTENS).then(|| format!("socket:[{inode}]"))
    };
    table.lines().filter_map(socket).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_here_or_elsewhere() {
        let place = |url: &str| EnginePlace::of(&Url::parse(url).unwrap());
        assert_eq!(place("http://127.0.0.1:11434"), EnginePlace::Here(11434));
        assert_eq!(place("http://[::1]:8080"), EnginePlace::Here(8080));
        assert_eq!(place("http://localhost"), EnginePlace::Here(80));
        assert_eq!(place("http://10.0.0.7:11434"), EnginePlace::Elsewhere);
        assert_eq!(place("https://api.example"), EnginePlace::Elsewhere);
    }

    #[test]
    fn what_an_engine_has_started_is_part_of_it() {
        let pid = Pid::from_u32;
        let tree = [(1, None), (2, Some(1)), (3, Some(2)), (4, Some(3)), (5, Some(1)), (6, Some(6))];
        let parents = tree.iter().map(|(it, parent)| (pid(*it), parent.map(pid))).collect();
        let found = with_descendants(&HashSet::from([pid(2)]), &parents);
        assert_eq!(found, HashSet::from([2, 3, 4].map(pid)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn whoever_listens_at_the_engines_port_is_the_engine() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut system = System::new();
        let kind = sysinfo::ProcessRefreshKind::nothing().without_tasks();
        system.refresh_processes_specifics(sysinfo::ProcessesToUpdate::All, true, kind);
        let found = listeners(listener.local_addr().unwrap().port(), &system);
        assert_eq!(found, [Pid::from_u32(std::process::id())]);
        let table = "  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 0 0 77 1\n\
                     \n   1: 0100007F:1F90 00000000:0000 01 0:0 0:0 0 0 0 78 1\n nonsense";
        assert_eq!((listening(table, 8080), listening(table, 80)), (vec!["socket:[77]".to_owned()], vec![]));
    }
}
