"""Renderings are those of transformers, and end."""

from __future__ import annotations

import time

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from grsap.errors import TemplateError
from grsap.text import ChatTemplate, rendering
from grsap.text.rendering import RunawayError, render

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": " Who\n"},
    {"role": "assistant", "content": "Ada."},
]
PROGRAMS = [
    "{% for m in messages if m.role != 'user' %}{{ loop.index }}/{{ loop.length }}{{ loop.last }}{{ m.content }}"
    "{% endfor %}",
    "{% macro f(m, n=2) %}{{ m.content * n }}{{ caller() if caller }}{% endmacro %}{{ f(messages[0]) }}"
    "{% call f(messages[1], n=3) %}x{% endcall %}",
    "{% set ns = namespace(a=[], b='') %}{% for m in messages %}{% set ns.a = ns.a + [m.role ~ '%s' % m.content] %}"
    "{% endfor %}{{ ns.a | join(', ') }}{{ ns.a | tojson(indent=2) }}{{ 7 % 4 }}{{ 2 ** 5 }}",
    "{% for m in messages recursive %}{{ m if m is string else loop([m.role, m.content]) }}{% endfor %}",
    "{% set x %}{% filter upper %}{{ messages[2].content }}{% endfilter %}{% endset %}"
    "{{ x.replace('A', 'b').center(9) }}",
    "{% generation %}{{ messages | map(attribute='role') | list }}{% endgeneration %}"
    "{% if tools is defined %}{{ tools }}{% endif %}",
    "{%- for m in messages -%}\n  {% if loop.first %}{% continue %}{% endif %}\n"
    "  {{ '{:>5}'.format(m.role) }}\n{%- endfor %}\n\n",
    "{{ missing }}{{ bos_token }}{{ messages[0]['content'][::-1] }}{{ 'a' + 'b' ~ 3 }}{{ range(3) | sum }}{{ none }}",
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_same_text_as_transformers(program: str) -> None:
    variables = {"bos_token": "<s>", "tools": None, "documents": None, "add_generation_prompt": True}
    theirs, _ = render_jinja_template([MESSAGES], chat_template=program, **variables)
    assert render(program, {"messages": MESSAGES, **variables}) == theirs[0]


ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}BODY{% endfor %}{% endfor %}"
LOOPS = [
    ENDLESS.replace("BODY", ""),
    ENDLESS.replace("BODY", "{% set x = i * j %}"),
    "{% for i in range(99999) %}{% for j in range(99999) if false %}{% endfor %}{% endfor %}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% for x in [1, 1] recursive %}{% if loop.depth < 60 %}{{ loop([1, 1]) }}{% endif %}{% endfor %}",
    "{% for i in range(99999) %}{% set x = range(99999) | sum %}{% endfor %}",
    "{% macro m() %}{{ caller() }}{% endmacro %}" + ENDLESS.replace("BODY", "{% call m() %}{% endcall %}"),
]


@pytest.mark.parametrize("program", LOOPS)
def test_loops_end(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "MAX_SECONDS", 0.05)
    start = time.thread_time()
    with pytest.raises(RunawayError, match=r"does not end within 0.05 s"):
        render(program, {"messages": MESSAGES})
    assert time.thread_time() - start < 1


GROWING = "{% set ns = namespace(x=START) %}{% for i in range(99) %}{% set ns.x = STEP %}{% endfor %}{{ ns.x }}"
OUTPUTS = [
    GROWING.replace("START", "'ab'").replace("STEP", "ns.x + ns.x"),
    GROWING.replace("START", "'ab'").replace("STEP", "ns.x ~ ns.x"),
    GROWING.replace("START", "'ab'").replace("STEP", "'%s%s' % (ns.x, ns.x)"),
    GROWING.replace("START", "'ab'").replace("STEP", "ns.x.replace('a', ns.x)"),
    GROWING.replace("START", "'ab'").replace("STEP", "ns.x | replace('a', ns.x)"),
    GROWING.replace("START", "'ab'").replace("STEP", "[ns.x, ns.x] | join"),
    GROWING.replace("START", "[1]").replace("STEP", "ns.x + ns.x"),
    GROWING.replace("START", "9").replace("STEP", "ns.x * ns.x"),
    "{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}"
    "{% set ns.x = y %}{% endfor %}",
    ENDLESS.replace("BODY", "word " * 200),
    ENDLESS.replace("BODY", "{{ messages[0].content * 1000 }}"),
    "{{ 'x' * 10000000000 }}",
    "{{ 10 ** (10 ** 10) }}",
    "{{ 'x' | center(10000000000) }}",
    "{{ 'x'.ljust(10000000000) }}",
    "{{ ('\\t' * 100000).expandtabs(100000) }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '{:999999999}'.format(1) }}",
    "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "{% if true %}" * 3000 + "{% endif %}" * 3000,
]


@pytest.mark.parametrize("program", OUTPUTS, ids=range(len(OUTPUTS)))
def test_texts_and_depth_are_bounded(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "MAX_CHARACTERS", 1_000_000)
    monkeypatch.setattr(rendering, "MAX_ITEMS", 100_000)
    with pytest.raises(RunawayError, match=r"writes|makes|nested too deeply"):
        render(program, {"messages": MESSAGES})


@pytest.mark.parametrize("program", [LOOPS[0], OUTPUTS[0]])
def test_a_template_that_runs_away_is_the_models_fault(shaped, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "MAX_SECONDS", 0.05)
    tokenizer = shaped("qwen25")
    tokenizer.chat_template = program
    with pytest.raises(TemplateError, match=r"the chat template runs away: it .*use another one: set chat_template"):
        ChatTemplate(tokenizer)
