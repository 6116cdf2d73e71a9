#!/usr/bin/env bash
# The part of scripts/test-package.sh that runs in a container, below a systemd of its own. `SAID` begins what is shown.
set -eux

PERSON=$1

main() {
    dpkg -i /root/echo-mesh.deb
    nothing_runs
    fails systemctl is-enabled --quiet echo-mesh
    # What would be fetched: there is no network.
    cp -R "/home/$PERSON/.cache/echo-system" /var/cache/echo-mesh
    chown -R echo-mesh: /var/cache/echo-mesh
    systemd-analyze verify --man=no echo-mesh.service
    systemd-analyze security --no-pager echo-mesh.service | sed -n 's/.*\(Overall exposure.*\)/SAID \1/p'
    echo-mesh service install
    # The package's unit says the same, so there is no copy of it; and a second time nothing is left to do.
    [ ! -e /etc/systemd/system/echo-mesh.service ]
    answers
    begun=$(systemctl show -p MainPID --value echo-mesh)
    [ "$(stat -c %U "/proc/$begun")" = echo-mesh ]
    echo-mesh service install
    [ "$(systemctl show -p MainPID --value echo-mesh)" = "$begun" ]
    echo-mesh service status | sed 's/^/SAID /'
    crash "$begun"
    echo-mesh service remove
    nothing_runs
    fails echo-mesh service status
    systemctl start echo-mesh
    answers
    dpkg -r echo-mesh
    nothing_runs
    dpkg -P echo-mesh
    [ -z "$(find /etc /var/lib /var/cache /var/log -name 'echo-mesh*' ! -path '/var/lib/dpkg/*')" ]
}

answers() {
    if ! python3 /opt/first-token.py >/tmp/token; then
        journalctl -u echo-mesh --no-pager | tail -n 40
        tail -n 20 /var/log/echo-mesh/*
        exit 1
    fi
    echo "SAID the service answers: $(cat /tmp/token)"
}

# A mesh whose supervisor was killed is started again.
crash() {
    kill -KILL "$1"
    # Until another process has its place: systemd waits for a few seconds.
    for _ in $(seq 300); do
        case $(systemctl show -p MainPID --value echo-mesh) in 0 | "$1") sleep 0.1 ;; *) break ;; esac
    done
    answers
}

fails() {
    if "$@"; then
        echo "$* should have failed"
        exit 1
    fi
}

nothing_runs() {
    local dir command
    for dir in /proc/[0-9]*; do
        command=$(tr '\0' ' ' <"$dir/cmdline" 2>/dev/null || true)
        case $command in
        */service-inside.sh*) ;;
        *echo-mesh\ * | *nats-server* | *embedded-engine*)
            echo "still there: $command"
            exit 1
            ;;
        esac
    done
}

main
