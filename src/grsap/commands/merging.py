"""Merge settings of several files and of the command line without mixing the arguments of different classes.

The parser keeps arguments of a replaced class that the new class also has: `torch.optim.SGD` would train with AdamW's
`weight_decay`. It also merges lists item by item, but only those that happen to have the same length. It offers no
setting for either, so two of its functions are replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonargparse import Namespace

from grsap.compat import import_class, parser_rules

_typehints = parser_rules()
_adapt_typehints = _typehints.adapt_typehints
_discard_init_args = _typehints.discard_init_args_on_class_path_change


def drop_arguments_of_other_class(parser_or_action: Any, previous: Any, value: Any) -> None:
    """Drop the arguments of a class specification from `previous`, in place, if `value` names another class.

    Two import paths of one class count as the same class.
    """
    spec = _typehints.subclass_spec_as_namespace(previous)
    if not spec or spec.get("class_path") is None:  # arguments of the setting's own type, given without a class
        _discard_init_args(parser_or_action, previous, value)
    elif _imported(spec["class_path"]) != _imported(value["class_path"]):
        spec.pop("init_args", None)
        spec.pop("dict_kwargs", None)


def adapt_without_earlier_items(value: Any, typehint: Any, *args: Any, **kwargs: Any) -> Any:
    """Adapt a value to a type; a list of classes replaces an earlier list instead of merging with its items.

    A nested option, such as `--trainer.callbacks.every_n_steps 5`, still changes the last item of the list.
    """
    if isinstance(value, list) and value and all(isinstance(item, (Mapping, Namespace, str)) for item in value):
        kwargs = {**kwargs, "prev_val": None} if not kwargs.get("append") else kwargs
    return _adapt_typehints(value, typehint, *args, **kwargs)


def merge_by_class() -> None:
    """Replace both rules for all parsers of this process."""
    setattr(_typehints, "discard_init_args_on_class_path_change", drop_arguments_of_other_class)  # noqa: B010
    setattr(_typehints, "adapt_typehints", adapt_without_earlier_items)  # noqa: B010


def _imported(class_path: Any) -> Any:
    try:
        return import_class(class_path)
    except (ImportError, AttributeError, ValueError, TypeError):
        return class_path
