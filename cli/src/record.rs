//! What runs here: `mesh.json` in the run directory, which the supervisor keeps true, and the lock by which there is one
//! supervisor for a run directory.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::process::Process;
use crate::{place, scratch};

const FILE: &str = "mesh.json";
/// Where the broker says where the bus is.
pub const BUS: &str = "broker.json";
const LOCK: &str = "lock";
/// A record is a page; whatever is longer is something else.
const LONGEST: u64 = 1 << 20;

/// A start of a mesh, or of a part of one, and what has become of it. Holds no secret.
///
/// What ends it can be read in a record of any version; the rest may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which program has written it.
    #[serde(default)]
    pub version: String,
    /// Unix milliseconds.
    #[serde(default)]
    pub since: u64,
    /// Whether all was ready once.
    #[serde(default)]
    pub ready: bool,
    /// Whether it is being stopped.
    #[serde(default)]
    pub stopping: bool,
    pub supervisor: Process,
    /// In the order of their start; they are stopped in the opposite one.
    pub parts: Vec<Part>,
    /// Where what the parts say is kept.
    pub logs: PathBuf,
    /// URLs, as they are reached from this machine.
    #[serde(default)]
    pub edge: Option<String>,
    #[serde(default)]
    pub bus: Option<String>,
    #[serde(default)]
    pub monitor: Option<String>,
    /// Whether the mesh runs elsewhere, and only these nodes are here.
    #[serde(default)]
    pub joined: bool,
    #[serde(default)]
    pub nodes: Vec<Node>,
    /// The model of tasks that name none.
    #[serde(default)]
    pub model: Option<String>,
    /// By what this machine's commands look after the mesh; absent where everybody here may, and on a machine that has only
    /// joined.
    #[serde(default)]
    pub access: Option<Access>,
    /// Why these engines, for the person.
    #[serde(default)]
    pub why: String,
}

/// Where a key is, and by whose certificate the broker is known. Never what they hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    pub nkey: PathBuf,
    pub tls_ca: PathBuf,
}

/// One process that the supervisor keeps up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// `broker`, `orchestrator`, `edge`, `agent-…`, `engine-…`.
    pub name: String,
    /// The last one, which may have ended.
    pub process: Process,
    /// How often it was started again.
    #[serde(default)]
    pub restarts: u32,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub id: String,
    /// URL of its agent.
    pub agent: String,
    /// URL of its engine, and which API that speaks.
    pub engine: String,
    pub api: String,
    /// Whether the engine was started with the mesh, and is stopped with it.
    pub ours: bool,
    #[serde(default)]
    pub serves: Serves,
}

/// What a node could be asked for when its mesh was ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Serves {
    #[default]
    Unknown,
    /// It has a model that generates text.
    Answers,
    EmbeddingsOnly,
    /// It has no model.
    Nothing,
}

impl Record {
    /// The record in this run directory; none where nothing was started.
    ///
    /// # Errors
    /// There is one that cannot be read: what it tells of may run.
    pub fn read(run: &Path) -> Result<Option<Self>> {
        let path = run.join(FILE);
        let read = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Ok(about) if about.len() > LONGEST => Err(anyhow!("it is too long")),
            _ => fs::read(&path).map_err(Into::into),
        };
        match read.and_then(|text| Ok(serde_json::from_slice(&text)?)) {
            Ok(record) => Ok(Some(record)),
            Err(why) => bail!(
                "{}, which says what was started here, cannot be read ({why}). If a mesh still runs here (`ps -e | grep \
                 echo-mesh` shows it), end its `echo-mesh up` with the command kill; then remove this file",
                path.display()
            ),
        }
    }

    /// The same for whoever only looks there for a default.
    pub fn known(run: &Path) -> Option<Self> {
        Self::read(run).ok().flatten()
    }

    /// Whole or not at all, and for the eyes of this user only.
    pub fn write(&self, run: &Path) -> io::Result<()> {
        // A temporary file is open to its owner only.
        let mut file = tempfile::NamedTempFile::new_in(run)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        writeln!(file)?;
        file.persist(run.join(FILE))?;
        Ok(())
    }

    /// Takes the record away, and what a broker that was killed has left.
    pub fn remove(run: &Path) {
        scratch::end(&run.join(scratch::FOLDER));
        let _ = fs::remove_file(run.join(BUS));
        let _ = fs::remove_file(run.join(FILE));
    }

    /// The part of this name.
    pub fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }

    /// The names of those that do not run, in the order of their start.
    pub fn dead(&self) -> Vec<&str> {
        self.parts.iter().filter(|part| !part.process.runs()).map(|part| part.name.as_str()).collect()
    }
}

/// Held by the one who may start and stop parts in a run directory, and let go by the system however that one ends.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// None where another one holds it. Makes the directory.
    pub fn take(run: &Path) -> io::Result<Option<Self>> {
        place::make(run)?;
        let path = run.join(LOCK);
        loop {
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            match file.try_lock() {
                Ok(()) if is_there(&file, &path) => return Ok(Some(Self { path, _file: file })),
                // The one before has removed the file between our open and our lock: what we hold is no lock any more.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }
}

/// Whether this open file is still the one of that name.
fn is_there(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(there)) = (file.metadata(), fs::metadata(path)) else { return false };
    (ours.dev(), ours.ino()) == (there.dev(), there.ino())
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Before it is let go, so that nobody takes away another's.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn record() -> Record {
        Record {
            version: "0.1.0".into(),
            since: 1,
            ready: false,
            stopping: false,
            supervisor: Process::own().unwrap(),
            parts: vec![Part { name: "edge".into(), process: Process::own().unwrap(), restarts: 0 }],
            logs: "/logs".into(),
            edge: Some("http://127.0.0.1:8080".into()),
            bus: None,
            monitor: None,
            joined: false,
            nodes: Vec::new(),
            model: None,
            access: None,
            why: String::new(),
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was_and_only_its_owner_reads_it() {
        let run = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(run.path()).unwrap(), None);
        record().write(run.path()).unwrap();
        assert_eq!(Record::read(run.path()).unwrap(), Some(record()));
        let mode = fs::metadata(run.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        Record::remove(run.path());
        assert_eq!(fs::read_dir(run.path()).unwrap().count(), 0, "a temporary file is left");
    }

    #[test]
    fn a_record_that_cannot_be_read_is_an_error_that_names_the_file_and_the_cure() {
        let run = tempfile::tempdir().unwrap();
        for text in ["{\"version\":", "", "{}", &" ".repeat(2 << 20)] {
            fs::write(run.path().join(FILE), text).unwrap();
            let error = Record::read(run.path()).unwrap_err().to_string();
            assert!(error.contains("mesh.json") && error.contains("remove this file"), "{error}");
            assert_eq!(Record::known(run.path()), None);
        }
    }

    #[test]
    fn a_record_of_another_version_still_says_what_is_to_be_stopped() {
        let run = tempfile::tempdir().unwrap();
        let whole = serde_json::to_value(record()).unwrap();
        let part = serde_json::json!({"name": "edge", "process": whole["supervisor"]});
        let bare = serde_json::json!({"supervisor": whole["supervisor"], "parts": [part], "logs": "/logs", "new": 1});
        fs::write(run.path().join(FILE), bare.to_string()).unwrap();
        let read = Record::read(run.path()).unwrap().unwrap();
        assert_eq!((read.supervisor, read.parts), (record().supervisor, record().parts));
    }

    #[test]
    fn what_a_user_keeps_in_a_run_directory_stays() {
        let run = tempfile::tempdir().unwrap();
        fs::create_dir(run.path().join("tmp")).unwrap();
        fs::create_dir(run.path().join(scratch::FOLDER)).unwrap();
        Record::remove(run.path());
        assert_eq!(fs::read_dir(run.path()).unwrap().count(), 2);
    }

    #[test]
    fn one_at_a_time_holds_the_lock_however_often_it_changes_hands() {
        let run = tempfile::tempdir().unwrap();
        let held = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let Some(_lock) = Lock::take(run.path()).unwrap() else { continue };
                        let others = held.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        assert_eq!(others, 0);
                        held.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    }
                });
            }
        });
        let lock = Lock::take(run.path()).unwrap().unwrap();
        assert!(Lock::take(run.path()).unwrap().is_none());
        let opened = File::open(run.path().join(LOCK)).unwrap();
        assert!(is_there(&opened, &run.path().join(LOCK)));
        drop(lock);
        assert!(
            !is_there(&opened, &run.path().join(LOCK)),
            "whoever opened it before it was removed has no lock"
        );
        let lock = Lock::take(run.path()).unwrap().unwrap();
        assert!(!is_there(&opened, &run.path().join(LOCK)));
        drop(lock);
        assert_eq!(fs::read_dir(run.path()).unwrap().count(), 0);
    }

    #[test]
    fn spoilt_records() {
        let node = Node {
            id: "a".into(),
            agent: "http://127.0.0.1:9001".into(),
            engine: "http://127.0.0.1:11434".into(),
            api: "ollama".into(),
            ours: true,
            serves: Serves::Answers,
        };
        let whole =
            serde_json::to_vec(&Record { nodes: vec![node], model: Some("m".into()), ..record() }).unwrap();
        echo_fuzz::parser("record", &[whole], |bytes| {
            let Ok(record) = serde_json::from_slice::<Record>(bytes) else { return false };
            let written = serde_json::to_vec(&record).unwrap();
            assert_eq!(serde_json::from_slice::<Record>(&written).unwrap(), record);
            let _ = (record.dead(), record.part("edge"), record.supervisor.runs());
            true
        });
    }
}
