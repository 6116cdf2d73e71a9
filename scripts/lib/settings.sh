# shellcheck shell=bash
# What all scripts share: where the checkout is, how they speak, and where the mesh of this checkout lives on disk. All
# other settings are echo-mesh's own: `echo-mesh up --help`.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }

# Ends the script with sentences for the person who ran it.
die() {
    warn "error: $*"
    exit 1
}

# An empty setting is an unset one, for us and for the programs that inherit it.
drop_empty_settings() {
    local name
    for name in $(compgen -e ECHO_); do
        [ -n "${!name}" ] || unset "$name"
    done
}

locate_cache() {
    drop_empty_settings
    if [ -z "${ECHO_CACHE_DIR:-}" ]; then
        [ -n "${HOME:-}" ] || die "HOME is not set: set it, or set ECHO_CACHE_DIR to a folder that may be written."
        ECHO_CACHE_DIR=$HOME/.cache/echo-system
    fi
    case $ECHO_CACHE_DIR in /*) ;; *) ECHO_CACHE_DIR=$PWD/$ECHO_CACHE_DIR ;; esac
    export ECHO_CACHE_DIR
}

# The mesh of this checkout, which is another than that of an installed echo-mesh.
locate_mesh() {
    local from=.
    locate_cache
    [ "$PWD" = "$ROOT" ] || from=$ROOT
    # How a person gets back to this mesh: only what differs from the default is typed.
    ECHO_SCRIPTS="${ECHO_RUN_DIR:+ECHO_RUN_DIR=$ECHO_RUN_DIR }$from/scripts/"
    export ECHO_SCRIPTS ECHO_RUN_DIR="${ECHO_RUN_DIR:-$ROOT/.run}" ECHO_LOG_DIR="${ECHO_LOG_DIR:-$ROOT/logs}"
    export ECHO_NATS_CONF="${ECHO_NATS_CONF:-$ROOT/nats.conf}"
}

# Where cargo puts what it builds.
locate_target() {
    TARGET=$(cargo metadata --manifest-path "$ROOT/Cargo.toml" --no-deps --format-version 1 --offline 2>/dev/null |
        sed -n 's/.*"target_directory": *"\([^"]*\)".*/\1/p') || true
    TARGET=${TARGET:-${CARGO_TARGET_DIR:-$ROOT/target}}
    # shellcheck disable=SC2034
    BIN=$TARGET/release
}

# run_built COMMAND…: the program of this checkout, as an earlier start has built it.
run_built() {
    locate_mesh
    locate_target
    [ -x "$BIN/echo-mesh" ] || die "echo-mesh is not built: ${ECHO_SCRIPTS}start-phase1.sh builds and starts it."
    exec "$BIN/echo-mesh" "$@"
}
