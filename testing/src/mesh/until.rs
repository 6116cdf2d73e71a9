//! Waiting for a state: asks often, gives up late, and then says what was awaited and what was last seen.

use std::{
    fmt::Display,
    future::Future,
    time::{Duration, Instant},
};

/// Long enough for a loaded machine; nobody waits this long unless something is broken.
pub const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(10);

/// Asks until the answer is `Ok`; an `Err` says what is the case instead.
///
/// # Panics
/// When the state does not come.
pub async fn until<T, E: Display, F: Future<Output = Result<T, E>>>(what: &str, ask: impl FnMut() -> F) -> T {
    until_within(PATIENCE, what, ask).await
}

/// The same with a limit that is itself the claim.
///
/// # Panics
/// When the state does not come within `limit`.
pub async fn until_within<T, E: Display, F: Future<Output = Result<T, E>>>(
    limit: Duration,
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let started = Instant::now();
    loop {
        match ask().await {
            Ok(found) => return found,
            Err(seen) if started.elapsed() > limit => {
                panic!("waited {limit:?} for {what}; last seen: {seen}");
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Waits for one future, `PATIENCE` long at most.
///
/// # Panics
/// When it does not come.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} for {what}"),
    }
}

/// `Ok` if it holds, else what was seen: for use inside [`until`].
///
/// # Errors
/// When it does not hold.
pub fn holds(it: bool, seen: impl Display) -> Result<(), String> {
    if it { Ok(()) } else { Err(seen.to_string()) }
}
