# shellcheck shell=bash
# Stand-ins for test-scripts.sh: a cargo, an Ollama and the four programs, just true enough for the scripts to be
# tested without a build, a network or a model.

# write_stubs DIR: DIR/bin is to be the whole PATH, so a tool that the scripts are not known to need is missed.
write_stubs() {
    local dir=$1 tool
    mkdir -p "$dir/bin" "$dir/target/release"
    for tool in bash sh env cat cp ls dirname basename sed head tail awk tr df mktemp rm rmdir mkdir mv ln sleep curl \
        uname date ps kill chmod lsof ss; do
        if command -v "$tool" >/dev/null 2>&1; then ln -s "$(command -v "$tool")" "$dir/bin/$tool"; fi
    done
    ln -s "$(python3 -c 'import sys; print(sys.executable)')" "$dir/bin/python3"
    # A compiler has tools of its own, which are not ours to list.
    printf '#!/bin/sh\nPATH="%s" exec cc "$@"\n' "$PATH" >"$dir/bin/cc"
    chmod +x "$dir/bin/cc"
    write_stub_rust "$dir"
    write_stub_program "$dir/program.py"
}

write_stub_rust() {
    cat >"$1/bin/cargo" <<CARGO
#!/bin/sh
case \$1 in
metadata) echo '{"target_directory": "$1/target"}' ;;
build)
    if [ -n "\$STUB_SLOW_BUILD" ]; then echo building; exec sleep 600; fi
    for name in broker orchestrator agent edge; do cp "$1/program.py" "$1/target/release/echo-\$name"; done ;;
esac
CARGO
    printf '#!/bin/sh\necho "rustc %s.0 (stub)"\n' "$(sed -n 's/^rust-version *= *"\([0-9]*\.[0-9]*\).*/\1/p' "$ROOT/Cargo.toml")" >"$1/bin/rustc"
    chmod +x "$1/bin/cargo" "$1/bin/rustc"
}

# One program in the place of all: an HTTP server that knows enough paths. STUB_DIES names the one that fails,
# STUB_DEAF the one that ignores SIGTERM. With STUB_RUNNERS an ollama has a runner, as the real one has: a process of
# its own in its group, whose pid is added to a file in that folder, named after the port.
write_stub_program() {
    cat >"$1" <<'PY'
#!/usr/bin/env python3
import json, os, signal, subprocess, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

name = os.path.basename(sys.argv[0])
flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
models = os.environ.get("STUB_MODELS", "smollm2").split()

class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        listed = [{"id": m, "name": m} for m in models]
        # A mesh that lacks a part is not ready.
        node = {"status": "unavailable" if os.environ.get("STUB_DIES") else "idle", "slots": 2, "models": models}
        pages = {
            "/status": {"nodes": [dict(node, node_id="node-a"), dict(node, node_id="node-b")], "node_count": 2},
            "/health": {}, "/healthz": {},
        }
        if name == "ollama":
            pages.update({"/api/version": {"version": "0.0"}, "/api/tags": {"models": listed}})
        if name == "engine":
            pages.update({"/v1/models": {"data": listed}})
        self.reply(200 if self.path in pages else 404, pages.get(self.path, {}))

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        models.append(asked["model"] + ":latest")
        self.reply(200, {"status": "pulling", "total": 4000, "completed": 1000}, {"status": "success"})

    def reply(self, code, *lines):
        body = "\n".join(map(json.dumps, lines)).encode()
        self.send_response(code)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

if sys.argv[1:] == ["fetch"]:
    sys.exit(0)
if os.environ.get("STUB_DIES") == name:
    sys.exit("%s: out of luck" % name)
if os.environ.get("STUB_DEAF") == name:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if name == "ollama":
    print("store", os.environ["OLLAMA_MODELS"], "noprune", os.environ["OLLAMA_NOPRUNE"], file=sys.stderr, flush=True)
    if os.environ.get("STUB_RUNNERS"):
        runner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        port = os.environ["OLLAMA_HOST"].rpartition(":")[2]
        with open(os.path.join(os.environ["STUB_RUNNERS"], port), "a") as runners:
            print(runner.pid, file=runners)
address = flags.get("--monitor") or flags.get("--listen") or os.environ.get("OLLAMA_HOST")
if address:
    host, _, port = address.rpartition(":")
    ThreadingHTTPServer((host, int(port)), Answers).serve_forever()
while True:
    time.sleep(60)
PY
    chmod +x "$1"
}
