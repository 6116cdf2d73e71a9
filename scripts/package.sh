#!/usr/bin/env bash
# Makes the packages of echo-mesh for this machine's architecture: a tarball, a .deb, the debug information, SHA256SUMS.
# The program is linked against an old glibc, so that it runs on systems that are older than this one.
set -eu

# shellcheck source=lib/settings.sh
. "$(dirname "$0")/lib/settings.sh"

# The oldest glibc that the program runs with: Debian 10, Ubuntu 20.04, RHEL 8. packaging/ has no other copy of it.
GLIBC=2.28
ZIG_VERSION=0.15.2
NAME=echo-mesh

usage() {
    cat <<'HELP'
Usage: scripts/package.sh [--out DIR] [--dev] [--no-build] | --check FILE | --fetch

Makes in DIR (default: target/packages), from one release build:
  echo-mesh-VERSION-TARGET.tar.gz    program, licence, completions, manual pages
  echo-mesh_VERSION_ARCH.deb         the same, with the unit of systemd; where there is a dpkg-deb
  echo-mesh-VERSION-TARGET.debug     the debug information of the program, found by its build id
  SHA256SUMS                         of these

  --out DIR     where to
  --dev         from a dev build: sooner made, large and slow; for trying the packages themselves
  --no-build    take the libraries of the last `cargo build -p echo-mesh` as they are
  --check FILE  only look whether this program runs with the oldest glibc that is promised
  --fetch       only fetch the linker

Needs cargo, binutils, and python3 with pip, which fetches zig, the linker, into ECHO_CACHE_DIR: once, with its hash checked.
CARGO_TARGET is obeyed. SOURCE_DATE_EPOCH is the time of all files; default: that of the commit.
HELP
}

main() {
    OUT=
    BUILD=yes
    PROFILE=release
    while [ $# -gt 0 ]; do
        case $1 in
        --out)
            [ $# -gt 1 ] || die "--out needs a folder."
            OUT=$(realpath -m "$2")
            shift
            ;;
        --dev) PROFILE=dev ;;
        --no-build) BUILD=no ;;
        --check)
            [ $# -gt 1 ] || die "--check needs a file."
            check_glibc "$2"
            exit 0
            ;;
        --fetch)
            check_machine
            locate_cache
            cd "$ROOT"
            fetch_zig
            exit 0
            ;;
        -h | --help)
            usage
            exit 0
            ;;
        *) die "$1 is not known; see --help." ;;
        esac
        shift
    done
    check_machine
    locate_cache
    ECHO_CACHE_DIR=$(realpath -m "$ECHO_CACHE_DIR")
    cd "$ROOT"
    locate_target
    : "${OUT:=$TARGET/packages}"
    choose_time
    WORK=$(mktemp -d "${TMPDIR:-/tmp}/echo-package.XXXXXX")
    trap 'rm -rf "$WORK"' EXIT
    umask 022
    mkdir -p "$OUT"
    get_zig
    [ $BUILD = no ] || cargo build --profile $PROFILE --locked -p echo-mesh || die "the build failed; the reason is above."
    link
    check_glibc "$WORK/$NAME"
    VERSION=$("$WORK/$NAME" --version) || die "the program does not run: see above."
    VERSION=${VERSION##* }
    BASE=$NAME-$VERSION-$TRIPLE
    split_debug
    make_docs
    make_tarball
    make_deb
    (cd "$OUT" && sha256sum "${MADE[@]}" >SHA256SUMS)
    say "In $OUT:"
    (cd "$OUT" && ls -l "${MADE[@]}" SHA256SUMS)
}

MADE=()

check_machine() {
    local tool
    [ "$(uname -s)" = Linux ] || die "packages are made on Linux only; elsewhere: cargo build --release --locked -p echo-mesh."
    case $(uname -m) in
    x86_64)
        ARCH=amd64
        ZIG_FILE=ziglang-$ZIG_VERSION-py3-none-manylinux_2_12_x86_64.manylinux2010_x86_64.musllinux_1_1_x86_64.whl
        ZIG_SHA256=806316453d1ede7174ed3fefb8e5348154629089c3bb5fe812dfd0e172fac130
        ;;
    aarch64)
        ARCH=arm64
        ZIG_FILE=ziglang-$ZIG_VERSION-py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64.whl
        ZIG_SHA256=edc0aa60ec964a4cf462d40f68d7de242ddf37fd9a80f2afaee6397059463230
        ;;
    *) die "there is no linker pinned for $(uname -m): packages are made on x86_64 and aarch64." ;;
    esac
    TRIPLE=$(uname -m)-unknown-linux-gnu
    for tool in cargo rustc realpath objcopy objdump python3 gzip tar sha256sum; do
        command -v $tool >/dev/null 2>&1 || die "$tool is missing: install it first (objcopy and objdump are in binutils)."
    done
}

# Two builds of one commit have the same times in them.
choose_time() {
    [ -n "${SOURCE_DATE_EPOCH:-}" ] || SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null) || SOURCE_DATE_EPOCH=$(date +%s)
    case $SOURCE_DATE_EPOCH in
    '' | *[!0-9]*) die "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH is no number of seconds." ;;
    esac
    export SOURCE_DATE_EPOCH
}

fetch_zig() {
    ZIG=$(python3 broker/src/server/wheel.py ziglang $ZIG_VERSION "$ZIG_FILE" $ZIG_SHA256 --cache "$ECHO_CACHE_DIR") ||
        die "the linker could not be fetched; the reason is above."
}

get_zig() {
    fetch_zig
    chmod +x "$ZIG/ziglang/zig"
    # rustc calls its linker by one name.
    cat >"$WORK/cc" <<CC
#!/bin/sh
exec "$ZIG/ziglang/zig" cc -target $(uname -m)-linux-gnu.$GLIBC "\$@"
CC
    chmod +x "$WORK/cc"
    export ZIG_GLOBAL_CACHE_DIR="$ECHO_CACHE_DIR/zig" ZIG_LOCAL_CACHE_DIR="$ECHO_CACHE_DIR/zig"
}

# Only the last step of the build is done anew. The build itself, which tests and start script use, stays as it is.
# shellcheck disable=SC2086
link() {
    local folder=$TARGET/release lib flags="-C opt-level=3 -C codegen-units=1"
    if [ $PROFILE = dev ]; then folder=$TARGET/debug flags=; fi
    lib=$folder/libecho_mesh.rlib
    [ -e "$lib" ] || die "$lib is missing: build first, or leave --no-build out."
    rustc --edition 2024 --crate-name echo_mesh --crate-type bin cli/src/main.rs \
        --extern echo_mesh="$lib" -L dependency="$folder/deps" \
        $flags -C debuginfo=line-tables-only \
        -C linker="$WORK/cc" -C link-arg=-Wl,--build-id=sha1 -o "$WORK/$NAME" ||
        die "the program could not be linked; the reason is above."
}

check_glibc() {
    local symbols newest
    symbols=$(objdump -T "$1") || die "$1 cannot be read; the reason is above."
    newest=$(printf '%s\n' "$symbols" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
    newest=${newest#GLIBC_}
    [ -n "$newest" ] || die "$1 names no symbol of glibc, so it is not the program that is meant."
    [ "$(printf '%s\n' "$newest" $GLIBC | sort -V | tail -n 1)" = $GLIBC ] ||
        die "the program needs glibc $newest, and may need no newer one than $GLIBC: objdump -T names the symbols."
    say "The program needs glibc $newest."
}

split_debug() {
    local debug=$BASE.debug
    objcopy --only-keep-debug --compress-debug-sections "$WORK/$NAME" "$OUT/$debug"
    objcopy --strip-all --add-gnu-debuglink="$OUT/$debug" "$WORK/$NAME" "$WORK/$NAME.stripped"
    mv "$WORK/$NAME.stripped" "$WORK/$NAME"
    chmod 644 "$OUT/$debug"
    MADE+=("$debug")
}

print_docs() {
    "$WORK/$NAME" completions bash >"$WORK/completions/$NAME.bash" &&
        "$WORK/$NAME" completions zsh >"$WORK/completions/_$NAME" &&
        "$WORK/$NAME" completions fish >"$WORK/completions/$NAME.fish" &&
        "$WORK/$NAME" completions man --out "$WORK/man" >/dev/null
}

make_docs() {
    mkdir -p "$WORK/completions" "$WORK/man"
    print_docs || die "the program does not print its completions and manual pages; the reason is above."
    # The first words of the README, and then how to install it.
    {
        sed -n '1,/^```/p' README.md | sed '/^```/d'
        sed "s/@GLIBC@/$GLIBC/" packaging/README.md
    } >"$WORK/README.md"
}

make_tarball() {
    local dir=$WORK/tarball/$BASE
    mkdir -p "$dir"
    cp -R "$WORK/$NAME" "$WORK/README.md" "$WORK/completions" "$WORK/man" LICENSE "$dir/"
    set_times "$WORK/tarball"
    tar -C "$WORK/tarball" --sort=name --owner=0 --group=0 --numeric-owner -cf - "$BASE" | gzip -9n >"$OUT/$BASE.tar.gz"
    MADE+=("$BASE.tar.gz")
}

make_deb() {
    local dir=$WORK/deb deb=${NAME}_${VERSION}_$ARCH.deb how=-Zxz script page
    if ! command -v dpkg-deb >/dev/null 2>&1; then
        warn "There is no dpkg-deb, so no .deb is made: install dpkg for one."
        return
    fi
    put 755 "$WORK/$NAME" "$dir/usr/bin/$NAME"
    put 644 packaging/systemd/system/$NAME.service "$dir/usr/lib/systemd/system/$NAME.service"
    put 644 packaging/systemd/user/$NAME.service "$dir/usr/lib/systemd/user/$NAME.service"
    put 644 packaging/config.toml "$dir/etc/$NAME/config.toml"
    put 644 LICENSE "$dir/usr/share/doc/$NAME/copyright"
    put 644 "$WORK/completions/$NAME.bash" "$dir/usr/share/bash-completion/completions/$NAME"
    put 644 "$WORK/completions/_$NAME" "$dir/usr/share/zsh/vendor-completions/_$NAME"
    put 644 "$WORK/completions/$NAME.fish" "$dir/usr/share/fish/vendor_completions.d/$NAME.fish"
    for page in "$WORK"/man/*.1; do
        put 644 "$page" "$dir/usr/share/man/man1/${page##*/}"
        gzip -9n "$dir/usr/share/man/man1/${page##*/}"
    done
    for script in postinst prerm postrm; do put 755 packaging/debian/$script "$dir/DEBIAN/$script"; done
    printf '/etc/%s/config.toml\n' $NAME >"$dir/DEBIAN/conffiles"
    sed -e "s/@VERSION@/$VERSION/" -e "s/@ARCHITECTURE@/$ARCH/" -e "s/@GLIBC@/$GLIBC/" \
        -e "s/@SIZE@/$(du -ks --apparent-size --exclude=DEBIAN "$dir" | cut -f 1)/" packaging/debian/control >"$dir/DEBIAN/control"
    set_times "$dir"
    if [ $PROFILE = dev ]; then how="-Zgzip -z1"; fi
    # shellcheck disable=SC2086
    dpkg-deb --root-owner-group $how --build "$dir" "$OUT/$deb" >/dev/null || die "dpkg-deb failed; the reason is above."
    MADE+=("$deb")
}

# put MODE FILE TO
put() {
    mkdir -p "${3%/*}"
    cp "$2" "$3"
    chmod "$1" "$3"
}

set_times() { find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +; }

main "$@"
