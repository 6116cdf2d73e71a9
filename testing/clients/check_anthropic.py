"""The mesh through Anthropic's own Python client."""

import anthropic
from common import EDGE, KEY, LONG, SLOW, run, stops_the_engine, tokens
from pydantic import BaseModel

client = anthropic.Anthropic(base_url=EDGE, api_key=KEY, max_retries=0)
messages = client.messages
SAME = {"model": "able", "max_tokens": 1024}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
TOOLS = [
    {"name": name, "description": f"The {name} of a city",
     "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}
    for name in ("weather", "time")
]
# Two calls at once, and what is said when their results have come.
BOTH = 'tell me [call=weather {"city": "Oslo"}] [call=time {"city": "Lima", "at": "noon"}] [tokens=2]'
THINKING = {"type": "enabled", "budget_tokens": 1024}


def ask(content):
    return [{"role": "user", "content": content}]


def text(message):
    return "".join(block.text for block in message.content if block.type == "text")


def whole():
    answer = messages.create(**SAME, system="be brief", messages=ask("[tokens=5]"),
                             extra_body={"temperature": 0.2, "top_k": 3, "top_p": 0.9})
    assert text(answer) == tokens(5) and answer.stop_reason == "end_turn" and answer.stop_sequence is None, answer
    assert answer.type == "message" and answer.role == "assistant" and answer.model == "able" and answer.id, answer
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens >= 5, answer
    blocks = [{"type": "text", "text": "one", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "two"}]
    question = [{"type": "text", "text": "hi"}, {"type": "text", "text": "[tokens=2]"}]
    answer = messages.create(**SAME, system=blocks, messages=ask(question), metadata={"user_id": "me"})
    assert text(answer) == tokens(2), answer
    limited = messages.create(model="able", max_tokens=2, messages=ask("[tokens=5] [thoughts=0]"))
    assert text(limited) == tokens(2) and limited.stop_reason == "max_tokens", limited


def streaming():
    events = list(messages.create(**SAME, messages=ask("[tokens=5]"), stream=True))
    kinds = [event.type for event in events]
    assert kinds[0] == "message_start" and kinds[-2:] == ["message_delta", "message_stop"], kinds
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") > 0, kinds
    begun = events[0].message
    assert begun.content == [] and begun.stop_reason is None and begun.usage.input_tokens >= 0, begun
    said = [event.delta.text for event in events if getattr(getattr(event, "delta", None), "type", "") == "text_delta"]
    assert "".join(said) == tokens(5) and len(said) > 2, said
    assert events[-2].delta.stop_reason == "end_turn" and events[-2].usage.output_tokens >= 5, events[-2]


def helpers():
    with messages.stream(**SAME, messages=ask("[tokens=5]")) as stream:
        assert "".join(stream.text_stream) == tokens(5)
        final = stream.get_final_message()
    assert text(final) == tokens(5) and final.stop_reason == "end_turn", final
    assert final.usage.output_tokens >= 5 and final.usage.input_tokens > 0, final
    with messages.stream(**SAME, messages=ask("[tokens=3]")) as stream:
        assert stream.get_final_text() == tokens(3)


def thinking():
    answer = messages.create(**{**SAME, "max_tokens": 2048}, messages=ask("[tokens=3]"), thinking=THINKING)
    assert [block.type for block in answer.content] == ["thinking", "text"], answer
    assert answer.content[0].thinking == "h0 h1 " and answer.content[0].signature is not None, answer
    with messages.stream(**{**SAME, "max_tokens": 2048}, messages=ask("[tokens=3]"), thinking=THINKING) as stream:
        events = list(stream)
        final = stream.get_final_message()
    assert "".join(event.thinking for event in events if event.type == "thinking") == "h0 h1 ", events
    assert [block.type for block in final.content] == ["thinking", "text"], final
    # What was thought comes back with the next turn, as it is.
    again = [*ask("[tokens=3]"), {"role": "assistant", "content": final.content}, *ask("and then? [tokens=2]")]
    assert text(messages.create(**{**SAME, "max_tokens": 2048}, messages=again, thinking=THINKING)) == tokens(2)
    silent = messages.create(**SAME, messages=ask("[tokens=3]"), thinking={"type": "disabled"})
    assert [block.type for block in silent.content] == ["text"], silent
    # A model that cannot think answers without it.
    plain = messages.create(model="plain", max_tokens=2048, messages=ask("[tokens=2]"), thinking=THINKING)
    assert [block.type for block in plain.content] == ["text"], plain


def tools():
    answer = messages.create(**SAME, messages=ask(BOTH), tools=TOOLS, tool_choice={"type": "auto"})
    with messages.stream(**SAME, messages=ask(BOTH), tools=TOOLS) as stream:
        streamed = stream.get_final_message()
    for said in (answer, streamed):
        calls = [block for block in said.content if block.type == "tool_use"]
        assert said.stop_reason == "tool_use" and len({call.id for call in calls}) == 2, said
        assert [(call.name, call.input) for call in calls] == [
            ("weather", {"city": "Oslo"}), ("time", {"city": "Lima", "at": "noon"})], said
        results = [
            {"type": "tool_result", "tool_use_id": calls[0].id, "content": "rain"},
            {"type": "tool_result", "tool_use_id": calls[1].id, "is_error": True,
             "content": [{"type": "text", "text": "no clock"}]},
        ]
        told = [*ask(BOTH), {"role": "assistant", "content": said.content}, *ask(results)]
        last = messages.create(**SAME, messages=told, tools=TOOLS)
        assert text(last) == tokens(2) and last.stop_reason == "end_turn", last
    none = messages.create(**SAME, messages=ask("[tokens=2]"), tools=TOOLS, tool_choice={"type": "none"})
    assert text(none) == tokens(2) and none.stop_reason == "end_turn", none


class Said(BaseModel):
    text: str


def schema():
    answer = messages.parse(**SAME, messages=ask("[tokens=2]"), output_format=Said)
    assert answer.parsed_output == Said(text=tokens(2)), answer
    with messages.stream(**SAME, messages=ask("[tokens=2]"), output_format=Said) as stream:
        assert stream.get_final_message().parsed_output == Said(text=tokens(2))


def stops():
    answer = messages.create(**SAME, messages=ask("[tokens=9]"), stop_sequences=["t3"])
    assert text(answer) == tokens(3) and answer.stop_reason in ("stop_sequence", "end_turn"), answer
    assert answer.stop_sequence == ("t3" if answer.stop_reason == "stop_sequence" else None), answer


def pictures():
    answer = messages.create(**SAME, messages=ask([PICTURE, {"type": "text", "text": "see [tokens=1]"}]))
    assert text(answer) == tokens(1), answer


def counting():
    short = messages.count_tokens(model="able", messages=ask("one two three"))
    more = messages.count_tokens(model="able", system="be brief", messages=ask("one two three " * 20), tools=TOOLS)
    assert 0 < short.input_tokens < more.input_tokens, (short, more)


def models():
    page = client.models.list(limit=1000)
    listed = {model.id: model for model in page}
    assert {"able:latest", "vectors:latest"} <= set(listed) and not page.has_more, listed
    one = listed["able:latest"]
    assert one.type == "model" and one.display_name and one.created_at.year > 1969, one
    assert client.models.retrieve("able").id.split(":")[0] == "able"


def slowly():
    impatient = client.with_options(timeout=1.5)
    with impatient.messages.stream(**SAME, messages=ask(SLOW)) as stream:
        assert stream.get_final_text() == tokens(2)


def errors():
    for call, kind, name in [
        (lambda: messages.create(model="nobody", max_tokens=9, messages=ask("x")), anthropic.NotFoundError, "not_found_error"),
        (lambda: messages.create(model="nobody", max_tokens=9, messages=ask("x"), stream=True), anthropic.NotFoundError,
         "not_found_error"),
        (lambda: messages.count_tokens(model="nobody", messages=ask("x")), anthropic.NotFoundError, "not_found_error"),
        (lambda: client.models.retrieve("nobody"), anthropic.NotFoundError, "not_found_error"),
        (lambda: messages.create(**SAME, messages=[]), anthropic.BadRequestError, "invalid_request_error"),
        (lambda: messages.create(**SAME, messages=[{"role": "wizard", "content": "x"}]), anthropic.BadRequestError,
         "invalid_request_error"),
        (lambda: messages.create(**SAME, messages=ask([{"type": "hologram"}])), anthropic.BadRequestError,
         "invalid_request_error"),
        (lambda: client.post("/v1/message", body={}, cast_to=object), anthropic.NotFoundError, "not_found_error"),
        (lambda: client.get("/v1/messages", cast_to=object), anthropic.APIStatusError, "invalid_request_error"),
    ]:
        try:
            call()
        except kind as error:
            assert error.body["type"] == "error" and error.body["error"]["type"] == name, error.body
            assert error.body["error"]["message"] and error.body["request_id"], error.body
        else:
            raise AssertionError(f"no {kind.__name__}")
    try:
        # What has to be JSON cannot go on elsewhere.
        with messages.stream(**SAME, messages=ask("[tokens=9] [delay=5] [fault=error@3]"), output_format=Said) as stream:
            stream.until_done()
    except anthropic.APIStatusError as error:
        assert "scripted fault" in str(error) and error.body["type"] == "error", error
    else:
        raise AssertionError("an error in mid-stream was swallowed")


def cancel_by_closing():
    def hang_up():
        with messages.stream(**SAME, messages=ask(LONG)) as stream:
            next(iter(stream.text_stream))

    stops_the_engine(hang_up)


run([whole, streaming, helpers, thinking, tools, schema, stops, pictures, counting, models, slowly, errors, cancel_by_closing])
