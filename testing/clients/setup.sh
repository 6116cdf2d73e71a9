#!/usr/bin/env bash
# Installs the real clients of both APIs, pinned, into the cache, once, and prints how to run them.
#   setup.sh python    a Python that can import ollama and openai
#   setup.sh node      a folder beside whose node_modules a script can import ollama and openai
#   setup.sh page      the same with what checks the page: typescript, playwright-core and axe-core
# Without network, pip or npm it says why on stderr and fails.
set -eu

PYTHON_OLLAMA=0.6.3
PYTHON_OPENAI=3.54.0
NODE_OLLAMA=0.6.4
NODE_OPENAI=7.57.0
TYPESCRIPT=7.0.2
PLAYWRIGHT=1.65.1
AXE=4.14.1
CACHE=${ECHO_CACHE_DIR:-$HOME/.cache/echo-system}/clients

main() {
    mkdir -p "$CACHE"
    case ${1:-} in
    python) python_clients ;;
    node) packages "node-$NODE_OLLAMA-$NODE_OPENAI" "ollama@$NODE_OLLAMA" "openai@$NODE_OPENAI" ;;
    page) packages "page-$TYPESCRIPT-$PLAYWRIGHT-$AXE" "typescript@$TYPESCRIPT" "playwright-core@$PLAYWRIGHT" "axe-core@$AXE" ;;
    *) fail "usage: setup.sh python|node|page" ;;
    esac
}

python_clients() {
    local python dir
    python=$(command -v "${ECHO_PYTHON:-python3}") || fail "there is no python3"
    dir=$CACHE/python-$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-$PYTHON_OLLAMA-$PYTHON_OPENAI
    if [ ! -x "$dir/python" ]; then
        fresh=$(mktemp -d "$CACHE/new.XXXXXX")
        trap 'rm -rf "$fresh"' EXIT
        "$python" -m pip install --quiet --disable-pip-version-check --target "$fresh/site" \
            "ollama==$PYTHON_OLLAMA" "openai==$PYTHON_OPENAI" >&2 || fail "pip could not install the clients, see above"
        printf '#!/bin/sh\nPYTHONPATH="%s/site" exec "%s" "$@"\n' "$dir" "$python" >"$fresh/python"
        chmod 755 "$fresh" "$fresh/python"
        put "$dir"
    fi
    echo "$dir/python"
}

# No package's own scripts are run, and no browser is fetched.
packages() {
    local dir=$CACHE/$1
    shift
    command -v npm >/dev/null 2>&1 || fail "there is no npm"
    if [ ! -d "$dir/node_modules" ]; then
        fresh=$(mktemp -d "$CACHE/new.XXXXXX")
        trap 'rm -rf "$fresh"' EXIT
        echo '{"private": true, "type": "module"}' >"$fresh/package.json"
        (cd "$fresh" && npm install --no-save --no-audit --no-fund --ignore-scripts --loglevel=error "$@") >&2 || fail "npm could not install the clients, see above"
        chmod 755 "$fresh"
        put "$dir"
    fi
    echo "$dir"
}

# Another run may have been quicker: then its installation is as good.
put() {
    mv -T "$fresh" "$1" 2>/dev/null || [ -d "$1" ] || fail "cannot write to $CACHE"
}

fail() {
    echo "$*" >&2
    exit 1
}

main "$@"
