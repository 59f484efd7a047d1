"""Save and restore the states of plug-ins (balancer, schedule, objectives, sampler) in checkpoints."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import torch

from grsap.errors import ConfigError, first_line
from grsap.plugins import PluginError, Stateful, described


def plugins_of(model: Any, data: Any) -> dict[str, object]:
    """Return the objects of a run that may have a state, by their keys in the settings."""
    objectives = {f"model.objectives: {each.name}": each for each in model.objectives}
    sampler = {"data.sampler": data.sampler} if hasattr(data, "sampler") else {}
    return {"model.balancer": model.balancer, "model.schedule": model.schedule, **objectives, **sampler}


def check_states(plugins: Mapping[str, object]) -> None:
    """Check before weights load that the state of each object can be written to a checkpoint.

    Raises:
        PluginError: a state is no dict, cannot be written, or cannot be restored.
    """
    remedy = "Return a dict of plain Python values (numbers, strings, lists, dicts) and tensors"
    for plugin in _stateful(plugins).values():
        state: Any = plugin.state_dict()
        if not isinstance(state, Mapping):
            raise PluginError(plugin, "state_dict", f"returns {described(state)}", remedy)
        try:
            torch.save(state, io.BytesIO())
        except Exception as error:
            problem = f"returns a state that cannot be written ({type(error).__name__}: {first_line(error)})"
            raise PluginError(plugin, "state_dict", problem, remedy) from error


def collect(plugins: Mapping[str, object]) -> dict[str, Any]:
    """Return the state of each object that has one, by its key and class."""
    return {name: plugin.state_dict() for name, plugin in _stateful(plugins).items()}


def restore(plugins: Mapping[str, object], states: Mapping[str, Any], checkpoint: str) -> None:
    """Restore the state of each object.

    Raises:
        ConfigError: the checkpoint lacks a state, or holds one without an object in this run.
    """
    own = _stateful(plugins)
    for there, here, problem in ((own, states, "lacks"), (states, own, "holds")):
        if surplus := sorted(set(there) - set(here)):
            needs = "which this run needs" if problem == "lacks" else "which is not in this run"
            raise ConfigError(
                f"{checkpoint} {problem} the state of {', '.join(surplus)}, {needs}",
                "Resume with the original settings and classes, or start a new run",
            )
    for name, plugin in own.items():
        plugin.load_state_dict(states[name])


def _stateful(plugins: Mapping[str, object]) -> dict[str, Stateful]:
    found: dict[str, Stateful] = {}
    for name, plugin in plugins.items():
        saves, loads = hasattr(plugin, "state_dict"), hasattr(plugin, "load_state_dict")
        if saves != loads:
            has, other = ("state_dict", "load_state_dict") if saves else ("load_state_dict", "state_dict")
            raise PluginError(plugin, has, f"comes without {other}", f"Write {other} too: a resumed run needs both")
        if isinstance(plugin, Stateful):
            found[f"{name} ({type(plugin).__name__})"] = plugin
    return found
