"""OpenAI's Responses through OpenAI's own Python client: what agents such as Codex stand on."""

import json

import openai
from common import EDGE, KEY, LONG, SLOW, run, stops_the_engine, tokens
from pydantic import BaseModel

client = openai.OpenAI(base_url=EDGE + "/v1", api_key=KEY, max_retries=0)
responses = client.responses
TOOLS = [
    {"type": "function", "name": name, "description": f"The {name} of a city", "strict": False,
     "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}
    for name in ("weather", "time")
]
# Two calls at once, and what is said when their results have come.
BOTH = 'tell me [call=weather {"city": "Oslo"}] [call=time {"city": "Lima", "at": "noon"}] [tokens=2]'


def ask(content):
    return [{"role": "user", "content": content}]


def whole():
    answer = responses.create(model="able", input="[tokens=5]", instructions="be brief", temperature=0.2)
    assert answer.output_text == tokens(5) and answer.status == "completed" and answer.id, answer
    assert answer.object == "response" and answer.model == "able" and answer.error is None, answer
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens >= 5, answer.usage
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens, answer.usage
    assert answer.usage.output_tokens_details.reasoning_tokens >= 0, answer.usage
    assert answer.usage.input_tokens_details.cached_tokens >= 0, answer.usage
    parts = [{"role": "developer", "content": "be brief"}, {"role": "user", "content": [
        {"type": "input_text", "text": "see [tokens=2]"},
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"}]}]
    assert responses.create(model="able", input=parts).output_text == tokens(2)
    limited = responses.create(model="able", input="[tokens=5] [thoughts=0]", max_output_tokens=2)
    assert limited.output_text == tokens(2) and limited.status == "incomplete", limited
    assert limited.incomplete_details.reason == "max_output_tokens", limited


def streaming():
    events = list(responses.create(model="able", input="[tokens=5]", stream=True))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"] and kinds[-1] == "response.completed", kinds
    assert [event.sequence_number for event in events] == list(range(len(events))), events
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == tokens(5)
    assert kinds.count("response.output_item.added") == kinds.count("response.output_item.done") > 0, kinds
    assert kinds.count("response.content_part.added") == kinds.count("response.content_part.done") > 0, kinds
    last = events[-1].response
    assert last.output_text == tokens(5) and last.usage.output_tokens >= 5 and last.id == events[0].response.id, last


def helpers():
    with responses.stream(model="able", input="[tokens=5]") as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == final.output_text == tokens(5) and len(deltas) > 2, (deltas, final)


def reasoning():
    with responses.stream(model="able", input="[tokens=3]", reasoning={"effort": "high", "summary": "auto"}) as stream:
        events = list(stream)
        final = stream.get_final_response()
    thought = [event.delta for event in events if event.type == "response.reasoning_summary_text.delta"]
    assert "".join(thought) == "h0 h1 ", events
    assert [item.type for item in final.output] == ["reasoning", "message"], final
    assert final.output[0].summary[0].text == "h0 h1 " and final.output_text == tokens(3), final
    # What was thought comes back with the next turn, as it is.
    again = [*ask("[tokens=3]"), *final.output, *ask("and then? [tokens=2]")]
    assert responses.create(model="able", input=again).output_text == tokens(2)
    # A word for effort that this model does not know is no error, and neither is a model that cannot think.
    for model in ("able", "plain"):
        answer = responses.create(model=model, input="[tokens=2]", reasoning={"effort": "xhigh"})
        assert answer.output_text == tokens(2), answer


def tools():
    answer = responses.create(model="able", input=BOTH, tools=TOOLS, tool_choice="auto", parallel_tool_calls=True)
    with responses.stream(model="able", input=BOTH, tools=TOOLS) as stream:
        streamed = stream.get_final_response()
    for said in (answer, streamed):
        calls = [item for item in said.output if item.type == "function_call"]
        assert [(call.name, json.loads(call.arguments)) for call in calls] == [
            ("weather", {"city": "Oslo"}), ("time", {"city": "Lima", "at": "noon"})], said
        assert len({call.call_id for call in calls}) == 2 and said.status == "completed", said
        results = [{"type": "function_call_output", "call_id": calls[0].call_id, "output": "rain"},
                   {"type": "function_call_output", "call_id": calls[1].call_id,
                    "output": [{"type": "input_text", "text": "noon"}]}]
        told = [*ask(BOTH), *said.output, *results]
        assert responses.create(model="able", input=told, tools=TOOLS).output_text == tokens(2)
    # The same by its id, without what was said before.
    kept = responses.create(model="able", input=BOTH, tools=TOOLS, store=True)
    calls = [item for item in kept.output if item.type == "function_call"]
    results = [{"type": "function_call_output", "call_id": call.call_id, "output": "rain"} for call in calls]
    told = responses.create(model="able", input=results, previous_response_id=kept.id, tools=TOOLS)
    assert told.output_text == tokens(2) and told.previous_response_id == kept.id, told


class Said(BaseModel):
    text: str


def schema():
    answer = responses.parse(model="able", input="[tokens=2]", text_format=Said)
    assert answer.output_parsed == Said(text=tokens(2)), answer
    with responses.stream(model="able", input="[tokens=2]", text_format=Said) as stream:
        assert stream.get_final_response().output_parsed == Said(text=tokens(2))


def background():
    begun = responses.create(model="able", input="[tokens=40] [delay=20] [thoughts=0]", background=True)
    assert begun.status in ("queued", "in_progress") and begun.background, begun
    with responses.retrieve(begun.id, stream=True) as stream:
        events = list(stream)
    assert events[-1].type == "response.completed" and events[-1].response.output_text == tokens(40), events[-1]
    numbers = [event.sequence_number for event in events]
    assert numbers == list(range(len(events))), numbers
    later = list(responses.retrieve(begun.id, stream=True, starting_after=9))
    assert [event.to_dict() for event in later] == [event.to_dict() for event in events[10:]], later[0]
    with responses.stream(response_id=begun.id, starting_after=9) as stream:
        assert next(iter(stream)).sequence_number == 10
        assert stream.get_final_response().output_text == tokens(40)
    got = responses.retrieve(begun.id)
    assert got.status == "completed" and got.output_text == tokens(40) and got.id == begun.id, got
    # A stream that was left is joined where it was left.
    left = responses.create(model="able", input="[tokens=60] [delay=20]", background=True, stream=True)
    seen = [next(left) for _ in range(8)]
    left.close()
    rest = list(responses.retrieve(seen[0].response.id, stream=True, starting_after=seen[-1].sequence_number))
    assert [event.sequence_number for event in rest] == list(range(8, 8 + len(rest))), rest[0]
    said = [event.delta for event in seen + rest if event.type == "response.output_text.delta"]
    assert "".join(said) == tokens(60), said


def cancelling():
    begun = responses.create(model="able", input=LONG, background=True)
    stops_the_engine(lambda: responses.cancel(begun.id))
    assert responses.retrieve(begun.id).status == "cancelled"


def kept():
    first = responses.create(model="able", input=[*ask("one"), *ask("two [tokens=2]")], store=True)
    listed = [item.content[0].text for item in responses.input_items.list(first.id, order="asc")]
    assert listed == ["one", "two [tokens=2]"], listed
    second = responses.create(model="able", input="more [tokens=3]", previous_response_id=first.id)
    assert second.output_text == tokens(3) and second.usage.input_tokens > first.usage.input_tokens, (first, second)
    responses.delete(first.id)
    for gone in [lambda: responses.retrieve(first.id),
                 lambda: responses.create(model="able", input="x", previous_response_id=first.id)]:
        refused(gone, openai.NotFoundError)


def slowly():
    impatient = client.with_options(timeout=1.5).responses
    assert list(impatient.create(model="able", input=SLOW, stream=True))[-1].response.output_text == tokens(2)


def refused(call, kind):
    try:
        call()
    except kind as error:
        assert str(error) and error.type, error
        return error
    raise AssertionError(f"no {kind.__name__}")


def errors():
    assert refused(lambda: responses.create(model="nobody", input="x"), openai.NotFoundError).code == "model_not_found"
    refused(lambda: responses.create(model="nobody", input="x", stream=True), openai.NotFoundError)
    refused(lambda: responses.retrieve("resp_nobody"), openai.NotFoundError)
    refused(lambda: responses.create(model="able", input=[{"role": "wizard", "content": "x"}]), openai.BadRequestError)
    refused(lambda: responses.create(model="able"), openai.BadRequestError)
    file = [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]
    assert refused(lambda: responses.create(model="able", input=file), openai.BadRequestError).param
    # Of the tools that only OpenAI's own servers can run nothing is said beside others; alone they are refused.
    mixed = [{"type": "web_search"}, {"type": "namespace", "name": "agents", "description": "", "tools": []}]
    assert responses.create(model="able", input=BOTH, tools=[*mixed, *TOOLS]).output[-1].type == "function_call"
    assert "tools" in refused(lambda: responses.create(model="able", input="x", tools=mixed), openai.BadRequestError).message


def failing():
    broken = "[tokens=9] [delay=5] [fault=error@3]"
    events = list(responses.create(model="able", input=broken, stream=True, text={"format": {"type": "json_object"}}))
    assert events[-1].type == "response.failed" and "scripted fault" in events[-1].response.error.message, events[-1]


def cancel_by_closing():
    def hang_up():
        stream = responses.create(model="able", input=LONG, stream=True, store=False)
        next(iter(stream))
        stream.close()

    stops_the_engine(hang_up)


run([whole, streaming, helpers, reasoning, tools, schema, background, cancelling, kept, slowly, errors, failing,
     cancel_by_closing])
