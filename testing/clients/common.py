"""What both Python clients' checks share: where the mesh is, and a way to see that an engine has stopped."""

import json
import os
import time
import urllib.request

EDGE = os.environ["ECHO_EDGE_URL"]
# An edge that wants no key takes any.
KEY = os.environ.get("ECHO_KEY", "any")
ENGINE = os.environ["ECHO_ENGINE_URL"]
LONG = "count [tokens=3000] [delay=10]"
# Between two of its tokens, and before the first, pass several signs of life.
SLOW = "[tokens=2] [first=2000] [delay=2000]"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def tokens(count):
    return "".join(f"t{index} " for index in range(count))


def counters():
    with urllib.request.urlopen(ENGINE + "/counters") as answer:
        return json.load(answer)


def stops_the_engine(cancel):
    """Runs something that ends an answer early, and waits until the engine has noticed."""
    before = counters()["cancelled"]
    cancel()
    give_up = time.monotonic() + 5
    while counters()["cancelled"] == before or counters()["running"]:
        assert time.monotonic() < give_up, f"the engine still works: {counters()}"
        time.sleep(0.02)


def run(checks):
    for check in checks:
        check()
        print("ok", check.__name__, flush=True)
