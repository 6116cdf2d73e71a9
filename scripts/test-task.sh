#!/usr/bin/env bash
# Checks a running mesh as a user would: the status, a task, a stream, four tasks at once, and two mistakes.
# Says ok or FAIL for each and exits non-zero where one fails. (test.sh tests the code; it needs no running mesh.)
set -eu

# shellcheck source=lib/settings.sh
. "$(dirname "$0")/lib/settings.sh"
# shellcheck source=lib/http.sh
. "$ROOT/scripts/lib/http.sh"

# A large model that has to be loaded first takes its time.
PATIENCE=${ECHO_TASK_SECONDS:-300}
FAILED=0
DONE=0

main() {
    locate_mesh
    read_record || true
    apply_defaults
    EDGE=http://$(reach "$ECHO_EDGE_LISTEN")
    WORK=$(mktemp -d "${TMPDIR:-/tmp}/echo-test-task.XXXXXX")
    trap 'rm -rf "$WORK"' EXIT
    say "Checking the mesh at $EDGE"
    check "GET /status lists nodes that are ready" check_status
    [ $FAILED = 0 ] || die "without a mesh there is nothing more to check; start one with $(print_command start-phase1.sh)"
    check "POST /task answers" check_task
    check "POST /task/stream streams and ends once" check_stream
    check "tasks at once are shared by all nodes" check_together
    check "an unknown model is refused with 503" check_unknown_model
    check "bad JSON is refused with 400" check_bad_json
    say "$((DONE - FAILED)) of $DONE checks ok."
    [ $FAILED = 0 ]
}

# check NAME FUNCTION: what FUNCTION prints is the detail, its exit status the verdict.
check() {
    local detail
    DONE=$((DONE + 1))
    if detail=$("$2" 2>&1); then
        say "ok    $1: $detail"
    else
        FAILED=$((FAILED + 1))
        say "FAIL  $1: $detail"
    fi
}

# send METHOD PATH BODY NAME: the answer goes to WORK/NAME, its status to WORK/NAME.code.
send() {
    curl -sS -N --noproxy '*' --max-time "$PATIENCE" -X "$1" "$EDGE$2" -H "Content-Type: application/json" \
        ${3:+--data-binary "$3"} -o "$WORK/$4" -w '%{http_code}' >"$WORK/$4.code" 2>"$WORK/$4.error" ||
        { [ ! -s "$WORK/$4.error" ] || tail -n 1 "$WORK/$4.error"; }
}

# judge NAME CODE: runs CODE over what came back: `code`, `text` and, where it is JSON, `it`. It raises or prints.
judge() {
    local name=$1
    shift
    python3 - "$WORK/$name" "$@" <<'PY'
import json, os, sys

path, rule = sys.argv[1:3]
code = open(path + ".code").read() or "000"
text = open(path, encoding="utf-8", errors="replace").read() if os.path.exists(path) else ""
try:
    it = json.loads(text)
except ValueError:
    it = None

def need(holds, complaint):
    if not holds:
        sys.exit("%s (HTTP %s: %s)" % (complaint, code, text.strip()[:300] or "nothing"))

if code == "000":
    sys.exit("no answer")
exec(rule)
PY
}

check_status() {
    send GET /status "" status
    judge status '
need(code == "200" and it, "not a 200 with JSON")
nodes = it.get("nodes") or []
need(nodes and it.get("node_count") == len(nodes), "no nodes, or node_count does not match")
bad = [n["node_id"] for n in nodes if n.get("status") not in ("idle", "busy") or not n.get("models")]
need(not bad, "not ready: " + ", ".join(bad))
print("; ".join("%s %s %s" % (n["node_id"], n["status"], ",".join(n["models"])) for n in nodes))'
}

check_task() {
    send POST /task '{"prompt":"What is 2 + 2? Answer in one short sentence.","options":{"num_predict":40}}' task
    judge task '
need(code == "200" and it and it.get("success") is True, "no success")
need(it.get("task_id") and isinstance(it.get("latency_ms"), (int, float)), "task_id or latency_ms is missing")
need(it.get("content", "").strip(), "the answer is empty")
need(it.get("routed_to") and it.get("model_used"), "routed_to or model_used is missing")
print("%s, %s, %d ms: %s" % (it["routed_to"], it["model_used"], it["latency_ms"], " ".join(it["content"].split())[:80]))'
}

check_stream() {
    send POST /task/stream '{"prompt":"Write a haiku about distributed systems.","options":{"num_predict":40}}' stream
    judge stream '
need(code == "200", "not a 200")
events = [json.loads(l[5:]) for l in text.splitlines() if l.startswith("data:")]
need(events, "no events")
last, before = events[-1], events[:-1]
need(last.get("done") is True and not any(e.get("done") for e in before), "not exactly one last event")
need(last.get("success") is not False, "the stream failed")
need(len(before) > 1 and all(isinstance(e.get("token"), str) for e in before), "no tokens one by one")
need(len({e.get("task_id") for e in events}) == 1, "more than one task_id")
need(isinstance(last.get("latency_ms"), (int, float)), "latency_ms is missing")
print("%d events from %s, %d ms" % (len(before), before[0].get("routed_to"), last["latency_ms"]))'
}

# Four, or as many as do not fit on one node.
check_together() {
    local i count
    count=$(judge status 'print(max([4] + [n.get("slots", 1) + 1 for n in it["nodes"]]))')
    i=0
    while [ "$i" -lt "$count" ]; do
        i=$((i + 1))
        send POST /task "{\"prompt\":\"Name the number that follows $i, then count on to twenty.\",\"options\":{\"num_predict\":48}}" "together$i" &
    done
    wait
    judge status '
answers, all_nodes = [], sorted(n["node_id"] for n in it["nodes"])
for i in range(1, int(sys.argv[3]) + 1):
    name = path[:-len("status")] + "together%d" % i
    code, text = open(name + ".code").read(), open(name).read() if os.path.exists(name) else ""
    need(code == "200" and json.loads(text).get("success") is True, "task %d of %s failed" % (i, sys.argv[3]))
    answers.append(json.loads(text)["routed_to"])
reached = sorted(set(answers))
need(reached == all_nodes, "only %s of %s were reached" % (reached, all_nodes))
print(", ".join("%d on %s" % (answers.count(n), n) for n in reached))' "$count"
}

check_unknown_model() {
    send POST /task '{"prompt":"hello","model_hint":"no-such-model-here"}' unknown
    judge status '
served = sorted({m for n in it["nodes"] for m in n["models"]})
code, text = open(path[:-6] + "unknown.code").read(), open(path[:-6] + "unknown").read()
need(code == "503", "not a 503")
error = json.loads(text).get("error", "")
need(any(m.split(":latest")[0] in error for m in served), "the error does not name what is served (%s)" % ", ".join(served))
print(error)'
}

check_bad_json() {
    send POST /task '{"prompt": ' bad
    judge bad '
need(code == "400", "not a 400")
need(it and it.get("success") is False and it.get("error"), "no JSON error")
print(it["error"])'
}

main
