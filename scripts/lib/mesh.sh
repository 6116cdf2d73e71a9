# shellcheck shell=bash disable=SC2034
# The four programs as one mesh: starting, knowing when it is ready, showing and stopping it.

start_parts() {
    local nats
    nats=nats://$(reach "$ECHO_NATS_LISTEN")
    say "Starting the mesh …"
    # What belongs to one part must not reach another through the environment.
    unset ECHO_NODE_ID ECHO_ENGINE ECHO_ENGINE_URL ECHO_AGENT_LISTEN ECHO_NATS_URL
    start_part broker "$BIN/echo-broker" --config "$ECHO_NATS_CONF" \
        --listen "$ECHO_NATS_LISTEN" --monitor "$ECHO_NATS_MONITOR"
    BLAME=broker
    await "the broker at $ECHO_NATS_LISTEN" 60 answers_at "http://$(reach "$ECHO_NATS_MONITOR")/healthz"
    start_part orchestrator "$BIN/echo-orchestrator" --nats "$nats" --default-model "$MODEL"
    start_agent agent-a node-a "$ECHO_AGENT_A_LISTEN" "$KIND_A" "$ECHO_ENGINE_A_URL" "$nats" "$(slots_of A)"
    start_agent agent-b node-b "$ECHO_AGENT_B_LISTEN" "$KIND_B" "$ECHO_ENGINE_B_URL" "$nats" "$(slots_of B)"
    start_part edge "$BIN/echo-edge" --nats "$nats" --listen "$ECHO_EDGE_LISTEN"
    BLAME=agent-a
    await "node-a at $ECHO_AGENT_A_LISTEN" 60 answers_at "http://$(reach "$ECHO_AGENT_A_LISTEN")/health"
    BLAME=agent-b
    await "node-b at $ECHO_AGENT_B_LISTEN" 60 answers_at "http://$(reach "$ECHO_AGENT_B_LISTEN")/health"
    BLAME=edge
    await "the edge at $ECHO_EDGE_LISTEN" 60 answers_at "http://$(reach "$ECHO_EDGE_LISTEN")/health"
    BLAME=orchestrator
    await "both nodes to be ready with $MODEL" 120 both_ready
}

# start_agent PART NODE LISTEN ENGINE URL NATS SLOTS
start_agent() {
    start_part "$1" "$BIN/echo-agent" --node "$2" --listen "$3" --engine "$4" --engine-url "$5" --nats "$6" \
        ${7:+--slots "$7"}
}

answers_at() {
    SEEN="no answer from $1"
    get "$1" >/dev/null
}

# GET /status shows node-a and node-b, both able to work, both with the model.
both_ready() {
    local seen
    seen=$(get "http://$(reach "$ECHO_EDGE_LISTEN")/status") || {
        SEEN="no answer from GET /status"
        return 1
    }
    SEEN=$(printf '%s' "$seen" | json '
model = sys.argv[2]
nodes = {n.get("node_id"): n for n in it.get("nodes", [])}
wrong = []
for name in ("node-a", "node-b"):
    node = nodes.get(name)
    if not node:
        wrong.append(name + " has not registered")
    elif node.get("status") not in ("idle", "busy"):
        wrong.append("%s is %s %s" % (name, node.get("status"), node.get("reason") or node.get("detail") or ""))
    elif model and not {model, model + ":latest"} & set(node.get("models", [])):
        wrong.append("%s serves %s" % (name, ", ".join(node.get("models", [])) or "nothing"))
print("; ".join(wrong) or "ready")
' "$MODEL") || {
        SEEN="an answer to GET /status that is not JSON"
        return 1
    }
    [ "$SEEN" = ready ]
}

print_mesh() {
    say ""
    part_line edge "http://$(reach "$ECHO_EDGE_LISTEN")"
    part_line orchestrator ""
    part_line agent-a "node-a, http://$(reach "$ECHO_AGENT_A_LISTEN")"
    part_line agent-b "node-b, http://$(reach "$ECHO_AGENT_B_LISTEN")"
    part_line broker "nats://$(reach "$ECHO_NATS_LISTEN"), monitor http://$(reach "$ECHO_NATS_MONITOR")"
    part_line engine-a "$ECHO_ENGINE_A_URL"
    part_line engine-b "$ECHO_ENGINE_B_URL"
    say ""
}

part_line() {
    local pid
    if pid=$(part_pid "$1"); then
        pid="pid $pid"
    elif [ "${1#engine}" != "$1" ] && [ ! -e "$(pid_file "$1")" ]; then
        pid="not ours"
    else
        pid="not running"
    fi
    printf '  %-13s %-12s %s\n' "$1" "$pid" "$2"
}

print_lines_to_try() {
    local url
    url=http://$(printf '%s' "$(reach "$ECHO_EDGE_LISTEN")" | sed 's/^127\.0\.0\.1:/localhost:/')
    cat <<LINES
Ready: both nodes serve $MODEL. Try:

  curl -X POST $url/task -H "Content-Type: application/json" -d '{"prompt": "What is 2 + 2?"}'
  curl -N -X POST $url/task/stream -H "Content-Type: application/json" -d '{"prompt": "Write a haiku about distributed systems."}'
  curl $url/status | python3 -m json.tool
  tail -f $(shown_logs)/edge.log $(shown_logs)/orchestrator.log $(shown_logs)/agent-a.log $(shown_logs)/agent-b.log

The logs tell of nodes, and of tasks that did not go smoothly; of every task after a start with RUST_LOG=info,echo_edge=debug.
Check it: $(print_command test-task.sh)    Stop it: $(print_command stop.sh)
LINES
}

# The logs' folder as a person in the caller's folder would type it.
shown_logs() {
    case $ECHO_LOG_DIR in
    "$PWD"/*) printf '%s\n' "${ECHO_LOG_DIR#"$PWD"/}" ;;
    *) printf '%s\n' "$ECHO_LOG_DIR" ;;
    esac
}

# Stops every part that was started and is still the same process. Fails where one could not be stopped.
stop_mesh() {
    local name failed=0
    for name in $STOP_ORDER; do
        stop_part "$name" || failed=1
    done
    return $failed
}
