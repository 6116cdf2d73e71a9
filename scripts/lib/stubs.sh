# shellcheck shell=bash
# Stand-ins for test-scripts.sh: a cargo, an Ollama and an engine, just true enough for a start to be tested without a
# build, a network or a model.

# write_stubs DIR BINARY: cargo "builds" BINARY, the real echo-mesh. DIR/bin is to be the whole PATH, so a tool that the scripts are not known to need is missed.
write_stubs() {
    local dir=$1 tool
    mkdir -p "$dir/bin" "$dir/target/release"
    for tool in bash sh env cat cp ls dirname basename sed head tail awk tr df mktemp rm rmdir mkdir mv ln sleep curl \
        uname date ps kill chmod wc lsof ss; do
        if command -v "$tool" >/dev/null 2>&1; then ln -s "$(command -v "$tool")" "$dir/bin/$tool"; fi
    done
    ln -s "$(python3 -c 'import sys; print(sys.executable)')" "$dir/bin/python3"
    # A compiler has tools of its own, which are not ours to list.
    printf '#!/bin/sh\nPATH="%s" exec cc "$@"\n' "$PATH" >"$dir/bin/cc"
    chmod +x "$dir/bin/cc"
    write_stub_rust "$dir" "$2"
    write_stub_program "$dir/program.py"
}

write_stub_rust() {
    cat >"$1/bin/cargo" <<CARGO
#!/bin/sh
case \$1 in
metadata) echo '{"target_directory": "$1/target"}' ;;
build)
    if [ -n "\$STUB_SLOW_BUILD" ]; then echo building; exec sleep 600; fi
    ln -sf "$2" "$1/target/release/echo-mesh" ;;
esac
CARGO
    printf '#!/bin/sh\necho "rustc %s.0 (stub)"\n' "$(sed -n 's/^rust-version *= *"\([0-9]*\.[0-9]*\).*/\1/p' "$ROOT/Cargo.toml")" >"$1/bin/rustc"
    chmod +x "$1/bin/cargo" "$1/bin/rustc"
}

# A server that knows enough paths for an agent, as an `engine` with the OpenAI API or as `ollama`. With STUB_RUNNERS an
# ollama has a runner, as the real one has: a process of its own in its group, whose pid is added to a file in that folder,
# named after the port.
write_stub_program() {
    cat >"$1" <<'PY'
#!/usr/bin/env python3
import json, os, subprocess, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

name = os.path.basename(sys.argv[0])
flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
models = os.environ.get("STUB_MODELS", "smollm2").split()

class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        listed = [{"id": m, "name": m, "model": m} for m in models]
        if name == "ollama":
            pages = {"/api/version": {"version": "0.0"}, "/api/tags": {"models": listed}, "/api/ps": {"models": []}}
        else:
            pages = {"/v1/models": {"data": listed}}
        self.reply(200 if self.path in pages else 404, pages.get(self.path, {}))

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/api/show":
            self.reply(200, {"capabilities": ["completion"]})
        elif self.path == "/api/pull":
            models.append(asked["model"] + ":latest")
            self.reply(200, {"status": "pulling", "total": 4000, "completed": 1000}, {"status": "success"})
        else:
            self.reply(404, {})

    def reply(self, code, *lines):
        body = "\n".join(map(json.dumps, lines)).encode()
        self.send_response(code)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

if name == "ollama":
    print("store", os.environ["OLLAMA_MODELS"], "noprune", os.environ["OLLAMA_NOPRUNE"], file=sys.stderr, flush=True)
    if os.environ.get("STUB_RUNNERS"):
        runner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        port = os.environ["OLLAMA_HOST"].rpartition(":")[2]
        with open(os.path.join(os.environ["STUB_RUNNERS"], port), "a") as runners:
            print(runner.pid, file=runners)
host, _, port = (flags.get("--listen") or os.environ["OLLAMA_HOST"]).rpartition(":")
ThreadingHTTPServer((host, int(port)), Answers).serve_forever()
PY
    chmod +x "$1"
}
