"""Servers that are no address, do not answer, or are asked in a way that cannot work."""

from __future__ import annotations

from typing import Any

from tests.badinput.case import Case
from tests.badinput.worlds import BASE

SERVER = {"base_url": "http://127.0.0.1:9/v1", "model": "m", "tokenizer": {"path": "model"}}


def spec(**changed: Any) -> dict[str, Any]:
    """A model on a server."""
    return {"class_path": "OpenAIGenerator", "init_args": {**SERVER, **changed}}


URLS = {
    "empty": "",
    "words": "my server",
    "no_scheme": "127.0.0.1:8000/v1",
    "file": "file:///etc/passwd",
    "ftp": "ftp://127.0.0.1/v1",
    "no_host": "http:///v1",
    "user": "http://me:secret@127.0.0.1/v1",
    "query": "http://127.0.0.1/v1?key=secret",
    "bad_port": "http://127.0.0.1:notaport/v1",
    "huge_port": "http://127.0.0.1:99999999/v1",
    "bad_bracket": "http://[::1/v1",
    "control": "http://127.0.0.1\n/v1",
}
SETTINGS: dict[str, Any] = {
    "concurrency": 0,
    "timeout_s": 0,
    "max_retries": -1,
    "give_up_after_s": 0,
    "backoff_s": -1.0,
    "max_backoff_s": 0,
    "max_requests_per_minute": 0,
    "api_key_env": "NO_SUCH_VARIABLE_AT_ALL",
}
TOKENIZERS: dict[str, tuple[Any, str]] = {
    "missing": ({"path": "./no_such"}, "no_such"),
    "file": ({"path": "domains.yaml"}, "domains.yaml"),
    "null": (None, "tokenizer"),
    "empty": ({}, "tokenizer"),
    "unknown_key": ({"path": "model", "colour": "red"}, "tokenizer"),
}
TRANSFORMERS = {"class_path": "TransformersGenerator"}
SPECS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "server-prompt_format-unknown": (spec(prompt_format="json"), ("prompt_format",)),
    "server-unknown_key": (spec(temperature=1), ("temperature",)),
    "server-concurrency-huge": (spec(server={"concurrency": 10**30}), ("concurrency",)),
    "class-no_such_class": ({"class_path": "NoSuch"}, ("NoSuch",)),
    "class-of_another_kind": ({"class_path": "RefusalMatcher"}, ("RefusalMatcher",)),
    "class-a_function": ({"class_path": "grsap.synthesis.load_domains"}, ("load_domains",)),
    "class-untrusted": ({"class_path": "subprocess.Popen"}, ("--trust-module",)),
    "class-no_module": ({"class_path": "no_such_module.Mine"}, ("no_such_module",)),
    "class-argument_unknown": ({**TRANSFORMERS, "init_args": {"base": BASE, "bas": 1}}, ("bas",)),
    "class-device": ({**TRANSFORMERS, "init_args": {"base": BASE, "device": "toaster"}}, ("device",)),
    "class-device_number": ({**TRANSFORMERS, "init_args": {"base": BASE, "device": "cuda:99"}}, ("device",)),
    **{f"server-url-{name}": (spec(base_url=url), ("base_url",)) for name, url in URLS.items()},
    **{f"server-{name}-wrong": (spec(server={name: value}), (name,)) for name, value in SETTINGS.items()},
    **{f"server-tokenizer-{name}": (spec(tokenizer=value), (named,)) for name, (value, named) in TOKENIZERS.items()},
}
TWO = [{"class_path": "GeneratorSubject", "init_args": {"generator": spec(), "name": name}} for name in ("one", "two")]

CASES = [
    Case(f"synthesize-{name}", "synthesize", names, {"generator": generator})
    for name, (generator, names) in SPECS.items()
]
CASES += [
    Case("evaluate-server-two_alike", "evaluate", ("one", "two", "the same identity"), {"subjects": TWO}),
    Case(
        "evaluate-server-lm_eval",
        "evaluate",
        ("lm_eval_tasks",),
        {"subjects": TWO[:1], "lm_eval_tasks": {"tasks": ["no_such_task"]}},
    ),
]
