#!/usr/bin/env python3
"""Runs all tests of the workspace, several test programs side by side, as they have been built by `cargo build`.

Tests with real processes mostly wait: one program after the other leaves more than half of two cores idle. What a
program says is shown when it has ended, so that what a failed test has to say stands together; the beginning of that
goes to a file, too, for who sees only the end of a long log. Ends with 1 if one failed. It takes what `cargo test`
would run, but for examples in the documentation, of which there are none.
"""

import argparse
import json
import os
import re
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
# Of what a failed test says: the panic stands first, the logs of what it had started follow.
SHOWN = 1500
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
        """Shows what it said; gives its failures, if there are any."""
        begun = time.monotonic()
        # No pipe: its end would be waited for, and what a failed test has left behind may hold it.
        with tempfile.TemporaryFile() as said:
            status = subprocess.run([self.path], cwd=self.folder, stdout=said, stderr=subprocess.STDOUT).returncode
            said.seek(0)
            said = said.read()
        with SAY:
            print(f"\n     Ran {self.source} in {time.monotonic() - begun:.0f} s, status {status}", flush=True)
            sys.stdout.buffer.write(said)
            sys.stdout.flush()
        return self.failures(said.decode(errors="replace"), status) if status else ""

    def failures(self, said, status):
        """The beginning of what each failed test said."""
        tests = re.split(r"^(?=---- .* stdout ----$)", said, flags=re.M)[1:]
        return "".join(f"{test[:SHOWN].rstrip()}\n" for test in tests) or f"---- {self.source}: status {status}\n"


def programs():
    built = subprocess.run(BUILD, stdout=subprocess.PIPE)
    if built.returncode:
        sys.exit("The tests could not be built; the reason is above.")
    messages = [json.loads(line) for line in built.stdout.splitlines() if line.startswith(b"{")]
    tests = [it for it in messages if it.get("executable") and it["profile"]["test"]]
    return sorted((Program(it) for it in tests), key=Program.place)


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--failures", metavar="FILE", help="where the failures go, too")
    options = options.parse_args()
    tests = programs()
    if not tests:
        sys.exit("There are no tests.")
    with ThreadPoolExecutor(AT_ONCE) as workers:
        said = list(workers.map(Program.run, tests))
    failed = [test.source for test, failures in zip(tests, said) if failures]
    if options.failures:
        with open(options.failures, "w", encoding="utf-8") as file:
            file.write("".join(said))
    print(f"\n{len(tests)} test programs, {len(failed)} failed{': ' if failed else ''}{', '.join(failed)}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
