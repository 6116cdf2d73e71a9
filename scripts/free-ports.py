#!/usr/bin/env python3
"""Prints COUNT ports of loopback that are free, and that nobody is given by chance: below those that the kernel hands
out to whoever asks for any port, or connects somewhere. They stay free until they are used, unless somebody names them."""

import random
import socket
import sys

LOWEST = 10000


def first_of_the_kernels():
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as limits:
            return int(limits.read().split()[0])
    except (OSError, ValueError):
        return 32768


def held(port):
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return None


def main():
    highest = max(first_of_the_kernels(), LOWEST + 1000)
    servers = []
    while len(servers) < int(sys.argv[1]):
        server = held(random.randrange(LOWEST, highest))
        if server:
            servers.append(server)
    print(*(server.getsockname()[1] for server in servers))


main()
