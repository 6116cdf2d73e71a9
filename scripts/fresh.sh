#!/usr/bin/env bash
# What a newcomer meets: a clean clone, an empty HOME and empty caches, and the two commands, timed part by part.
# Takes free ports, so it runs beside a mesh.
#
#   scripts/fresh.sh           everything from nothing; the toolchain itself is the one that is installed
#   scripts/fresh.sh --short   for CI: what cargo has fetched and built is shared, test.sh is left out
set -eu

# shellcheck source=lib/settings.sh
. "$(dirname "$0")/lib/settings.sh"
# shellcheck source=lib/steps.sh
. "$ROOT/scripts/lib/steps.sh"

SHORT=no

main() {
    case ${1:-} in
    '') ;;
    --short) SHORT=yes ;;
    *) die "unknown option $1: there is only --short." ;;
    esac
    git -C "$ROOT" rev-parse --verify --quiet HEAD >/dev/null || die "nothing is committed yet, so there is nothing to clone."
    [ -z "$(git -C "$ROOT" status --porcelain)" ] || say "Note: what is not committed is not part of the clone."
    WORK=$(mktemp -d "${TMPDIR:-/tmp}/echo-fresh.XXXXXX")
    CLONE=$WORK/echo-system
    trap clean_up EXIT
    trap 'exit 130' INT TERM
    step "clone" git clone --quiet "$ROOT" "$CLONE"
    [ $SHORT = no ] || keep_times
    be_new_here
    cd "$CLONE"
    step "start-phase1.sh" stamped ./scripts/start-phase1.sh
    step "a real answer" show_stream
    step "test-task.sh" ./scripts/test-task.sh
    step "start-phase1.sh, again" ./scripts/start-phase1.sh
    step "stop.sh" ./scripts/stop.sh
    [ $SHORT = yes ] || step "test.sh" stamped ./scripts/test.sh
    print_times
}

clean_up() {
    local status=$?
    trap - EXIT
    if [ -x "$CLONE/scripts/stop.sh" ]; then "$CLONE/scripts/stop.sh" >/dev/null 2>&1 || true; fi
    cd /
    # Go leaves what it has fetched write-protected.
    chmod -R u+w "$WORK" 2>/dev/null || true
    rm -rf "$WORK"
    [ $status = 0 ] || print_times
    exit $status
}

# What was built from these files a moment ago is not built again: cargo goes by their times.
keep_times() {
    if [ -n "$(git -C "$ROOT" status --porcelain)" ]; then return; fi
    git -C "$CLONE" ls-files -z | python3 -c '
import os, sys
old, new = sys.argv[1:]
for name in sys.stdin.buffer.read().split(b"\0")[:-1]:
    times = os.lstat(os.path.join(os.fsencode(old), name))
    os.utime(os.path.join(os.fsencode(new), name), ns=(times.st_atime_ns, times.st_mtime_ns), follow_symlinks=False)
' "$ROOT" "$CLONE"
}

# The environment of somebody who has only installed the toolchain. Settings of the network are kept.
be_new_here() {
    local name home=${HOME:-} cargo_home
    cargo_home=${CARGO_HOME:-$home/.cargo}
    for name in $(compgen -e); do
        case $name in
        ECHO_PYPI_INDEX) ;;
        ECHO_* | XDG_* | GOPATH | GOCACHE | GOMODCACHE | GOBIN | PIP_CACHE_DIR | PYTHONPATH) unset "$name" ;;
        esac
    done
    # A python3 that is a shim looks for its real self below HOME, and so does cargo for its toolchain.
    PATH=$(dirname "$(python3 -c 'import sys; print(sys.executable)')"):$PATH
    export PATH RUSTUP_HOME="${RUSTUP_HOME:-$home/.rustup}" HOME="$WORK/home"
    mkdir -p "$HOME"
    if [ $SHORT = yes ]; then
        export CARGO_HOME="$cargo_home" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$ROOT/target}"
    else
        export CARGO_HOME="$HOME/.cargo"
        unset CARGO_TARGET_DIR
        mkdir -p "$CARGO_HOME"
        for name in config.toml config; do
            if [ -r "$cargo_home/$name" ]; then cp "$cargo_home/$name" "$CARGO_HOME/$name"; fi
        done
        if [ -r "$home/.config/go/env" ]; then export GOENV="${GOENV:-$home/.config/go/env}"; fi
    fi
    if [ -r "$home/.config/pip/pip.conf" ]; then export PIP_CONFIG_FILE="${PIP_CONFIG_FILE:-$home/.config/pip/pip.conf}"; fi
    take_free_ports
    # With Ollama the first answer would wait for a download of gigabytes.
    export ECHO_ENGINE_MODE=embedded
}

take_free_ports() {
    local name
    # shellcheck disable=SC2046
    set -- $(python3 "$ROOT/scripts/free-ports.py" 7)
    for name in ECHO_EDGE_LISTEN ECHO_NATS_LISTEN ECHO_NATS_MONITOR ECHO_AGENT_A_LISTEN ECHO_AGENT_B_LISTEN; do
        export "$name=127.0.0.1:$1"
        shift
    done
    export ECHO_ENGINE_A_URL="http://127.0.0.1:$1" ECHO_ENGINE_B_URL="http://127.0.0.1:$2"
}

# Each line with the seconds since the command began. Fails as the command does.
stamped() {
    set -o pipefail
    "$@" 2>&1 | python3 -u -c '
import sys, time
begun = time.monotonic()
for line in sys.stdin.buffer:
    sys.stdout.write("%7.1f  %s" % (time.monotonic() - begun, line.decode("utf-8", "replace")))
    sys.stdout.flush()'
}

show_stream() {
    curl -fsS -N --noproxy '*' --max-time 120 "http://$ECHO_EDGE_LISTEN/task/stream" -H "Content-Type: application/json" \
        -d '{"prompt": "What is the capital of France?", "options": {"num_predict": 64}}' >"$WORK/answer" || return 1
    cat "$WORK/answer"
    python3 - "$WORK/answer" <<'PY'
import json, sys

events = [json.loads(line[5:]) for line in open(sys.argv[1], encoding="utf-8") if line.startswith("data:")]
text = "".join(event.get("token", "") for event in events)
last = events[-1] if events else {}
print("As text: " + text)
sys.exit(0 if text.strip() and last.get("done") and last.get("success") is not False else "that is no answer")
PY
}

main "$@"
