#!/usr/bin/env bash
# Measures what the mesh costs, side by side with other systems over the same engines: builds in release, runs
# echo-bench. Needs no running mesh and disturbs none. docs/performance.md says what is measured and how to read it.
set -eu

# shellcheck source=lib/settings.sh
. "$(dirname "$0")/lib/settings.sh"
# shellcheck source=lib/preflight.sh
. "$ROOT/scripts/lib/preflight.sh"

INSTALL=no
AGAINST=

main() {
    local arg
    local -a args=()
    while [ $# -gt 0 ]; do
        arg=$1
        shift
        case $arg in
        --install) INSTALL=yes ;;
        --against)
            [ $# -gt 0 ] || die "--against needs a folder."
            AGAINST=$1
            shift
            ;;
        --against=*) AGAINST=${arg#*=} ;;
        -h | --help)
            usage
            return 0
            ;;
        *) args+=("$arg") ;;
        esac
    done
    locate_cache
    check_tools
    check_python
    cd "$ROOT"
    locate_target
    cargo build --release --locked --workspace --bins
    [ $INSTALL = no ] || install_all
    if [ -n "$AGAINST" ]; then
        locate_other
        args+=(--against "$AGAINST")
    fi
    exec "$BIN/echo-bench" --out "$TARGET/bench" ${args[@]+"${args[@]}"}
}

# The programs of another state: built if the folder is a checkout, in a target folder of its own.
locate_other() {
    AGAINST=$(cd "$AGAINST" && pwd) || die "there is no folder $AGAINST."
    if [ -f "$AGAINST/Cargo.toml" ]; then
        (cd "$AGAINST" && CARGO_TARGET_DIR=$AGAINST/target cargo build --release --locked --workspace --bins)
        AGAINST=$AGAINST/target/release
    fi
    [ -x "$AGAINST/echo-mesh" ] || [ -x "$AGAINST/echo-edge" ] || die "there is no echo-mesh in $AGAINST."
}

usage() {
    cat <<'TEXT'
scripts/bench.sh                  the short form: all systems that are installed, ten minutes
scripts/bench.sh --full           more repetitions, each longer
scripts/bench.sh --smoke          a minute that proves that it runs and that no token is lost; not for figures
  --systems NAMES                 only these, with commas: nginx, haproxy, vllm-router, sglang-router, litellm, mesh,
                                  mesh-keys, mesh-openai (direct, without any system, is always measured)
  --workloads LETTERS             only these, with commas: a b c d e f g
  --repetitions N                 of the workloads a to d
  --hostile N                     only so many rounds of streams alone and beside half-open connections and slow bodies,
                                  on mesh or on those of --systems
  --against DIR                   another checkout, or a folder with its programs: both states in turns, and a table of
                                  what changed, pair by pair; with --systems mesh and --repetitions 7 it is quick
  --out FOLDER                    for bench.json, bench.md and bench.svg; otherwise bench in cargo's target folder
  --install                       installs what is missing: vllm-router, sglang-router and litellm from PyPI, each in
                                  a folder of its own under ECHO_CACHE_DIR; nginx and haproxy with apt-get, as root
A system that is not installed is left out, and the report says so.
TEXT
}

install_all() {
    local name package folder
    for name in nginx haproxy; do
        have_server "$name" || install_server "$name"
    done
    check_embedded_python || return 0
    while IFS=$'\t' read -r name package folder; do
        [ -e "$folder/complete" ] || install_package "$name" "$package" "$folder"
    done <<EOF
$("$BIN/echo-bench" --packages)
EOF
}

have_server() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }

# What cannot be installed is left out by the benchmark, with a sentence.
install_server() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        say "Installing $1 …"
        # The distribution starts what it installs; here nobody asked for a running server.
        RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "$1" >/dev/null 2>&1 ||
            { apt-get update -qq && RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "$1" >/dev/null; } ||
            warn "$1 could not be installed with apt-get."
    else
        warn "$1 is not installed: install it with the system's package manager."
    fi
}

install_package() {
    say "Installing $2 into $3, once …"
    rm -rf "$3"
    mkdir -p "$(dirname "$3")"
    if "$PYTHON" -m venv "$3" && "$3/bin/python" -m pip install --quiet --disable-pip-version-check "$2"; then
        touch "$3/complete"
    else
        warn "$1 could not be installed, see above."
    fi
}

main "$@"
