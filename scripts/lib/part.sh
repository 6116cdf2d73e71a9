# shellcheck shell=bash disable=SC2034
# The processes of a mesh: each is started in a session of its own, remembered by pid and start time, and
# stopped only where both still match.

# From the clients' side to the engines: nobody loses what the next one still needs.
STOP_ORDER="edge agent-b agent-a orchestrator broker engine-b engine-a"
# What this start has started, in that order.
STARTED=
# A drain is bounded by the programs themselves (30 s by default); this only ends what does not keep to it.
STOP_SECONDS=${ECHO_STOP_SECONDS:-40}
# What a dead part has left serves nobody.
ORPHAN_SECONDS=5

# setsid(1) and nohup(1) differ between systems; python3 does not. A background job of a script has SIGINT
# ignored, which a program must not inherit.
DETACH='
import os, signal, sys
os.setsid()
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
try:
    os.execvp(sys.argv[1], sys.argv[1:])
except OSError as error:
    sys.exit("cannot run %s: %s" % (sys.argv[1], error.strerror))
'

# One line that no other process will ever have, or failure where PID is gone or a zombie.
identity() {
    local pid=$1 text
    if [ -r /proc/self/stat ]; then
        text=$(cat "/proc/$pid/stat" 2>/dev/null) || return 1
        # The name in brackets may hold anything; what follows it may not.
        text=${text##*) }
        # shellcheck disable=SC2086
        set -- $text
        case ${1:-Z} in Z | X) return 1 ;; esac
        printf '%s %s\n' "${20}" "$(boot)"
    else
        text=$(TZ=UTC LC_ALL=C ps -o stat= -o lstart= -p "$pid" 2>/dev/null) || return 1
        # shellcheck disable=SC2086
        set -- $text
        case ${1:-Z} in Z*) return 1 ;; esac
        shift
        printf '%s\n' "$*"
    fi
}

# This start of the machine, where it can be told; else nothing.
boot() { cat /proc/sys/kernel/random/boot_id 2>/dev/null || true; }

pid_file() { printf '%s/%s.pid\n' "$ECHO_RUN_DIR" "$1"; }

# The pid of a part that is alive and is the one we started.
part_pid() {
    local pid was now
    { read -r pid && IFS= read -r was; } 2>/dev/null <"$(pid_file "$1")" || return 1
    case $pid in '' | *[!0-9]*) return 1 ;; esac
    now=$(identity "$pid") || return 1
    [ "$now" = "$was" ] || return 1
    printf '%s\n' "$pid"
}

# start_part NAME COMMAND…: in the background, its output in NAME.log (the log before it in NAME.log.1).
start_part() {
    local name=$1 log=$ECHO_LOG_DIR/$1.log pid who
    shift
    # What an earlier start's part has left must end before its pid is forgotten.
    stop_part "$name" >/dev/null || true
    [ ! -s "$log" ] || mv -f "$log" "$log.1"
    WRITING=yes
    python3 -c "$DETACH" "$@" </dev/null >>"$log" 2>&1 &
    pid=$!
    who=$(identity "$pid") || who=ended
    printf '%s\n%s\n' "$pid" "$who" >"$(pid_file "$name")"
    # Else bash comments on its death in the middle of our own words.
    disown "$pid" 2>/dev/null || true
    STARTED="$name $STARTED"
    WRITING=
    [ -z "${PENDING:-}" ] || interrupted "$PENDING"
}

# The name of a part of this start that has died.
dead_part() {
    local name
    for name in $STARTED; do
        part_pid "$name" >/dev/null || {
            printf '%s\n' "$name"
            return 0
        }
    done
    return 1
}

show_log() {
    local log=$ECHO_LOG_DIR/$1.log
    if [ -s "$log" ]; then
        warn "The last lines of $log:"
        tail -n 20 "$log" | sed 's/^/    /' >&2
    else
        warn "Its log, $log, is empty."
    fi
}

# await WHAT SECONDS CHECK [ARGUMENT…]: asks CHECK until it holds. CHECK says what it saw in SEEN.
await() {
    local what=$1 limit=$2 begun=$SECONDS dead
    shift 2
    SEEN="nothing yet"
    while :; do
        if dead=$(dead_part); then
            warn "error: $dead ended while this start waited for $what."
            show_log "$dead"
            exit 1
        fi
        if "$@"; then return 0; fi
        if [ $((SECONDS - begun)) -ge "$limit" ]; then
            warn "error: gave up after $limit s of waiting for $what; last seen: $SEEN."
            [ -z "${BLAME:-}" ] || show_log "$BLAME"
            exit 1
        fi
        sleep 0.15
    done
}

# A long command in a process group of its own: bash acts on a signal only between commands, and the end of this
# script must be the end of the command.
patiently() {
    local status=0
    set -m
    "$@" &
    BUSY=$!
    set +m
    wait "$BUSY" || status=$?
    BUSY=
    return $status
}

end_patiently() { [ -z "${BUSY:-}" ] || kill -TERM "-$BUSY" 2>/dev/null || true; }

# Stops one part if it is still the one we started. Says what it does.
stop_part() {
    local name=$1 file pid begun=$SECONDS
    file=$(pid_file "$name")
    [ -e "$file" ] || return 0
    if ! pid=$(part_pid "$name"); then
        say "$name: had already ended$(end_group "$name" "; stopped")"
        rm -f "$file"
        return 0
    fi
    if ! kill -TERM "$pid" 2>/dev/null && part_pid "$name" >/dev/null; then
        warn "$name: pid $pid may not be signalled by this user; stop it as the user who started it"
        return 1
    fi
    while part_pid "$name" >/dev/null; do
        if [ $((SECONDS - begun)) -ge "$STOP_SECONDS" ]; then
            say "$name: pid $pid did not end within $STOP_SECONDS s of SIGTERM, so SIGKILL for it and its children"
            kill -KILL "-$pid" 2>/dev/null || kill -KILL "$pid" 2>/dev/null || true
            await_end "$name"
            rm -f "$file"
            return 0
        fi
        sleep 0.1
    done
    say "$name: stopped (pid $pid)$(end_group "$name" ", and")"
    rm -f "$file"
}

# Ends what a part that has ended has left running (an Ollama that is killed leaves its runners), and says so after
# WORDS. A part leads a process group, and no other process gets a pid that still names a group.
end_group() {
    local pid was left begun=$SECONDS
    { read -r pid && IFS= read -r was; } <"$(pid_file "$1")" || return 0
    case $pid in '' | *[!0-9]*) return 0 ;; esac
    # A stranger has the pid, so that no process of ours was left; or the machine has started anew.
    ! identity "$pid" >/dev/null || return 0
    case $was in *"$(boot)") ;; *) return 0 ;; esac
    left=$(group_members "$pid")
    [ -n "$left" ] || return 0
    kill -TERM "-$pid" 2>/dev/null || true
    while [ -n "$(group_members "$pid")" ]; do
        if [ $((SECONDS - begun)) -ge $ORPHAN_SECONDS ]; then
            kill -KILL "-$pid" 2>/dev/null || true
            break
        fi
        sleep 0.1
    done
    say "$2 what it had left running (pid $left)"
}

# The living processes of a group, in a line.
group_members() {
    if [ -r /proc/self/stat ]; then
        cat /proc/[0-9]*/stat 2>/dev/null | sed -n 's/^\([0-9]*\) (.*) \([A-Z]\) [0-9]* \([0-9]*\) .*/\1 \2 \3/p'
    else
        ps -A -o pid= -o stat= -o pgid=
    fi | awk -v group="$1" '$3 == group && $2 !~ /^[ZX]/ { printf "%s%s", space, $1; space = " " }'
}

await_end() {
    local tries=0
    while part_pid "$1" >/dev/null && [ $tries -lt 50 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
}

# Any part that runs, one name a line; of the mesh recorded in the given folder or in this one's.
running_parts() {
    local name ECHO_RUN_DIR=${1:-$ECHO_RUN_DIR}
    for name in $STOP_ORDER; do
        if part_pid "$name" >/dev/null; then printf '%s\n' "$name"; fi
    done
}

# One start at a time: the link either exists whole or not at all.
lock_start() {
    local mine=$ECHO_RUN_DIR/starting.$$
    printf '%s\n%s\n' "$$" "$(identity $$)" >"$mine"
    if ! ln "$mine" "$(pid_file starting)" 2>/dev/null; then
        if part_pid starting >/dev/null; then
            rm -f "$mine"
            return 1
        fi
        mv -f "$mine" "$(pid_file starting)"
    fi
    rm -f "$mine"
}

unlock_start() {
    if [ "$(part_pid starting)" = "$$" ]; then rm -f "$(pid_file starting)"; fi
}
