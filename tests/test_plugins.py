"""Classes of one's own that return what they must not: told by class, file and line, at each base class's border."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from tests.own_plugins import (
    ITEM,
    NAMES,
    OBJECTIVES,
    Own,
    OwnBalancer,
    OwnBenchmark,
    OwnElicitation,
    OwnEmbedder,
    OwnFilter,
    OwnGenerator,
    OwnJudge,
    OwnObjective,
    OwnRowFilter,
    OwnSampler,
    OwnSchedule,
    OwnSubjects,
    OwnSurvival,
    OwnTask,
    answer,
    decisions,
    factor,
    likelihoods,
    load,
    loaded,
    losses,
    mark,
    order,
    prompt_ids,
    read,
    rows,
    schedule,
    score,
    stream,
    subjects,
    survivors,
    vectors,
    verdicts,
    weights,
)

from grsap.curation import Decision, keep
from grsap.data import RatioSampler, Sampler
from grsap.data.plan import RatioChange, Schedule
from grsap.errors import ConfigError
from grsap.generation import Likelihood
from grsap.judging import Verdict
from grsap.objectives import CrossEntropy, Objective, TokenChunk
from grsap.plugins import PluginError, described, is_finite
from grsap.training.plugin_states import check_states

NAN, INF = float("nan"), float("inf")


WRONG: list[tuple[type[Own], Callable[[Any], Any], str, list[tuple[Any, str]]]] = [
    (OwnObjective, losses, "token_losses", [
        (torch.tensor(1.0), "returns a Tensor of shape () of torch.float32 for 3 tokens"),
        (torch.ones(2), "returns a Tensor of shape (2,)"),
        (torch.ones(3, 1), "returns a Tensor of shape (3, 1)"),
        (torch.ones(3, dtype=torch.int64), "of torch.int64 for 3 tokens"),
        (1.5, "returns a float for 3 tokens"),
        ([1.0, 2.0, 3.0], "returns a list for 3 tokens"),
        (None, "returns None for 3 tokens"),
        (torch.ones(3), "returns losses without a gradient"),
        (lambda chunk: chunk.hidden.detach().sum(-1), "returns losses without a gradient"),
        (lambda chunk: (value for value in chunk.hidden.sum(-1)), "returns a generator for 3 tokens"),
        (lambda chunk: chunk.hidden.sum(-1).to("meta"), "returns losses on meta, but the chunk is on cpu"),
    ]),
    (OwnBalancer, weights, "weights", [
        ({NAMES[0]: 1.0}, f"returns weights of {NAMES[0]}"),
        ({}, "returns weights of nothing"),
        ({**dict.fromkeys(NAMES, 1.0), "other": 1.0}, "returns weights of task_cross_entropy, replay_cross_ent"),
        (dict.fromkeys(NAMES, NAN), "returns nan for task_cross_entropy"),
        ({NAMES[0]: 1.0, NAMES[1]: -0.5}, "returns -0.5 for replay_cross_entropy"),
        (dict.fromkeys(NAMES, INF), "returns inf for task_cross_entropy"),
        (dict.fromkeys(NAMES, "1"), "returns '1' for task_cross_entropy"),
        (dict.fromkeys(NAMES, torch.ones(1)), "returns a Tensor of shape (1,) for task_cross_entropy"),
        ([1.0, 1.0], "returns a list"),
        (None, "returns None"),
        (dict.fromkeys(OBJECTIVES, 1.0), "returns weights of a CrossEntropy, a CrossEntropy"),
    ]),
    (OwnSampler, schedule, "schedule", [
        ({"num_rows": 3}, "returns a dict"),
        (None, "returns None"),
        (Schedule(3, 2, 6, 2), "returns num_task 3, not 4"),
        (Schedule(4, 2, 6, 3), "returns global_batch_size 3, not 2"),
        (Schedule(4, 2, 0, 2), "returns num_rows 0"),
        (Schedule(4, 2, 2.5, 2), "returns num_rows 2.5"),  # type: ignore[arg-type]
        (Schedule(4, 2, 6, 2, (RatioChange(0, 1.5),)), "replay_ratio=1.5),): replay_ratio is 1.5"),
        (Schedule(4, 2, 6, 2, (RatioChange(2, 0.5),)), "returns changes (RatioChange(from_step=2, "),
        (Schedule(4, 2, 6, 2, (RatioChange(0, 0.5), RatioChange(1.5, 0.2))), "RatioChange(from_step=1.5, "),  # type: ignore[arg-type]
        (Schedule(4, 2, 6, 2, [(0, 0.5)]), "returns changes [(0, 0.5)]"),  # type: ignore[arg-type]
        (Schedule(4, 2, 6, 2, ()), "returns changes ()"),
    ]),
    (OwnSampler, order, "task_order", [
        ([0, 1], "returns 2 indices, not each of 3 rows once"),
        ([0, 1, 1], "returns 3 indices, not each of 3 rows once"),
        ([0.0, 1.0, 2.0], "returns a list"),
        (["a", "b", "c"], "returns a list"),
        ({0: 1}, "returns 1 indices"),
        (itertools.cycle([0, 1, 2]), "returns more than 3 indices, not each of 3 rows once"),
        (None, "returns None"),
        (5, "returns an int"),
    ]),
    (OwnSchedule, factor, "factor", [
        ([0.5], "returns a list at step 1 of 4"),
        (None, "returns None at step 1"),
        ("0.5", "returns '0.5' at step 1"),
        (NAN, "returns nan at step 1"),
        (INF, "returns inf at step 1"),
        (-0.1, "returns -0.1 at step 1"),
        (True, "returns True at step 1"),
        (torch.tensor([0.5]), "returns a Tensor of shape (1,) at step 1"),
    ]),
    (OwnTask, rows, "rows", [
        (None, "returns None for 'train'"),
        ("text", "returns a str for 'train'"),
        ({"messages": []}, "returns a dict for 'train'"),
        (7, "returns an int for 'train'"),
    ]),
    (OwnTask, score, "score", [
        ("0.5", "returns '0.5'"),
        (7.0, "returns 7.0"),
        (-0.1, "returns -0.1"),
        (NAN, "returns nan"),
        (None, "returns None"),
        ([1.0], "returns a list"),
        (torch.tensor(1.0), "returns a Tensor of shape ()"),
    ]),
    (OwnJudge, verdicts, "judge", [
        ([Verdict()], "returns 1 verdicts for 2 exchanges"),
        ([Verdict()] * 3, "returns 3 verdicts for 2 exchanges"),
        (Verdict(), "returns a Verdict for 2 exchanges"),
        (None, "returns None for 2 exchanges"),
        ([True, False], "returns a bool"),
        ([{"response_harmful": True}] * 2, "returns a dict"),
        ([Verdict(response_harmful="yes"), Verdict()], "returns response_harmful 'yes'"),  # type: ignore[arg-type]
        ([Verdict(response_refusal=0.3)] * 2, "returns response_refusal 0.3"),  # type: ignore[arg-type]
        ([Verdict(prompt_harmful=np.True_)] * 2, "returns prompt_harmful np.True_"),  # type: ignore[arg-type]
    ]),
    (OwnGenerator, stream, "stream", [
        ([answer("a")], "leaves 1 of 2 requests without an answer, such as b"),
        ([], "leaves 2 of 2 requests without an answer, such as a"),
        ([answer("a"), answer("c")], "yields an answer to 'c', which was not requested"),
        ([answer("a"), answer("a")], "yields an answer to 'a', which was not requested or is already answered"),
        (["text", "text"], "yields a str"),
        (None, "returns None"),
        ("text", "returns a str"),
        ([answer("a", text=None), answer("b")], "yields text None with finish_reason 'stop'"),
        ([answer("a", finish_reason="done"), answer("b")], "yields text a str with finish_reason 'done'"),
        ([answer("a", token_ids=("x",)), answer("b")], "yields token_ids as a tuple"),
        ([answer("a", token_ids=None), answer("b")], "yields token_ids as None"),
    ]),
    (OwnGenerator, likelihoods, "likelihoods", [
        ([Likelihood("a", (-1.0,))], "yields 1 numbers for the 2 tokens of 'a'"),
        ([Likelihood("a", (-1.0, NAN))], "yields 2 numbers for the 2 tokens of 'a', nan among them"),
        ([Likelihood("a", (-INF, -1.0))], "yields 2 numbers for the 2 tokens of 'a', -inf among them"),
        ([Likelihood("a", (-1.0, 2.0))], "yields 2 numbers for the 2 tokens of 'a', 2.0 among them"),
        ([Likelihood("b", (-1.0, -1.0))], "yields 2 numbers for the None tokens of 'b'"),
        ([], "leaves out 1 of 1 requests"),
    ]),
    (OwnEmbedder, vectors, "batches", [
        ([([0, 1], np.ones((2, 3)) * NAN)], "yields a vector that is not finite for text 0"),
        ([([0, 1], np.ones(2))], "yields vectors of shape (2,) for 2 indices"),
        ([([0, 1], np.ones((1, 3)))], "yields vectors of shape (1, 3) for 2 indices"),
        ([([0, 1], np.ones((2, 0)))], "yields vectors of shape (2, 0) for 2 indices"),
        ([([0], np.ones((1, 3)))], "leaves out 1 of 2 texts"),
        ([([0], np.ones((1, 3))), ([1], np.ones((1, 4)))], "for 1 indices, after vectors of 3 dimensions"),
        ([([0, 0], np.ones((2, 3)))], "yields the indices [0, 0]"),
        ([([0, 5], np.ones((2, 3)))], "yields the indices [0, 5]"),
        ([([0, -1], np.ones((2, 3)))], "yields the indices [0, -1]"),
        ([np.ones((2, 3, 3))[0]], "yields an ndarray of shape (3, 3)"),
        ([([0, 1], [["a"], ["b"]])], "yields a tuple"),
    ]),
    (OwnFilter, decisions, "decide", [
        (True, "returns a bool"),
        ([True, True], "gives a bool"),
        ([keep()], "yields 1 decisions for 2 rows"),
        ([keep()] * 3, "yields more than 2 decisions for 2 rows"),
        ([Decision(False), keep()], "gives keep False with reason None"),
        ([Decision(1), keep()], "gives keep 1 with reason None"),  # type: ignore[arg-type]
        ([keep(length=NAN)] * 2, "gives length the score nan"),
        ([keep(length="7")] * 2, "gives length the score '7'"),  # type: ignore[arg-type]
    ]),
    (OwnRowFilter, decisions, "decide_row", [(True, "gives a bool"), (None, "gives None"), (False, "gives a bool")]),
    (OwnBenchmark, load, "load", [
        ([ITEM], "returns a list"),
        (loaded(), "returns no item"),
        (loaded({"id": "a"}), "returns a dict as an item"),
        (loaded(ITEM, ITEM), "returns two items with the id 'a'"),
    ]),
    (OwnBenchmark, mark, "mark", [(2.0, "returns 2.0"), ("1", "returns '1'"), (NAN, "returns nan"), ([1], "a list")]),
    (OwnSubjects, subjects, "subjects", [(None, "returns None"), ({}, "returns a dict"), ([1], "is not a Subject")]),
    (OwnElicitation, prompt_ids, "prompt_ids", [
        ("text", "returns a str"),
        ([1.5], "returns a list"),
        ([], "returns the ids []"),
        ([-1], "returns the ids [-1]"),
        (None, "returns None"),
    ]),
    (OwnElicitation, read, "read", [("text", "returns a str"), (None, "returns None")]),
    (OwnSurvival, survivors, "survivors", [(None, "returns None"), (["a"], "something that is not one of the rows")]),
]  # fmt: skip


def cases() -> Iterator[Any]:
    for kind, border, method, results in WRONG:
        for number, (result, told) in enumerate(results):
            yield pytest.param(kind, border, method, result, told, id=f"{kind.__name__}-{method}-{number}")


@pytest.mark.parametrize(("kind", "border", "method", "result", "told"), cases())
def test_what_a_plugin_must_not_return(
    kind: type[Own], border: Callable[[Any], Any], method: str, result: Any, told: str
) -> None:
    plugin = kind.__new__(kind)
    plugin.result = result
    with pytest.raises(PluginError) as caught:
        border(plugin)
    line = inspect.getsourcelines(getattr(kind, method))[1]
    assert str(caught.value).startswith(f"{kind.__name__}.{method} (tests/own_plugins.py, line {line}) ")
    assert told in caught.value.problem
    assert caught.value.remedy
    assert caught.value.exit_code == 2


CHANGED = Schedule(4, 2, 6, 2).with_change(0, 1.0).with_change(np.int64(2), np.float32(0.3))  # type: ignore[arg-type]

RIGHT: list[tuple[type[Own], Callable[[Any], Any], Any, Any]] = [
    (OwnObjective, losses, lambda chunk: chunk.hidden.sum(-1), None),
    (OwnBalancer, weights, {NAMES[0]: 1, NAMES[1]: np.float32(0.5)}, {NAMES[0]: 1.0, NAMES[1]: 0.5}),
    (OwnSampler, order, np.array([2, 0, 1]), [2, 0, 1]),
    (OwnSampler, schedule, Schedule(4, 2, 6, 2), Schedule(4, 2, 6, 2)),
    (OwnSampler, schedule, CHANGED, CHANGED),
    (OwnSchedule, factor, np.float64(1.5), 1.5),
    (OwnTask, score, True, 1.0),
    (OwnTask, rows, ({} for _ in range(2)), [{}, {}]),
    (OwnJudge, verdicts, (Verdict(True), Verdict()), [Verdict(True), Verdict()]),
    (OwnGenerator, stream, iter([answer("b"), answer("a")]), [answer("a"), answer("b")]),
    (OwnRowFilter, decisions, keep(length=3), [keep(length=3)] * 2),
    (OwnBenchmark, mark, None, None),
    (OwnElicitation, prompt_ids, torch.tensor([1, 2]), (1, 2)),
]


@pytest.mark.parametrize(("kind", "border", "result", "expected"), RIGHT)
def test_what_a_plugin_may_return(kind: type[Own], border: Callable[[Any], Any], result: Any, expected: Any) -> None:
    plugin = kind.__new__(kind)
    plugin.result = result
    found = border(plugin)
    assert expected is None or found == expected


def test_an_objective_that_forgets_its_base_is_refused() -> None:
    class Forgetful(Objective):
        def __init__(self) -> None: ...

        def token_losses(self, chunk: TokenChunk) -> Any: ...

    with pytest.raises(PluginError, match=r"Forgetful.__init__ \(tests/test_plugins.py, line \d+\) sets no source"):
        Forgetful().check_attributes()
    wrong = CrossEntropy("task")
    wrong.weight = NAN
    with pytest.raises(PluginError, match="sets weight nan"):
        wrong.check_attributes()


def test_a_schedule_of_numpy_numbers_holds_plain_ones_and_the_exact_share() -> None:
    assert CHANGED.changes[1] == RatioChange(2, 0.3)
    assert [type(value) for value in vars(CHANGED.changes[1]).values()] == [int, float]


def test_a_change_that_a_sampler_of_a_user_cannot_make_is_named_with_its_file() -> None:
    class Rising(Sampler):
        def schedule(self, num_task: int, num_replay: int, global_batch_size: int) -> Schedule:
            return Schedule(num_task, num_replay, num_task, global_batch_size).with_change(0, 1.5)

    place = r"Rising.schedule \(tests/test_plugins.py, line \d+\)"
    with pytest.raises(PluginError, match=rf"^{place} fails: replay_ratio is 1.5. Give the share"):
        Rising().checked_schedule(4, 2, 2)
    with pytest.raises(ConfigError, match=r"^replay_ratio is 0.5, but there are no replay rows. Set data.replay.$"):
        RatioSampler(0.5).checked_schedule(4, 0, 2)  # settings, not code


def test_reference_logits_without_the_attribute_that_asks_for_them() -> None:
    with pytest.raises(RuntimeError, match="needs `needs_reference = True` on the class of the objective"):
        losses(OwnObjective(lambda chunk: chunk.reference_logits.sum(-1)))


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (None, "returns None"),
        ([1.0], "returns a list"),
        ({"rule": lambda: 0}, "returns a state that cannot be written ("),
    ],
)
def test_a_state_that_no_checkpoint_can_hold_is_named_before_weights_load(state: Any, told: str) -> None:
    class Stated(OwnBalancer):
        def state_dict(self) -> Any:
            return self.result

        def load_state_dict(self, state_dict: Any) -> None: ...

    with pytest.raises(PluginError) as caught:
        check_states({"model.balancer": Stated(state), "model.schedule": object()})
    line = inspect.getsourcelines(Stated.state_dict)[1]
    assert str(caught.value).startswith(f"Stated.state_dict (tests/test_plugins.py, line {line}) {told}")
    check_states({"model.balancer": Stated({"n": 1, "mean": torch.ones(2)})})


def test_values_by_their_type() -> None:
    values = (None, 1, [1], np.ones((2, 3)), torch.ones(()))
    assert [described(each) for each in values] == [
        "None", "an int", "a list", "an ndarray of shape (2, 3)", "a Tensor of shape ()"
    ]  # fmt: skip
    assert [is_finite(each) for each in (1, 0.5, np.float32(1), NAN, INF, True, "1", None)] == [True] * 3 + [False] * 5
