//! Starting processes: programs that were written a moment ago, and children that are not to outlive us.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// How often a program that is still open for writing is tried again.
const ATTEMPTS: usize = 50;

/// Starts the process.
pub(super) async fn spawn(command: &mut Command) -> io::Result<Child> {
    let mut attempt = 1;
    loop {
        match command.spawn() {
            Err(error) if is_busy(&error) && attempt < ATTEMPTS => pause().await,
            other => return other,
        }
        attempt += 1;
    }
}

/// Starts the process from a thread that never ends: on Linux the kernel kills it when the thread that started it does,
/// and the threads of a runtime come and go.
pub(super) async fn spawn_for_good(mut command: Command) -> io::Result<Child> {
    let mut attempt = 1;
    loop {
        let (back, result) = spawn_on_starter(command).await?;
        match result {
            Err(error) if is_busy(&error) && attempt < ATTEMPTS => pause().await,
            other => return other,
        }
        (command, attempt) = (back, attempt + 1);
    }
}

/// A fork elsewhere in this process may hold a just written program open for writing until its own exec. That lasts for
/// microseconds, and only a new attempt tells when it is over.
fn is_busy(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ExecutableFileBusy
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

type Job = Box<dyn FnOnce() + Send>;

async fn spawn_on_starter(mut command: Command) -> io::Result<(Command, io::Result<Child>)> {
    let runtime = Handle::current();
    let (answer, spawned) = oneshot::channel();
    let job: Job = Box::new(move || {
        let _inside = runtime.enter();
        let child = command.spawn();
        // Where nobody waits any more the child is dropped, and by that killed.
        let _ = answer.send((command, child));
    });
    let gone = || io::Error::other("the thread that starts processes is gone");
    starter()?.send(job).map_err(|_| gone())?;
    spawned.await.map_err(|_| gone())
}

fn starter() -> io::Result<&'static mpsc::Sender<Job>> {
    static STARTER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    if let Some(starter) = STARTER.get() {
        return Ok(starter);
    }
    let (starter, jobs) = mpsc::channel::<Job>();
    std::thread::Builder::new().name("starter".to_owned()).spawn(move || {
        for job in jobs {
            // A job whose runtime is being torn down may panic; the children of others must not die of it.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    })?;
    // Of two at once one wins; the other's thread has no work and ends before it has started anything.
    Ok(STARTER.get_or_init(|| starter))
}
