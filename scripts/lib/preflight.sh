# shellcheck shell=bash disable=SC2034
# What can be known before anything is built or fetched, each shortfall in a sentence.

# Measured: a release build with its tests takes about 1.5 GB, the wheels with their archives 300 MB.
BUILD_MB=2000
REBUILD_MB=300
WHEELS_MB=400

check_tools() {
    # A fresh rustup is on the PATH only of shells that were opened after it.
    if ! command -v cargo >/dev/null 2>&1 && [ -x "${CARGO_HOME:-${HOME:-}/.cargo}/bin/cargo" ]; then
        PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
        export PATH
    fi
    command -v cargo >/dev/null 2>&1 ||
        die "cargo is not found: install Rust $(wanted_rust) or newer from https://rustup.rs, then open a new terminal."
    check_rust
    check_compiler
    command -v curl >/dev/null 2>&1 ||
        die "curl is not found: install it with the system's package manager (Debian and Ubuntu: sudo apt-get install curl)."
    command -v python3 >/dev/null 2>&1 ||
        die "python3 is not found: install it with the system's package manager (Debian and Ubuntu: sudo apt-get install python3; macOS: brew install python)."
    # macOS has a python3 that is only an offer to install one.
    python3 -c 'import json, socket, urllib.request' 2>/dev/null ||
        die "python3 is there but does not run: install a working one (Debian and Ubuntu: sudo apt-get install python3; macOS: brew install python)."
}

wanted_rust() { sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' "$ROOT/Cargo.toml" | head -n 1; }

check_rust() {
    local wanted have
    wanted=$(wanted_rust)
    have=$("${RUSTC:-rustc}" --version 2>/dev/null | sed -n 's/^rustc \([0-9]*\.[0-9]*\).*/\1/p')
    [ -n "$have" ] ||
        die "rustc does not say its version: install Rust $wanted or newer with rustup (https://rustup.rs), or run: rustup default stable"
    if [ "${have%%.*}" -lt "${wanted%%.*}" ] ||
        { [ "${have%%.*}" -eq "${wanted%%.*}" ] && [ "$(minor "$have")" -lt "$(minor "$wanted")" ]; }; then
        if command -v rustup >/dev/null 2>&1; then
            die "Rust $have is too old, this needs $wanted or newer: run \`rustup update stable\`."
        fi
        die "Rust $have is too old, this needs $wanted or newer: install it from https://rustup.rs (a system's package is often older)."
    fi
}

minor() {
    local rest=${1#*.}
    printf '%s\n' "${rest%%.*}"
}

# A compiler that is there but cannot link (no C library headers) fails in the middle of the build otherwise.
check_compiler() {
    local dir ok=no
    dir=$(mktemp -d "${TMPDIR:-/tmp}/echo-cc.XXXXXX") || die "no temporary file can be written in ${TMPDIR:-/tmp}: is the disk full?"
    printf '#include <stdlib.h>\nint main(void) { return EXIT_SUCCESS; }\n' >"$dir/probe.c"
    if cc -o "$dir/probe" "$dir/probe.c" >/dev/null 2>&1; then ok=yes; fi
    rm -rf "$dir"
    [ $ok = yes ] ||
        die "there is no working C compiler (cc), which Rust needs to link: install it (Debian and Ubuntu: sudo apt-get install build-essential; Fedora: sudo dnf install gcc; macOS: xcode-select --install)."
}

# The wheels of the embedded engine exist for these systems only.
check_embedded_platform() {
    local system
    system="$(uname -s) $(uname -m)"
    case $system in
    'Linux x86_64' | 'Linux aarch64' | 'Linux arm64')
        [ "$(python3 -c 'import platform; print(platform.libc_ver()[0])')" = glibc ] ||
            die "the embedded engine needs a Linux with glibc, which this one is not: install Ollama (https://ollama.com/download) instead."
        ;;
    'Darwin x86_64' | 'Darwin arm64') ;;
    *) die "there is no embedded engine for $system: install Ollama (https://ollama.com/download) instead." ;;
    esac
}

# The python that can run the embedded engine, in PYTHON.
check_embedded_python() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            PYTHON=$name
            return 0
        fi
    done
    warn "error: python3 is $(python3 -c 'import platform; print(platform.python_version())'), and the embedded engine needs 3.10 or newer: install one (macOS: brew install python), or install Ollama (https://ollama.com/download)."
    return 1
}

# Megabytes free where PATH is or will be.
free_mb() {
    local at=$1
    while [ ! -d "$at" ]; do at=$(dirname "$at"); done
    df -Pk "$at" | awk 'NR == 2 { print int($4 / 1024) }'
}

need_disk() {
    local what=$1 at=$2 mb=$3 have
    have=$(free_mb "$at")
    [ -z "$have" ] || [ "$have" -ge "$mb" ] ||
        die "$what needs about $mb MB in $at, and only $have MB are free there: make room, or choose another place with $4."
}

check_disk() {
    local build=$BUILD_MB
    [ ! -x "$BIN/echo-edge" ] || build=$REBUILD_MB
    need_disk "the build" "$TARGET" "$build" CARGO_TARGET_DIR
    if [ "$1" = embedded ]; then need_disk "the engine with its model" "$ECHO_CACHE_DIR" "$WHEELS_MB" ECHO_CACHE_DIR; fi
}

# Where cargo puts what it builds.
locate_target() {
    TARGET=$(cargo metadata --manifest-path "$ROOT/Cargo.toml" --no-deps --format-version 1 --offline 2>/dev/null |
        json 'print(it["target_directory"])') || TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
    BIN=$TARGET/release
}

# check_ports NAME ADDRESS…: all of them are looked at, so that one answer tells everything.
check_ports() {
    local name address state port free other bad=0
    while read -r name address state free; do
        port=${address##*:}
        case $name in ECHO_ENGINE_*) free=http://$free ;; esac
        other="$name=$free $(print_command start-phase1.sh)"
        case $state in
        free) continue ;;
        taken) warn "error: $address ($name) is taken by $(port_owner "$port"): stop that, or choose another port: $other" ;;
        twice) warn "error: $address ($name) is wanted by two parts of this mesh: choose another port: $other" ;;
        denied) warn "error: $address ($name) may not be opened by this user: choose a port above 1023: $other" ;;
        *) warn "error: $address ($name) is no address of this machine: choose 127.0.0.1:$port." ;;
        esac
        bad=1
    done <<PORTS
$(port_states "$@")
PORTS
    [ $bad = 0 ] || exit 1
}

# NAME ADDRESS STATE FREE for each pair, FREE being an address like it that is free.
port_states() {
    python3 - "$@" <<'PY'
import errno, socket, sys

def look(host, port):
    wild = host in ("", "*", "0.0.0.0", "[::]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    name = host.strip("[]").replace("*", "")
    near = ("::1" if family == socket.AF_INET6 else "127.0.0.1") if wild else name
    try:
        # Some systems let one bind beside a listener on every address, so ask first.
        socket.create_connection((near, port), timeout=2).close()
        return "taken"
    except OSError:
        pass
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((name, port))
            s.listen()
        except PermissionError:
            return "denied"
        except OSError as error:
            return "taken" if error.errno == errno.EADDRINUSE else "absent"
    return "free"

pairs = list(zip(sys.argv[1::2], sys.argv[2::2]))
wanted = {int(address.rpartition(":")[2]) for _, address in pairs}
seen = set()
for name, address in pairs:
    host, _, port = address.rpartition(":")
    port = int(port)
    state = "twice" if port in seen else look(host, port)
    seen.add(port)
    other = ""
    if state != "free":
        other = next((p for p in range(max(port, 1023) + 1, 65536) if p not in wanted and look(host, p) == "free"), port)
        wanted.add(other)
    print(name, address, state, "%s:%s" % (host, other) if other else "-")
PY
}

# Who listens on PORT, as far as this user may see.
port_owner() {
    local found=
    if command -v lsof >/dev/null 2>&1; then
        found=$(lsof -nP -iTCP:"$1" -sTCP:LISTEN -Fpc 2>/dev/null | awk '
            /^p/ { pid = substr($0, 2) }
            /^c/ { print substr($0, 2) " (pid " pid ")"; exit }')
    fi
    if [ -z "$found" ] && command -v ss >/dev/null 2>&1; then
        found=$(ss -ltnp "sport = :$1" 2>/dev/null |
            sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/\1 (pid \2)/p' | head -n 1)
    fi
    if [ -n "$found" ]; then
        printf '%s\n' "$found"
    elif command -v lsof >/dev/null 2>&1 || command -v ss >/dev/null 2>&1; then
        printf 'a process of another user (sudo lsof -nP -iTCP:%s -sTCP:LISTEN tells which)\n' "$1"
    else
        printf 'a process that cannot be named here, as neither lsof nor ss is installed\n'
    fi
}
