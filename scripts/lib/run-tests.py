#!/usr/bin/env python3
"""Runs all tests of the workspace, several test programs side by side, as they have been built by `cargo build`.

Tests with real processes mostly wait: one program after the other leaves more than half of two cores idle. What a
program says is shown when it has ended, so that what a failed test has to say stands together. Ends with 1 if one
failed. It takes what `cargo test` would run, but for examples in the documentation, of which there are none.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

BUILD = ["cargo", "test", "--release", "--locked", "--workspace", "--lib", "--bins", "--tests", "--no-run", "--message-format",
    "json-render-diagnostics"]
# What takes longest begins first; programs that are not named here come after these.
LONGEST_FIRST = ["mesh", "dialects", "page", "program", "echo_edge", "echo_orchestrator"]
AT_ONCE = 2
SAY = threading.Lock()


class Program:
    """A test program: what `cargo test` calls it, and the folder it runs in."""

    def __init__(self, message):
        target, self.path = message["target"], message["executable"]
        self.name, self.folder = target["name"], os.path.dirname(message["manifest_path"])
        self.source = os.path.relpath(target["src_path"])

    def place(self):
        known = self.name in LONGEST_FIRST
        return LONGEST_FIRST.index(self.name) if known else len(LONGEST_FIRST), self.source

    def run(self):
        """Shows what it said; whether all its tests passed."""
        begun = time.monotonic()
        # No pipe: its end would be waited for, and what a failed test has left behind may hold it.
        with tempfile.TemporaryFile() as said:
            status = subprocess.run([self.path], cwd=self.folder, stdout=said, stderr=subprocess.STDOUT).returncode
            said.seek(0)
            with SAY:
                print(f"\n     Ran {self.source} in {time.monotonic() - begun:.0f} s, status {status}", flush=True)
                sys.stdout.buffer.write(said.read())
                sys.stdout.flush()
        return status == 0


def programs():
    built = subprocess.run(BUILD, stdout=subprocess.PIPE)
    if built.returncode:
        sys.exit("The tests could not be built; the reason is above.")
    messages = [json.loads(line) for line in built.stdout.splitlines() if line.startswith(b"{")]
    tests = [it for it in messages if it.get("executable") and it["profile"]["test"]]
    return sorted((Program(it) for it in tests), key=Program.place)


def main():
    tests = programs()
    if not tests:
        sys.exit("There are no tests.")
    with ThreadPoolExecutor(AT_ONCE) as workers:
        passed = list(workers.map(Program.run, tests))
    failed = [test.source for test, well in zip(tests, passed) if not well]
    print(f"\n{len(tests)} test programs, {len(failed)} failed{': ' if failed else ''}{', '.join(failed)}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
