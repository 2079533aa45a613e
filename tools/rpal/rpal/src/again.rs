// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests that end their process, or change what is all threads'.

use std::env;
use std::process::{Command, Output};

/// Set in the process that [`test`] starts.
const MARK: &str = "RPAL_TEST_AGAIN";

/// Is this the process that such a test has to itself?
pub(crate) fn here() -> bool {
    env::var_os(MARK).is_some()
}

/// Runs the test of that path again, alone in a process, and returns how that ended.
pub(crate) fn test(path: &str) -> Output {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", path, "--nocapture"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("running 1 test"), "no test {path}: {said}");
    output
}
