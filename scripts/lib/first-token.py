#!/usr/bin/env python3
"""Prints the text of the first piece of an answer, as soon as the mesh on this machine gives one."""

import json
import time
import urllib.request

PATIENCE_SECONDS = 120


def main():
    begun, seen = time.monotonic(), None
    while time.monotonic() - begun < PATIENCE_SECONDS:
        try:
            for line in ask():
                seen = line
                piece = json.loads(line[6:]).get("token") if line.startswith(b"data: ") else None
                if piece:
                    print(piece)
                    return
        except OSError as error:
            seen = error
        time.sleep(0.1)
    raise SystemExit("no answer; seen last: %s" % seen)


def ask():
    asked = json.dumps({"prompt": "What is 2 + 2?"}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request("http://127.0.0.1:8080/task/stream", asked, headers)
    return urllib.request.urlopen(request, timeout=60)


if __name__ == "__main__":
    main()
