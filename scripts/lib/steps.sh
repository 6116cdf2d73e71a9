# shellcheck shell=bash
# Long scripts in named steps: each is announced and timed, and the end lists them all.

STEPS=

# step NAME COMMAND…: fails as COMMAND does.
step() {
    local name=$1 begun=$SECONDS status=0
    shift
    printf '\n=== %s\n' "$name"
    "$@" || status=$?
    keep_time "$name" $((SECONDS - begun)) $status
    return $status
}

keep_time() {
    local word=ok
    [ "$3" = 0 ] || word=FAILED
    STEPS="$STEPS$(printf '%6d s  %-7s %s' "$2" "$word" "$1")
"
}

print_times() {
    printf '\n%s%6d s  in all\n' "$STEPS" "$SECONDS"
}
