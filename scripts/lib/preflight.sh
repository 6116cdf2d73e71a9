# shellcheck shell=bash
# What a build needs, each shortfall in a sentence. What a mesh needs is checked by `echo-mesh up`.

# Measured: a release build with its tests takes about 1.5 GB, the wheels with their archives 300 MB.
BUILD_MB=2000
REBUILD_MB=300

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

# What the tests and the benchmark use beside the mesh itself.
check_python() {
    # macOS has a python3 that is only an offer to install one.
    python3 -c 'import json, socket, urllib.request' 2>/dev/null ||
        die "python3 is not found, or does not run: install a working one (Debian and Ubuntu: sudo apt-get install python3; macOS: brew install python)."
}

# The python that can run the embedded engine, in PYTHON.
check_embedded_python() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            # shellcheck disable=SC2034
            PYTHON=$name
            return 0
        fi
    done
    warn "no Python of 3.10 or newer was found."
    return 1
}

# Megabytes free where PATH is or will be.
free_mb() {
    local at=$1
    while [ ! -d "$at" ]; do at=$(dirname "$at"); done
    df -Pk "$at" | awk 'NR == 2 { print int($4 / 1024) }'
}

# Room for a build, in the folder that locate_target has found.
check_disk() {
    local need=$BUILD_MB have
    [ ! -x "$BIN/echo-mesh" ] || need=$REBUILD_MB
    have=$(free_mb "$TARGET")
    [ -z "$have" ] || [ "$have" -ge "$need" ] ||
        die "the build needs about $need MB in $TARGET, and only $have MB are free there: make room, or choose another place with CARGO_TARGET_DIR."
}
