#!/usr/bin/env bash
# Installs the real clients of the three APIs into the cache, once, and prints how to run them.
#   setup.sh python    a Python that can import anthropic, ollama and openai
#   setup.sh node      a folder beside whose node_modules a script can import @anthropic-ai/sdk, ollama and openai
#   setup.sh codex     the program of OpenAI's Codex CLI
#   setup.sh page      a folder with what checks the page: typescript, playwright-core and axe-core
# Without network, pip or npm it says why on stderr and fails. All is pinned by version and by hash. To pin others, change
# requirements.in or a package.json and, beside it,
#   uv pip compile --universal --python-version 3.10 --generate-hashes --no-annotate --no-header requirements.in -o requirements.txt
#   npm install --package-lock-only --omit-lockfile-registry-resolved
set -eu

HERE=$(cd "$(dirname "$0")" && pwd)
CACHE=${ECHO_CACHE_DIR:-$HOME/.cache/echo-system}/clients

main() {
    mkdir -p "$CACHE"
    case ${1:-} in
    python) python_clients ;;
    node | page) npm_clients "$1" ;;
    codex)
        dir=$(npm_clients codex)
        echo "$dir/node_modules/.bin/codex"
        ;;
    *) fail "usage: setup.sh python|node|codex|page" ;;
    esac
}

python_clients() {
    local python dir
    python=$(command -v "${ECHO_PYTHON:-python3}") || fail "there is no python3"
    dir=$CACHE/python-$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-$(sum requirements.txt)
    if [ ! -x "$dir/python" ]; then
        fresh=$(mktemp -d "$CACHE/new.XXXXXX")
        trap 'rm -rf "$fresh"' EXIT
        "$python" -m pip install --quiet --disable-pip-version-check --timeout 20 --retries 1 --target "$fresh/site" --require-hashes \
            --requirement "$HERE/requirements.txt" >&2 || fail "pip could not install the clients, see above"
        printf '#!/bin/sh\nPYTHONPATH="%s/site" exec "%s" "$@"\n' "$dir" "$python" >"$fresh/python"
        chmod 755 "$fresh" "$fresh/python"
        put "$dir"
    fi
    echo "$dir/python"
}

npm_clients() {
    local dir
    dir=$CACHE/$1-$(sum "$1/package-lock.json")
    command -v npm >/dev/null 2>&1 || fail "there is no npm"
    if [ ! -d "$dir/node_modules" ]; then
        fresh=$(mktemp -d "$CACHE/new.XXXXXX")
        trap 'rm -rf "$fresh"' EXIT
        cp "$HERE/$1/package.json" "$HERE/$1/package-lock.json" "$fresh"
        (cd "$fresh" && npm ci --fetch-timeout=20000 --fetch-retries=1 --no-audit --no-fund --ignore-scripts --loglevel=error) >&2 ||
            fail "npm could not install $1's packages, see above"
        [ "$1" != codex ] || runs "$fresh"
        chmod 755 "$fresh"
        put "$dir"
    fi
    echo "$dir"
}

# Its program is a package of its own for each machine; npm leaves out one that it cannot fetch, or whose hash is wrong.
runs() {
    HOME=$1 CODEX_HOME=$1 "$1/node_modules/.bin/codex" --version >&2 || fail "npm installed a Codex without its program"
}

# Changed pins are another installation.
sum() {
    cksum <"$HERE/$1" | tr ' ' -
}

# Another run may have been quicker: then its installation is as good.
put() {
    [ -d "$1" ] || mv "$fresh" "$1" || fail "cannot write to $CACHE"
}

fail() {
    echo "$*" >&2
    exit 1
}

main "$@"
