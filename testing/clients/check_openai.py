"""The mesh through OpenAI's own Python client."""

import json

import openai
from common import EDGE, KEY, LONG, SLOW, WEATHER, run, stops_the_engine, tokens
from pydantic import BaseModel

client = openai.OpenAI(base_url=EDGE + "/v1", api_key=KEY, max_retries=0)
chats = client.chat.completions


def ask(text):
    return [{"role": "user", "content": text}]


def chat():
    answer = chats.create(model="able", messages=ask("[tokens=5]"), reasoning_effort="none", seed=1, temperature=0.2)
    assert answer.choices[0].message.content == tokens(5) and answer.choices[0].finish_reason == "stop", answer
    assert answer.usage.completion_tokens == 5 and answer.usage.total_tokens > 5 and answer.model == "able", answer
    limited = chats.create(model="able", messages=ask("[tokens=5]"), max_completion_tokens=2, reasoning_effort="none")
    assert limited.choices[0].finish_reason == "length" and limited.choices[0].message.content == tokens(2), limited
    # An effort is a wish: a model that cannot think answers without.
    wished = chats.create(model="plain", messages=ask("[tokens=2]"), reasoning_effort="xhigh")
    assert wished.choices[0].message.content == tokens(2), wished


def streaming():
    stream = chats.create(model="able", messages=ask("[tokens=5]"), stream=True,
                          stream_options={"include_usage": True}, reasoning_effort="low")
    parts = list(stream)
    deltas = [part.choices[0].delta for part in parts if part.choices]
    assert "".join(delta.content or "" for delta in deltas) == tokens(5), parts
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == "h0 h1 ", parts
    assert parts[-1].usage.completion_tokens == 7 and not parts[-1].choices, parts[-1]


def headers():
    raw = chats.with_raw_response.create(model="able", messages=ask("[tokens=1]"), extra_headers={"x-request-id": "q1"})
    assert raw.headers["x-echo-node"] == "node-a" and raw.headers["x-echo-model"] == "able:latest", raw.headers
    assert raw.headers["x-request-id"] == "q1" and raw.parse().choices[0].message.content == tokens(1)


def tools():
    answer = chats.create(model="able", messages=ask("weather?"), tools=[WEATHER], tool_choice="auto").choices[0]
    call = answer.message.tool_calls[0]
    assert answer.finish_reason == "tool_calls" and call.function.name == "weather", answer
    assert json.loads(call.function.arguments) == {"city": "Oslo", "at": [1, 2]}, answer
    told = [*ask("[tokens=2]"), answer.message, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    assert chats.create(model="able", messages=told).choices[0].message.content == tokens(2)
    stream = chats.create(model="able", messages=ask("weather?"), tools=[WEATHER], stream=True)
    called = [call for part in stream for call in part.choices[0].delta.tool_calls or []]
    assert [(call.index, call.function.name) for call in called] == [(0, "weather")], called


class Said(BaseModel):
    text: str


def schema():
    answer = chats.parse(model="able", messages=ask("[tokens=2]"), response_format=Said)
    assert answer.choices[0].message.parsed == Said(text=tokens(2)), answer
    plain = chats.create(model="able", messages=ask("[tokens=1]"), response_format={"type": "json_object"})
    assert json.loads(plain.choices[0].message.content) == {"text": tokens(1)}, plain


def choices():
    answer = chats.create(model="able", messages=ask("[tokens=3]"), n=3, reasoning_effort="none")
    assert [choice.index for choice in answer.choices] == [0, 1, 2], answer
    assert all(choice.message.content == tokens(3) for choice in answer.choices), answer
    assert answer.usage.completion_tokens == 9, answer.usage
    said = {}
    for part in chats.create(model="able", messages=ask("[tokens=3]"), n=3, stream=True, reasoning_effort="none",
                             stream_options={"include_usage": True}):
        for choice in part.choices:
            said[choice.index] = said.get(choice.index, "") + (choice.delta.content or "")
        usage = part.usage
    assert said == dict.fromkeys(range(3), tokens(3)) and usage.completion_tokens == 9, (said, usage)


def logprobs():
    answer = chats.create(model="able", messages=ask("[tokens=2]"), logprobs=True, top_logprobs=2, reasoning_effort="none")
    entries = answer.choices[0].logprobs.content
    assert [entry.token for entry in entries] == ["t0 ", "t1 "] and len(entries[0].top_logprobs) == 2, answer


def pictures():
    url = "data:image/png;base64,iVBORw0KGgo="
    parts = [{"type": "text", "text": "see [tokens=1]"}, {"type": "image_url", "image_url": {"url": url}}]
    answer = chats.create(model="able", messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content == tokens(1), answer


def completions():
    answer = client.completions.create(model="able", prompt="[tokens=3]", max_tokens=2)
    assert answer.choices[0].text == tokens(2) and answer.choices[0].finish_reason == "length", answer
    stream = client.completions.create(model="able", prompt="[tokens=3]", stream=True)
    assert "".join(part.choices[0].text for part in stream) == tokens(3)


def embeddings():
    packed = client.embeddings.create(model="vectors", input=["one", "two"])
    plain = client.embeddings.create(model="vectors", input=["one", "two"], encoding_format="float")
    assert len(packed.data) == 2 and packed.usage.prompt_tokens == 2, packed
    for one, other in zip(packed.data, plain.data):
        assert len(one.embedding) == 8, one
        assert all(abs(a - b) < 1e-6 for a, b in zip(one.embedding, other.embedding)), (one, other)


def models():
    listed = [model.id for model in client.models.list()]
    assert {"able:latest", "vectors:latest"} <= set(listed), listed
    assert client.models.retrieve("able").id == "able"


def slowly():
    impatient = client.with_options(timeout=1.5)
    parts = list(impatient.chat.completions.create(model="able", messages=ask(SLOW), stream=True, reasoning_effort="none"))
    deltas = [part.choices[0].delta for part in parts]
    assert "".join(delta.content or "" for delta in deltas) == tokens(2), parts
    assert [delta.role for delta in deltas].count("assistant") == 1 and len(parts) > 7, parts
    parts = list(impatient.completions.create(model="able", prompt=SLOW, stream=True))
    assert "".join(part.choices[0].text for part in parts) == tokens(2) and len(parts) > 6, parts


def errors():
    for call, kind, code in [
        (lambda: chats.create(model="nobody", messages=ask("x")), openai.NotFoundError, "model_not_found"),
        (lambda: chats.create(model="nobody", messages=ask("x"), stream=True), openai.NotFoundError, "model_not_found"),
        (lambda: client.models.retrieve("nobody"), openai.NotFoundError, "model_not_found"),
        (lambda: chats.create(model="able", messages=ask("x"), n=9), openai.BadRequestError, None),
        (lambda: client.embeddings.create(model="able", input="x"), openai.BadRequestError, "not_capable"),
    ]:
        try:
            call()
        except kind as error:
            assert error.code == code and error.type == "invalid_request_error", (error.code, error.type)
        else:
            raise AssertionError(f"no {kind.__name__}")
    try:
        for _ in chats.create(model="able", messages=ask("[tokens=9] [delay=5] [fault=error@3]"), stream=True,
                              response_format={"type": "json_object"}):
            pass
    except openai.APIError as error:
        assert "scripted fault" in str(error), error
    else:
        raise AssertionError("an error in mid-stream was swallowed")


def cancel_by_closing():
    def hang_up():
        stream = chats.create(model="able", messages=ask(LONG), stream=True)
        next(iter(stream))
        stream.close()

    stops_the_engine(hang_up)


run([chat, streaming, headers, tools, schema, choices, logprobs, pictures, completions, embeddings, models,
     slowly, errors, cancel_by_closing])
