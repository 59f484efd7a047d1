"""Rendering of chat templates as in transformers, but with limits on time and memory.

A chat template is a program that comes with a model. Jinja's sandbox prevents it from reading or writing anything, but
not from endless loops or recursion, nor from doubling a text until memory is full. So checks are compiled into the
template: each loop iteration and call checks the CPU time used, and the size of each new text is checked.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, wraps
from typing import Any

from jinja2 import TemplateRuntimeError, nodes, pass_context
from jinja2.environment import Template
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from grsap.compat import chat_template_environment, rewriting_templates

MAX_SECONDS = 3.0
"""CPU time of one rendering; a long conversation takes some milliseconds."""

MAX_CHARACTERS = 50_000_000
"""Limit for each text, and for the output of one rendering."""

MAX_ITEMS = 1_000_000
"""Limit for each list or mapping."""

MAX_NUMBER_BITS = 10_000

_WIDTH = re.compile(r"\d{6,}")


class RunawayError(TemplateRuntimeError):
    """A rendering exceeded its limits."""


class DateError(TemplateRuntimeError):
    """The template requested the current date."""


def render(template: str, variables: Mapping[str, Any]) -> str:
    """Render a template.

    Args:
        template: Jinja source, as in a tokenizer's `chat_template`.
        variables: variables of the template; plain JSON values.

    Raises:
        RunawayError: the template does not end, recurses too deeply, or makes too much text.
        DateError: the template requests the current date.
        Exception: any other error that the template raises.
    """
    _bounds.start()
    try:
        return _compile(template).render(variables)
    except RecursionError as error:
        raise RunawayError("it is nested too deeply, or calls itself without end") from error
    except MemoryError as error:
        raise RunawayError("it needs more memory than there is") from error
    except OverflowError as error:
        raise RunawayError(f"it counts too far ({error})") from error


class _Bounds(threading.local):
    """Time and output used by the current rendering of this thread."""

    deadline = 0.0
    num_written = 0

    def start(self) -> None:
        self.deadline = time.thread_time() + MAX_SECONDS
        self.num_written = 0

    def tick(self) -> None:
        if time.thread_time() > self.deadline:
            raise RunawayError(f"it does not end within {MAX_SECONDS:g} s")

    def write(self, num_characters: int) -> None:
        self.num_written += num_characters
        if self.num_written > MAX_CHARACTERS:
            raise RunawayError(f"it writes more than {MAX_CHARACTERS:,} characters")


_bounds = _Bounds()


def _check_size(num_items: int, most: int = MAX_CHARACTERS) -> None:
    if num_items > most:
        raise RunawayError(f"it makes a value of more than {most:,} characters or items")


def _sized(value: Any) -> Any:
    """Return the value; raise RunawayError if it is too long."""
    if isinstance(value, str):
        _check_size(len(value))
    elif isinstance(value, list | tuple | dict):
        _check_size(len(value), MAX_ITEMS)
    return value


def _check_arguments(name: str, owner: Any, values: Sequence[Any]) -> None:
    """Raise RunawayError before a single call that would make a very long text.

    Args:
        name: name of the method or filter.
        owner: object of the method, or value to filter.
        values: arguments of the call.
    """
    places = 1 + owner.count("\n") + owner.count("\t") if isinstance(owner, str) else 1
    for value in values:
        if isinstance(value, int):  # a width, which may apply to each line or tab
            _check_size(abs(value) * places)
    texts = [value for value in values if isinstance(value, str)]
    if name == "replace" and isinstance(owner, str) and len(texts) > 1:
        _check_size(owner.count(texts[0]) * len(texts[1]))
    if name == "join":
        items = owner if not isinstance(owner, str) else next(iter(values), ())
        if isinstance(items, list | tuple):
            _check_size(sum(len(item) for item in items if isinstance(item, str)))
    if name in ("format", "%") and isinstance(owner, str) and _WIDTH.search(owner):
        raise RunawayError("it writes a number in a very wide field")


@pass_context  # otherwise Jinja's compiler would evaluate the call once, as a constant
def _tick(context: Any, num_characters: int) -> bool:
    _bounds.tick()
    _bounds.write(num_characters)
    return True


def _written(value: Any) -> Any:
    if isinstance(value, str):
        _bounds.write(len(value))
    return value


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter with checks; `wraps` keeps the attribute that determines the first argument in Jinja."""
    first = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def measured(*args: Any, **kwargs: Any) -> Any:
        _bounds.tick()
        _check_arguments(name, args[first], (*args[first + 1 :], *kwargs.values()))
        return _sized(function(*args, **kwargs))

    return measured


@rewriting_templates(lambda environment, source: _Counting(environment).visit(source))
class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"*", "**", "%"})

    def call(self, context: Any, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        _bounds.tick()
        method = getattr(called, "__wrapped__", called)  # the sandbox wraps str.format
        name, owner = getattr(method, "__name__", ""), getattr(method, "__self__", None)
        _check_arguments(name, owner, (*args, *kwargs.values()))
        return _sized(super().call(context, called, *args, **kwargs))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Limit the operators whose results can be large."""
        if operator == "%":
            _check_arguments("%", left, ())
        elif isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
            if bits > MAX_NUMBER_BITS:
                raise RunawayError(f"it makes a number of more than {MAX_NUMBER_BITS:,} bits")
        elif operator == "*":
            for value, times in ((left, right), (right, left)):
                if hasattr(value, "__len__") and isinstance(times, int):
                    _check_size(len(value) * times)
        return super().call_binop(context, operator, left, right)


class _Counting(NodeTransformer):
    """Inserts the checks into a template's syntax tree."""

    def __init__(self, environment: _Environment) -> None:
        self._environment = environment

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        if node.test is not None:
            node.test = self._made(nodes.And(self._filter(nodes.Const(0), "grsap_tick", node), node.test), node)
        return self._with_tick(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        self.generic_visit(node)
        return self._with_tick(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:
        self.generic_visit(node)
        return self._with_tick(node)

    def visit_Output(self, node: nodes.Output) -> nodes.Node:
        self.generic_visit(node)
        node.nodes = [
            each if isinstance(each, nodes.TemplateData) else self._filter(each, "grsap_written", node)
            for each in node.nodes
        ]
        return node

    def _measured(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)
        return self._filter(node, "grsap_sized", node)

    visit_Concat = visit_Add = visit_Mod = _measured

    def _with_tick(self, node: nodes.For | nodes.Macro | nodes.CallBlock) -> nodes.Node:
        """Insert a check at the start of a body, which also counts the plain text that the body writes."""
        texts = [data.data for each in node.body for data in each.find_all(nodes.TemplateData)]
        length = nodes.Const(sum(map(len, texts)))
        node.body.insert(0, self._made(nodes.ExprStmt(self._filter(length, "grsap_tick", node)), node))
        return node

    def _filter(self, value: nodes.Expr, name: str, node: nodes.Node) -> nodes.Expr:
        return self._made(nodes.Filter(value, name, [], [], None, None), node)  # type: ignore[no-any-return]

    def _made(self, made: Any, node: nodes.Node) -> Any:
        return made.set_lineno(node.lineno).set_environment(self._environment)


@lru_cache(maxsize=16)
def _compile(template: str) -> Template:
    """Compile a template with checks, and with the settings, filters and functions of transformers."""
    environment: Any = chat_template_environment().overlay()
    environment.__class__ = _Environment
    counting = {"grsap_tick": _tick, "grsap_written": _written, "grsap_sized": _sized}
    environment.filters = {name: _bounded(name, each) for name, each in environment.filters.items()} | counting
    environment.globals = {name: each for name, each in environment.globals.items() if name != "lipsum"}
    environment.globals["strftime_now"] = _no_date
    compiled: Template = environment.from_string(template)
    return compiled


def _no_date(form: str) -> str:
    raise DateError("it requests the current date")
