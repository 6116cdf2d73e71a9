# shellcheck shell=bash
# What test-scripts.sh claims of a mesh over Ollama: whose models, which words, how many slots, and what a stop ends.

# An ollama on the PATH.
install_ollama() {
    mkdir -p "$MESH/bin"
    cp "$WORK/program.py" "$MESH/bin/ollama"
    PATH=$MESH/bin:$PATH
    export ECHO_ENGINE_MODE=auto
}

ollama_is_started_and_pulls_with_consent() {
    install_ollama
    export STUB_MODELS="tiny:latest"
    ECHO_PULL=1 "$START" >"$MESH/out" 2>&1 || fail "no start: $(cat "$MESH/out")"
    has "Engines: Ollama with mistral" "$MESH/out"
    has "about 4.4 GB" "$MESH/out"
    has "Pulling mistral into the engine of node-a" "$MESH/out"
    has "pulling 20% of 0.0 MB" "$MESH/out"
    has "store $HOME/.ollama/models noprune 1" "$ECHO_LOG_DIR/engine-b.log"
    "$STOP" >"$MESH/stopped"
    has "engine-a: stopped" "$MESH/stopped"
}

nothing_is_pulled_without_consent() {
    install_ollama
    refused "The model mistral is missing" "about 4.4 GB" "GB are free" "ECHO_PULL=1" "(node-a: none; node-b: none)"
}

# store FOLDER MODEL…: a model folder of Ollama's with these in it.
store() {
    local at=$1/manifests/registry.ollama.ai name
    shift
    for name in "$@"; do
        mkdir -p "$at/${name%:*}"
        printf '{}\n' >"$at/${name%:*}/${name##*:}"
    done
}

the_models_that_are_there_are_named() {
    install_ollama
    store "$HOME/.ollama/models" library/tiny:1b me/own:latest
    refused "(node-a: tiny:1b me/own:latest; node-b: tiny:1b me/own:latest)"
    store "$MESH/other" library/phi:latest
    OLLAMA_MODELS=$MESH/other refused "(node-a: phi:latest; node-b: phi:latest)"
}

# An Ollama that answers although its command is not on the PATH.
foreign_ollama() {
    mkdir -p "$MESH/foreign"
    cp "$WORK/program.py" "$MESH/foreign/ollama"
    OLLAMA_MODELS=x OLLAMA_NOPRUNE=1 OLLAMA_HOST=$1 "$MESH/foreign/ollama" serve </dev/null >/dev/null 2>&1 &
    printf '%s\n' $! >>"$MESH/stranger"
    soon curl -fs --noproxy '*' -o /dev/null "http://$1/api/version"
}

the_reason_for_ollama_is_the_true_one() {
    export STUB_MODELS=mistral:latest
    foreign_ollama "${ECHO_ENGINE_A_URL#http://}"
    foreign_ollama "${ECHO_ENGINE_B_URL#http://}"
    ECHO_ENGINE_MODE=ollama "$START" >"$MESH/out" 2>&1 || fail "no start: $(cat "$MESH/out")"
    has "because ECHO_ENGINE_MODE=ollama asks for it" "$MESH/out"
    has_not "installed" "$MESH/out"
}

with_runners() {
    install_ollama
    store "$HOME/.ollama/models" library/mistral:latest
    export STUB_MODELS=mistral:latest STUB_RUNNERS=$MESH/runners
    mkdir "$STUB_RUNNERS"
    "$START" >"$MESH/out" 2>&1 || fail "no start: $(cat "$MESH/out")"
}

# runners_of URL: the pids of the runners that the Ollamas there have had.
runners_of() { cat "$STUB_RUNNERS/${1##*:}"; }

a_killed_ollamas_runner_ends_with_the_mesh() {
    local first second third engine runner
    with_runners
    first=$(runners_of "$ECHO_ENGINE_A_URL")
    second=$(runners_of "$ECHO_ENGINE_B_URL")
    engine=$(part_pid engine-a)
    kill -KILL "$engine"
    # It is started again, and what the killed one had left would hold the memory that the new one needs.
    soon is_another engine-a "$engine"
    soon two_runners
    third=$(runners_of "$ECHO_ENGINE_A_URL" | tail -n 1)
    is_gone "$first" || fail "the killed one's runner is alive"
    "$STOP" >"$MESH/stopped"
    # This stand-in leaves its runner behind at an orderly end too. The supervisor ends it, or stop.sh that looks on: whoever
    # is first says so.
    cat "$MESH/stopped" "$ECHO_LOG_DIR/up.log" >"$MESH/said-of-it"
    has "and what it had left running (pid $second)" "$MESH/said-of-it"
    has "and what it had left running (pid $third)" "$MESH/said-of-it"
    for runner in $second $third; do is_gone "$runner" || fail "a runner is alive: $runner"; done
}

two_runners() { [ "$(runners_of "$ECHO_ENGINE_A_URL" | wc -l)" -eq 2 ]; }

a_start_ends_what_a_killed_ollama_has_left() {
    local part first
    with_runners
    first=$(runners_of "$ECHO_ENGINE_A_URL")
    # The supervisor first, else it would start the others again; the system ends its engines.
    for part in up $(running_parts); do kill -KILL "$(recorded "$part")" 2>/dev/null || true; done
    "$START" >"$MESH/again" 2>&1 || fail "no second start: $(cat "$MESH/again")"
    is_gone "$first" || fail "the first runner is alive"
    lives "$(runners_of "$ECHO_ENGINE_A_URL" | tail -n 1)" || fail "the second start's runner is gone"
}

an_ollama_that_is_started_says_its_slots() {
    install_ollama
    store "$HOME/.ollama/models" library/mistral:latest
    export STUB_MODELS=mistral:latest
    OLLAMA_NUM_PARALLEL=3 "$START" >"$MESH/out" 2>&1 || fail "no start: $(cat "$MESH/out")"
    ps -o args= -p "$(part_pid agent-b)" >"$MESH/agent"
    has "--slots 3" "$MESH/agent"
    "$STOP" >/dev/null
    foreign_ollama "${ECHO_ENGINE_A_URL#http://}"
    OLLAMA_NUM_PARALLEL=3 "$START" >"$MESH/out" 2>&1 || fail "no start: $(cat "$MESH/out")"
    ps -o args= -p "$(part_pid agent-a)" >"$MESH/agent"
    has_not "--slots" "$MESH/agent"
    ps -o args= -p "$(part_pid agent-b)" >"$MESH/agent"
    has "--slots 3" "$MESH/agent"
}
