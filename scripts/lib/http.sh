# shellcheck shell=bash
# HTTP and JSON for the scripts: curl past every proxy, and python3 as the reader.

# The body of a 2xx answer, or failure.
get() { curl -fsS --noproxy '*' --max-time "${2:-5}" "$1" 2>/dev/null; }

# json CODE: runs CODE with the document of stdin as `it`. Not JSON is exit status 1.
json() {
    python3 -c '
import json, sys
try:
    it = json.load(sys.stdin)
except ValueError:
    sys.exit(1)
exec(sys.argv[1])' "$@"
}

# The engine at URL: `ollama MODEL…`, `openai MODEL…`, `other` (a port that speaks something else) or `none`.
# With `openai` as the second argument only the OpenAI API counts, which Ollama speaks as well.
probe_engine() {
    python3 - "$1" "${2:-any}" <<'PY'
import json, os, sys, urllib.request, urllib.error

url, wanted = sys.argv[1:3]
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
answered = False
if os.environ.get("ECHO_ENGINE_KEY_FILE"):
    with open(os.environ["ECHO_ENGINE_KEY_FILE"]) as key:
        direct.addheaders.append(("Authorization", "Bearer " + key.read().strip()))

def ask(path):
    global answered
    try:
        with direct.open(url + path, timeout=5) as reply:
            answered = True
            found = json.loads(reply.read())
            return found if isinstance(found, dict) else {}
    except urllib.error.HTTPError:
        answered = True
    except urllib.error.URLError:
        pass
    except Exception:  # a port that answers with something that is not HTTP, or not JSON
        answered = True
    return {}

def names(items, *keys):
    items = items if isinstance(items, list) else []
    found = [next((i[k] for k in keys if i.get(k)), None) for i in items if isinstance(i, dict)]
    return [str(n) for n in found if n and " " not in str(n)]

if wanted != "openai" and ask("/api/version").get("version"):
    print("ollama", *names(ask("/api/tags").get("models"), "name", "model"))
else:
    models = ask("/v1/models").get("data")
    if isinstance(models, list):
        print("openai", *names(models, "id"))
    else:
        print("other" if answered else "none")
PY
}
