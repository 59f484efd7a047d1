"""Wrong settings of nested parts: each message names the key as the user writes it, from the top of the config."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from tests.badinput.case import Case, each
from tests.badinput.worlds import BASE, GENERATOR

ADAPTER_FOLDER = {"adapter/adapter_config.json": "{}", "adapter/config.json": "{}"}
WRONG_BASES: dict[str, tuple[dict[str, Any], str]] = {
    "path": ({"path": "./no_such_model"}, "path ./no_such_model is no model folder"),
    "adapter": ({"path": "./adapter"}, "path ./adapter holds an adapter"),
    "embedded": ({"path": "embedded:none"}, "path embedded:none is unknown"),
    "hub_id": ({"path": "no_such/model"}, "path no_such/model cannot be loaded"),
    "revision": ({"trust_remote_code": True}, "trust_remote_code is on without a revision"),
    "merge_adapter": ({"merge_adapter": "./model"}, "merge_adapter ./model is no PEFT adapter"),
    "chat_template": ({"chat_template": "no.jinja"}, "chat_template no.jinja is missing"),
    "skip_modules": ({"quantization": "nf4", "skip_modules": ["nowhere"]}, "skip_modules names nowhere"),
}
"""What is wrong -> changed settings of a base, and how the message goes on after its place."""

FOUND_WHEN_LOADED = {
    "model.base": (),
    "surprise.model.init_args.base": ("hub_id", "skip_modules"),
    "filters[1].init_args.model.init_args.base": ("hub_id", "skip_modules"),
    "generator.init_args.tokenizer": ("merge_adapter", "skip_modules"),
}
"""Place -> what is not checked there, or only when the model is first used."""
JUDGE = {"class_path": "WildGuardJudge", "init_args": {"generator": GENERATOR}}
SERVER = {
    "class_path": "OpenAIGenerator",
    "init_args": {"base_url": "http://127.0.0.1:9/v1", "model": "m", "tokenizer": {"path": "model"}},
}
SUBJECT = {"class_path": "ModelSubject", "init_args": {"base": BASE}}
PLACES: dict[str, tuple[str, str, Any]] = {
    "fit-model.base": ("fit", "model.base", None),
    "fit-trainer.callbacks[0].init_args.judge.init_args.generator.init_args.base": (
        "fit",
        "trainer.callbacks.0.init_args.judge",
        JUDGE,
    ),
    "evaluate-subjects[0].init_args.base": ("evaluate", "subjects", [SUBJECT]),
    "evaluate-subjects[1].init_args.base": ("evaluate", "subjects", [SUBJECT, copy.deepcopy(SUBJECT)]),
    "evaluate-judges[1].init_args.generator.init_args.base": (
        "evaluate",
        "judges",
        [{"class_path": "RefusalMatcher"}, JUDGE],
    ),
    "evaluate-surprise.model.init_args.base": ("evaluate", "surprise", {"model": GENERATOR}),
    "curate-judge.init_args.generator.init_args.base": ("curate", "judge", JUDGE),
    "curate-filters[1].init_args.model.init_args.base": (
        "curate",
        "filters",
        [{"class_path": "Completeness"}, {"class_path": "Perplexity", "init_args": {"model": GENERATOR}}],
    ),
    "similarity-model.init_args.base": ("similarity", "model", GENERATOR),
    "synthesize-generator.init_args.base": ("synthesize", "generator", GENERATOR),
    "synthesize-generator.init_args.tokenizer": ("synthesize", "generator", SERVER),
}
"""Verb and place -> verb, the setting that holds it, and a right value."""


def _bases() -> Iterator[Case]:
    for name, (verb, setting, value) in PLACES.items():
        place = name.partition("-")[2]
        for wrong, (changes, problem) in WRONG_BASES.items():
            if wrong in FOUND_WHEN_LOADED.get(place, ("skip_modules",)):
                continue
            way = place.replace("[", ".").replace("]", "")
            given = {} if value is None else {setting: copy.deepcopy(value)}
            wrongs = {f"{way}.{key}": each for key, each in changes.items()}
            yield Case(f"{name}-{wrong}", verb, (f"{place}.{problem}",), {**given, **wrongs}, ADAPTER_FOLDER)


PANEL = {"class_path": "JudgePanel", "init_args": {"judges": [{"class_path": "RefusalMatcher"}, JUDGE]}}
REFUSED: dict[str, tuple[str, Any, str]] = {
    "fit-batching": ("data.batching.global_batch_size", 0, "data.batching.global_batch_size is 0"),
    "fit-fitting": ("data.batching.max_tokens_per_micro_batch", 9, "data.batching.max_tokens_per_micro_batch is 9"),
    "fit-encoding": ("data.encoding.max_length", 1, "data.encoding.max_length is 1"),
    "fit-sampler": ("data.sampler.init_args.num_rows", 0, "data.sampler.init_args.num_rows is 0"),
    "fit-step": ("model.step.max_grad_norm", 0, "model.step.max_grad_norm is 0"),
    "fit-sampling": (
        "trainer.callbacks.0.init_args.sampling.max_new_tokens",
        0,
        "trainer.callbacks[0].init_args.sampling.max_new_tokens is 0",
    ),
    "fit-target_modules": (
        "model.lora.target_modules",
        ["q_proj", "q"],
        ".target_modules names q, and the base has no such",
    ),
    "fit-linked": ("model.base.chat_template", "no.jinja", "model.base.chat_template no.jinja is missing"),
    "evaluate-sampling": ("sampling.temperature", -1, "sampling.temperature is -1"),
    "evaluate-panel": (
        "judges",
        [{**PANEL, "init_args": {"judges": [{**JUDGE, "init_args": {"generator": GENERATOR, "top_logprobs": -1}}]}}],
        "judges[0].init_args.judges[0].init_args.top_logprobs is -1",
    ),
    "evaluate-server": (
        "subjects",
        [
            SUBJECT,
            {
                "class_path": "GeneratorSubject",
                "init_args": {
                    "generator": {**SERVER, "init_args": {**SERVER["init_args"], "server": {"concurrency": 0}}}
                },
            },
        ],
        "subjects[1].init_args.generator.init_args.server.concurrency is 0",
    ),
    "synthesize-quota": ("quota.max_attempts", 0, "quota.max_attempts is 0"),
    "synthesize-device": ("generator.init_args.device", "cuda:99", "generator.init_args.device is cuda:99"),
}
"""Verb and part -> setting, wrong value, and what the message must hold."""

CASES = [
    *each(3, _bases()),
    *(
        Case(f"{name}-place", name.partition("-")[0], (named,), {key: copy.deepcopy(value)})
        for name, (key, value, named) in REFUSED.items()
    ),
]
