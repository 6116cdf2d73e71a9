# shellcheck shell=bash
# What a mesh is made of: the settings (ECHO_…), their defaults, and the record of a start.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# Everything that a start may be told, and that its record keeps for stop.sh and test-task.sh.
SETTINGS="ECHO_EDGE_LISTEN ECHO_NATS_LISTEN ECHO_NATS_MONITOR ECHO_AGENT_A_LISTEN ECHO_AGENT_B_LISTEN
ECHO_ENGINE_A_URL ECHO_ENGINE_B_URL ECHO_ENGINE_MODE ECHO_MODEL ECHO_SLOTS ECHO_LOG_DIR"

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
    for name in $SETTINGS ECHO_RUN_DIR ECHO_CACHE_DIR ECHO_PULL ECHO_NATS_CONF ECHO_NATS_SERVER ECHO_SECRET_FILE; do
        [ -n "${!name:-}" ] || unset "$name"
    done
}

absolute() {
    case $1 in
    /*) printf '%s\n' "$1" ;;
    *) printf '%s/%s\n' "$PWD" "$1" ;;
    esac
}

# Where the mesh lives on disk. The rest of the settings may come from the record that lies there.
locate_mesh() {
    drop_empty_settings
    ECHO_RUN_DIR=$(absolute "${ECHO_RUN_DIR:-$ROOT/.run}")
    RECORD=$ECHO_RUN_DIR/mesh.env
    if [ -z "${ECHO_CACHE_DIR:-}" ]; then
        [ -n "${HOME:-}" ] || die "HOME is not set: set it, or set ECHO_CACHE_DIR to a folder that may be written."
        ECHO_CACHE_DIR=$HOME/.cache/echo-system
    fi
    ECHO_CACHE_DIR=$(absolute "$ECHO_CACHE_DIR")
    export ECHO_CACHE_DIR
}

apply_defaults() {
    : "${ECHO_EDGE_LISTEN:=127.0.0.1:8080}"
    : "${ECHO_AGENT_A_LISTEN:=127.0.0.1:9001}"
    : "${ECHO_AGENT_B_LISTEN:=127.0.0.1:9002}"
    : "${ECHO_ENGINE_A_URL:=http://127.0.0.1:11434}"
    : "${ECHO_ENGINE_B_URL:=http://127.0.0.1:11435}"
    : "${ECHO_ENGINE_MODE:=auto}"
    : "${ECHO_LOG_DIR:=$ROOT/logs}"
    : "${ECHO_NATS_CONF:=$ROOT/nats.conf}"
    : "${ECHO_NATS_LISTEN:=$(conf_host):$(conf_value port 4222)}"
    : "${ECHO_NATS_MONITOR:=$(conf_monitor)}"
    ECHO_LOG_DIR=$(absolute "$ECHO_LOG_DIR")
    ECHO_NATS_CONF=$(absolute "$ECHO_NATS_CONF")
    ECHO_ENGINE_A_URL=${ECHO_ENGINE_A_URL%/}
    ECHO_ENGINE_B_URL=${ECHO_ENGINE_B_URL%/}
}

# The value of a top-level `key: value` of nats.conf, so that an edited file is obeyed.
conf_value() {
    local found=
    [ ! -r "$ECHO_NATS_CONF" ] ||
        found=$(sed -n "s/^$1[[:space:]]*[:=][[:space:]]*\"\{0,1\}\([^\"#[:space:]]*\).*/\1/p" "$ECHO_NATS_CONF" | head -n 1)
    printf '%s\n' "${found:-$2}"
}

conf_host() { conf_value host 127.0.0.1; }

conf_monitor() {
    local http
    http=$(conf_value http 127.0.0.1:8222)
    case $http in
    *:*) printf '%s\n' "$http" ;;
    *) printf '%s:%s\n' "$(conf_host)" "$http" ;;
    esac
}

# Where a client on this machine reaches what listens there: a wildcard is no destination.
reach() {
    case $1 in
    0.0.0.0:* | '*':* | :*) printf '127.0.0.1:%s\n' "${1##*:}" ;;
    '[::]':*) printf '[::1]:%s\n' "${1##*:}" ;;
    *) printf '%s\n' "$1" ;;
    esac
}

check_listen() {
    local name=$1 value=$2 port
    port=${value##*:}
    case $value in
    *:*) ;;
    *) die "$name=$value has no port: write it as 127.0.0.1:8080." ;;
    esac
    case $port in
    '' | *[!0-9]* | ??????*) die "$name=$value has no usable port: write it as 127.0.0.1:8080." ;;
    esac
    if [ "$port" -lt 1 ] || [ "$port" -gt 65535 ]; then die "$name=$value: a port is a number from 1 to 65535."; fi
}

check_settings() {
    check_listen ECHO_EDGE_LISTEN "$ECHO_EDGE_LISTEN"
    check_listen ECHO_NATS_LISTEN "$ECHO_NATS_LISTEN"
    check_listen ECHO_NATS_MONITOR "$ECHO_NATS_MONITOR"
    check_listen ECHO_AGENT_A_LISTEN "$ECHO_AGENT_A_LISTEN"
    check_listen ECHO_AGENT_B_LISTEN "$ECHO_AGENT_B_LISTEN"
    local name
    for name in ECHO_ENGINE_A_URL ECHO_ENGINE_B_URL; do
        case ${!name} in
        http://?* | https://?*) ;;
        *) die "$name=${!name} is not a URL: write it as http://127.0.0.1:11434." ;;
        esac
    done
    case ${ECHO_SLOTS:-1} in
    *[!0-9]* | 0) die "ECHO_SLOTS=$ECHO_SLOTS: the number of answers that a node gives at a time is at least 1." ;;
    esac
    case $ECHO_ENGINE_MODE in
    auto | ollama | openai | embedded) ;;
    *) die "ECHO_ENGINE_MODE=$ECHO_ENGINE_MODE is not known: use auto, ollama, openai or embedded." ;;
    esac
}

# Appends KEY=VALUE. Values are read back as text, never evaluated.
record() {
    case $2 in
    *'
'*) die "$1 holds a line break: choose another value." ;;
    esac
    printf '%s=%s\n' "$1" "$2" >>"$RECORD"
}

write_record() {
    local name
    mkdir -p "$ECHO_RUN_DIR"
    printf '# A start of the mesh, for stop.sh and test-task.sh.\n' >"$RECORD"
    for name in $SETTINGS; do
        [ -z "${!name:-}" ] || record "$name" "${!name}"
    done
}

# Reads the record of the start that is running. What the caller set himself stays.
read_record() {
    local line key
    [ -r "$RECORD" ] || return 1
    while IFS= read -r line || [ -n "$line" ]; do
        key=${line%%=*}
        case " MESH_MODEL MESH_ENGINES MESH_SINCE $(printf '%s' "$SETTINGS" | tr '\n' ' ') " in
        *" $key "*) [ -n "${!key:-}" ] || printf -v "$key" '%s' "${line#*=}" ;;
        esac
    done <"$RECORD"
}

print_command() {
    # The way back to this mesh, for a person to type: only what differs from the default is named.
    local from=.
    [ "$PWD" = "$ROOT" ] || from=$ROOT
    [ "$ECHO_RUN_DIR" = "$ROOT/.run" ] || printf 'ECHO_RUN_DIR=%s ' "$ECHO_RUN_DIR"
    printf '%s/scripts/%s\n' "$from" "$1"
}
