//! Clocks that are apart, and one that jumps: what counts time for the mesh is nobody's wall clock.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use echo_testing::{
    client::scripted,
    mesh::{Mesh, Program, until},
};
use futures::future::join_all;

use echo_testing::skip::machine_lacks;

const HOUR: i64 = 3600;
/// Moves the wall clock of the program that it is loaded into by the seconds that a file holds at that moment.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *shift;

__attribute__((constructor)) static void begin(void) {
    int file = open(getenv("SHIFTED_CLOCK"), O_RDONLY);
    void *map = mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
    if (file < 0 || map == MAP_FAILED) abort();
    shift = map;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int failed = syscall(SYS_clock_gettime, clock, time);
    if (!failed && clock == CLOCK_REALTIME && shift) time->tv_sec += *shift;
    return failed;
}

int gettimeofday(struct timeval *restrict value, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    value->tv_sec = now.tv_sec;
    value->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *value) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    if (value) *value = now.tv_sec;
    return now.tv_sec;
}
"#;

/// A library for LD_PRELOAD; `None`, written down, where it cannot be made.
fn shim(test: &str, folder: &Path) -> Option<PathBuf> {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    std::fs::write(&source, SHIM).expect("the folder can be written");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).output();
    match made {
        Ok(output) if output.status.success() && cfg!(target_os = "linux") => Some(library),
        Ok(output) => {
            machine_lacks(&format!("{test}: no library: {}", String::from_utf8_lossy(&output.stderr).trim()));
            None
        }
        Err(error) => {
            machine_lacks(&format!("{test}: there is no C compiler: {error}"));
            None
        }
    }
}

/// The wall clock of one program.
struct Clock(PathBuf);

impl Clock {
    /// Starts the program again, under a clock that is this far off.
    async fn under(mesh: &Mesh, library: &Path, program: &Program, seconds: i64) -> Self {
        let clock = Self(mesh.folder().join(program.name().replace(' ', "-")));
        clock.set(seconds);
        program.env("LD_PRELOAD", library.to_string_lossy());
        program.env("SHIFTED_CLOCK", clock.0.to_string_lossy());
        program.restart().await;
        clock
    }

    fn set(&self, seconds: i64) {
        use std::os::unix::fs::FileExt;

        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(&self.0);
        let written = file.and_then(|file| file.write_all_at(&seconds.to_ne_bytes(), 0));
        written.expect("the folder can be written");
    }
}

/// By how many hours a program's log is ahead of the test.
fn hours_ahead(program: &Program) -> i64 {
    let lines = program.logs().all();
    let stamp = lines.iter().rev().find_map(|line| line.split_once("\"timestamp\":\"").map(|(_, rest)| rest));
    let hour: i64 = stamp.and_then(|stamp| stamp.get(11..13)?.parse().ok()).expect("a time in the log");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let ahead = (hour - i64::try_from(now / 3600 % 24).expect("small")).rem_euclid(24);
    if ahead > 12 { ahead - 24 } else { ahead }
}

#[tokio::test]
async fn clocks_an_hour_apart_change_nothing() {
    let mesh = Mesh::start().slots(2).edge_args(["--task-timeout", "30s"]).await;
    let Some(library) = shim("clocks_an_hour_apart_change_nothing", mesh.folder()) else { return };
    let _clocks = (
        Clock::under(&mesh, &library, mesh.node(0), HOUR).await,
        Clock::under(&mesh, &library, mesh.node(1), -HOUR).await,
        Clock::under(&mesh, &library, mesh.orchestrator(0), 2 * HOUR).await,
    );
    mesh.is_whole().await;
    // A log line may have been written just before the hour was full.
    assert!((0..=1).contains(&hours_ahead(mesh.node(0))), "{}", hours_ahead(mesh.node(0)));
    assert!((-2..=-1).contains(&hours_ahead(mesh.node(1))), "{}", hours_ahead(mesh.node(1)));
    let answers = join_all((0..12).map(|_| async { mesh.ask("count [tokens=30] [delay=5]").rest().await }));
    for answer in answers.await {
        answer.assert_every_token_once(30);
        assert_eq!(answer.attempts(), 1, "{}", answer.summary());
    }
    // Longer than three heartbeats: nobody is evicted for what his clock says.
    let mut stream = mesh.ask("count [tokens=500] [delay=10]");
    stream.read_tokens(400).await;
    let status = mesh.status().await;
    assert_eq!(status["node_count"], 2, "{status}");
    for node in status["nodes"].as_array().expect("nodes") {
        let (now, heard) = (status["server_time"].as_u64(), node["last_heartbeat"].as_u64());
        let ago = now.expect("a time").saturating_sub(heard.expect("a time"));
        assert!(ago < 3_000, "all times of a status are of one clock: {status}");
    }
    let node = stream.node().await;
    mesh.node(&node).kill().await;
    let answer = stream.rest().await;
    answer.assert_every_token_once(500);
    assert_eq!(answer.attempts(), 2, "{}", answer.summary());
    assert!(answer.longest_gap() < Duration::from_secs(1), "a gap of {:?}", answer.longest_gap());
}

#[tokio::test]
async fn a_wall_clock_that_jumps_stops_no_answer_and_no_new_task() {
    let mesh = Mesh::start().nodes(1).slots(4).await;
    let Some(library) = shim("a_wall_clock_that_jumps", mesh.folder()) else { return };
    let clock = Clock::under(&mesh, &library, mesh.node(0), 0).await;
    mesh.is_whole().await;
    let mut stream = mesh.ask("count [tokens=300] [delay=10]");
    stream.read_tokens(10).await;
    for seconds in [HOUR, 0, -HOUR, 24 * HOUR] {
        clock.set(seconds);
        let ahead = seconds.signum();
        until("the agent to log under its new clock", || async {
            let hours = hours_ahead(mesh.node(0));
            // Its beats are not logged: a task is.
            let (status, answer) = mesh.task(&serde_json::json!({"prompt": "[tokens=2]"})).await;
            assert_eq!((status, &answer["attempts"]), (200, &serde_json::json!(1)), "{answer}");
            if hours.signum() == ahead || seconds % (24 * HOUR) == 0 { Ok(()) } else { Err(hours) }
        })
        .await;
    }
    let answer = stream.rest().await;
    answer.assert_every_token_once(300);
    let whole: String = (0..300).map(scripted).collect();
    assert_eq!((answer.content(), answer.attempts()), (whole, 1), "{}", answer.summary());
    mesh.is_quiet().await;
}
