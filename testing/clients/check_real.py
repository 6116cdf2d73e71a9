"""A real model through the mesh, by the real Python clients of all dialects: chat, completion and vectors."""

import math

import anthropic
import ollama
import openai
from common import EDGE, run

MODEL = "smollm2"
ASK = [{"role": "user", "content": "Write one sentence about a lighthouse."}]
TEXT = "Once upon a time"
SAME = {"temperature": 0, "seed": 7}

theirs = openai.OpenAI(base_url=EDGE + "/v1", api_key="any", max_retries=0)
ours = ollama.Client(host=EDGE)
claude = anthropic.Anthropic(base_url=EDGE, api_key="any", max_retries=0)


def chats():
    whole = theirs.chat.completions.create(model=MODEL, messages=ASK, max_tokens=24, **SAME)
    said = whole.choices[0].message.content
    assert len(said.split()) > 4 and whole.usage.completion_tokens <= 24, whole
    stream = theirs.chat.completions.create(model=MODEL, messages=ASK, max_tokens=24, stream=True, **SAME)
    assert "".join(part.choices[0].delta.content or "" for part in stream if part.choices) == said
    options = {"num_predict": 24, **SAME}
    answer = ours.chat(MODEL, messages=ASK, options=options)
    assert answer.message.content == said and answer.eval_count <= 24, (answer, said)
    parts = list(ours.chat(MODEL, messages=ASK, options=options, stream=True))
    assert "".join(part.message.content for part in parts) == said and len(parts) > 10, parts
    assert parts[-1].done_reason in ("stop", "length") and parts[-1].total_duration > 0, parts[-1]


def messages():
    same = {"model": MODEL, "messages": ASK, "max_tokens": 24, "extra_body": {"temperature": 0}}
    whole = claude.messages.create(**same)
    said = whole.content[0].text
    assert len(said.split()) > 4 and whole.usage.output_tokens <= 24, whole
    assert whole.stop_reason in ("end_turn", "max_tokens"), whole
    stream = claude.messages.create(**same, stream=True)
    deltas = [event.delta.text for event in stream if event.type == "content_block_delta"]
    assert "".join(deltas) == said and len(deltas) > 10, (deltas, said)
    counted = claude.messages.count_tokens(model=MODEL, messages=ASK).input_tokens
    assert counted == whole.usage.input_tokens + whole.usage.cache_read_input_tokens, (counted, whole.usage)


def responses():
    same = {"model": MODEL, "input": ASK, "max_output_tokens": 24, "temperature": 0}
    whole = theirs.responses.create(**same)
    assert len(whole.output_text.split()) > 4 and whole.usage.output_tokens <= 24, whole
    with theirs.responses.stream(**same) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
    assert "".join(deltas) == whole.output_text and len(deltas) > 10, (deltas, whole)
    more = theirs.responses.create(**{**same, "input": "And one about a harbour."}, previous_response_id=whole.id)
    assert more.output_text and more.usage.input_tokens > whole.usage.input_tokens + 20, more


def completions():
    whole = theirs.completions.create(model=MODEL, prompt=TEXT, max_tokens=16, **SAME).choices[0].text
    assert len(whole.split()) > 3, whole
    stream = theirs.completions.create(model=MODEL, prompt=TEXT, max_tokens=16, stream=True, **SAME)
    assert "".join(part.choices[0].text for part in stream if part.choices) == whole
    options = {"num_predict": 16, **SAME}
    assert ours.generate(MODEL, TEXT, raw=True, options=options).response == whole
    parts = ours.generate(MODEL, TEXT, raw=True, options=options, stream=True)
    assert "".join(part.response for part in parts) == whole


def schema():
    form = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
    answer = ours.chat(MODEL, messages=ASK, format=form, options={"num_predict": 60, **SAME}).message.content
    assert answer.lstrip().startswith("{") and "place" in answer, answer


def alike(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def vectors():
    texts = ["a boat on the sea", "a ship on the ocean", "the tax return of a company"]
    packed = [entry.embedding for entry in theirs.embeddings.create(model=MODEL, input=texts).data]
    plain = ours.embed(MODEL, input=texts).embeddings
    assert len(packed) == len(plain) == 3 and len(packed[0]) == 576, len(packed[0])
    assert all(alike(a, b) > 0.999 for a, b in zip(packed, plain))
    assert alike(plain[0], plain[1]) > alike(plain[0], plain[2]), "what means the same is nearer"
    assert alike(ours.embeddings(MODEL, texts[0]).embedding, plain[0]) > 0.999


def shows():
    shown = ours.show(MODEL)
    assert {"completion", "embedding"} & set(shown.capabilities) and shown.modelinfo is not None, shown
    assert f"{MODEL}:latest" in [model.model for model in ours.list().models]


run([chats, messages, responses, completions, schema, vectors, shows])
