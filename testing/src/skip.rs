//! Tests that need a tool which is not everywhere: a skip is written down, never silent.

use std::io::Write;

/// Notes that a test was skipped, for the test script to count and to list.
pub fn skip(test: &str, reason: &str) {
    assert!(
        std::env::var("TEST_REQUIRE").as_deref() != Ok("all"),
        "{test} would be skipped, and TEST_REQUIRE=all forbids it: {reason}"
    );
    note(&format!("{test}: {reason}"));
}

/// Notes what cannot be had on this machine, which fails nobody.
pub fn machine_lacks(what: &str) {
    note(&format!("machine: {what}"));
}

fn note(line: &str) {
    eprintln!("skipped {line}");
    let Some(path) = std::env::var_os("ECHO_TEST_SKIPS") else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let written = file.and_then(|mut file| writeln!(file, "{line}"));
    written.expect("the file that ECHO_TEST_SKIPS names can be written");
}
