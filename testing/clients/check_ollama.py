"""The mesh through Ollama's own Python client."""

import asyncio

import ollama
from common import EDGE, KEY, LONG, SLOW, WEATHER, run, stops_the_engine, tokens

HEADERS = {"Authorization": f"Bearer {KEY}"}
client = ollama.Client(host=EDGE, headers=HEADERS)


def ask(text):
    return [{"role": "user", "content": text}]


def chat():
    answer = client.chat("able", messages=ask("[tokens=5]"), think=False)
    assert answer.message.content == tokens(5), answer
    assert answer.done and answer.done_reason == "stop" and answer.eval_count == 5, answer
    assert answer.total_duration > 0 and answer.model == "able" and answer.created_at, answer


def streaming():
    parts = list(client.chat("able", messages=ask("[tokens=5]"), stream=True, think=True))
    assert "".join(part.message.content or "" for part in parts) == tokens(5)
    assert "".join(part.message.thinking or "" for part in parts) == "h0 h1 "
    assert [part.done for part in parts].count(True) == 1 and parts[-1].done_reason == "stop"


def generate():
    answer = client.generate("able", "[tokens=4]", system="be brief", options={"seed": 1, "num_predict": 2})
    assert answer.response == tokens(2) and answer.done_reason == "length" and answer.context, answer
    parts = client.generate("able", "[tokens=4]", stream=True, raw=True)
    assert "".join(part.response for part in parts) == tokens(4)
    assert client.generate("able").done_reason == "load"
    assert client.generate("able", keep_alive=0).done_reason == "unload"


def tools():
    answer = client.chat("able", messages=ask("weather?"), tools=[WEATHER])
    call = answer.message.tool_calls[0].function
    assert call.name == "weather" and call.arguments == {"city": "Oslo", "at": [1, 2]}, answer
    told = [*ask("[tokens=2]"), answer.message, {"role": "tool", "content": "rain", "tool_name": "weather"}]
    assert client.chat("able", messages=told).message.content == tokens(2)


def schema():
    form = {"type": "object", "properties": {"text": {"type": "string"}}}
    answer = client.chat("able", messages=ask("[tokens=2]"), format=form)
    assert answer.message.content == '{"text":"t0 t1 "}', answer


def pictures():
    picture = [{"role": "user", "content": "see [tokens=1]", "images": [b"\x89PNG\r\n\x1a\n"]}]
    assert client.chat("able", messages=picture).message.content == tokens(1)


def embeddings():
    answer = client.embed("vectors", input=["one", "two"])
    assert len(answer.embeddings) == 2 and len(answer.embeddings[0]) == 8, answer
    assert client.embed("vectors", input="one").embeddings[0] == answer.embeddings[0]
    assert len(client.embeddings("vectors", "one").embedding) == 8


def models():
    listed = {model.model: model for model in client.list().models}
    assert {"able:latest", "vectors:latest", "plain:latest"} <= set(listed), listed
    assert listed["able:latest"].digest and listed["able:latest"].details.family == "llama", listed
    shown = client.show("able")
    assert "tools" in shown.capabilities and shown.modelinfo and shown.details.format == "gguf", shown
    assert client.ps().models is not None


def slowly():
    impatient = ollama.Client(host=EDGE, headers=HEADERS, timeout=1.5)
    for parts, text in [
        (impatient.chat("able", messages=ask(SLOW), stream=True, think=False), lambda part: part.message.content),
        (impatient.generate("able", SLOW, stream=True), lambda part: part.response),
    ]:
        texts = [text(part) for part in parts]
        assert "".join(texts) == tokens(2) and texts.count("") > 3, texts


def errors():
    for call, status in [
        (lambda: client.chat("nobody", messages=ask("x")), 404),
        (lambda: list(client.chat("nobody", messages=ask("x"), stream=True)), 404),
        (lambda: client.chat("plain", messages=ask("x"), think=True), 400),
        (lambda: client.embed("able", input="x"), 400),
        (lambda: client.pull("fresh"), 403),
        (lambda: client.delete("able"), 403),
        (lambda: client.copy("able", "b"), 501),
    ]:
        try:
            call()
        except ollama.ResponseError as error:
            assert error.status_code == status and error.error, (status, error)
        else:
            raise AssertionError(f"no error {status}")
    try:
        for _ in client.chat("able", messages=ask("[tokens=9] [delay=5] [fault=error@3] [tool=none]"), stream=True,
                             format="json"):
            pass
    except ollama.ResponseError as error:
        assert "scripted fault" in error.error, error
    else:
        raise AssertionError("an error in mid-stream was swallowed")


def cancel_by_closing():
    def hang_up():
        stream = client.chat("able", messages=ask(LONG), stream=True)
        next(stream)
        stream.close()

    stops_the_engine(hang_up)


def asynchronously():
    async def both():
        other = ollama.AsyncClient(host=EDGE, headers=HEADERS)
        calls = [other.chat("able", messages=ask(f"[tokens={n}]"), think=False) for n in (2, 3)]
        return [answer.message.content for answer in await asyncio.gather(*calls)]

    assert asyncio.run(both()) == [tokens(2), tokens(3)]


run([chat, streaming, generate, tools, schema, pictures, embeddings, models, slowly, errors,
     cancel_by_closing, asynchronously])
