"""Settings of a server: concurrency, timeouts, retries, and when to give up."""

from __future__ import annotations

import os
from dataclasses import dataclass

from grsap.errors import ConfigError

MAX_CONCURRENCY = 1000
"""Size of the HTTP client's connection pool."""


@dataclass(frozen=True)
class ServerSettings:
    """Concurrency, timeouts and retries for one server.

    A server that cannot be reached at the start is an error within seconds. Later, the run ends with an error when an
    attempt fails and the server has answered nothing for `give_up_after_s` seconds; earlier answers are kept. An
    attempt fails when the connection is refused or drops, when it takes longer than `timeout_s`, when the status is
    408, 429 or 5xx, or when the answer cannot be read. After each failure the request waits a random time up to
    `backoff_s` x 2^(failures - 1), at most `max_backoff_s`, or as long as the server demands (Retry-After).

    A prompt counts as unanswered, with its reason, if the server answers others but refuses this one (status 400, 403,
    413, 422 or 451) or fails on it more than `max_retries` times, or if its content filter withholds the answer. A
    refusal of all prompts, any other 4xx status, and any redirection is an error at once.

    Args:
        concurrency: maximum number of requests in flight, in [1, 1000].
        timeout_s: time limit of one attempt, in seconds.
        max_retries: retries of one request while the server answers others; after them it counts as unanswered.
        give_up_after_s: seconds without any answer after which a failure ends the run.
        backoff_s: longest wait after the first failure, in seconds.
        max_backoff_s: longest wait after any failure, in seconds.
        max_requests_per_minute: maximum attempts per minute, evenly spaced; null for no limit.
        api_key_env: name of the environment variable that contains the key; null for servers without keys. The key
            itself is never part of a config or a manifest.
    """

    concurrency: int = 64
    timeout_s: float = 600.0
    max_retries: int = 5
    give_up_after_s: float = 900.0
    backoff_s: float = 0.5
    max_backoff_s: float = 30.0
    max_requests_per_minute: float | None = None
    api_key_env: str | None = None

    def check(self) -> None:
        """Check all values.

        Raises:
            ConfigError: a value is out of range, or the environment variable is not set.
        """
        if not 1 <= self.concurrency <= MAX_CONCURRENCY:
            raise ConfigError(
                f"concurrency is {self.concurrency}",
                f"Give a number of requests from 1 to {MAX_CONCURRENCY}",
                part=self,
            )
        for name in ("timeout_s", "give_up_after_s", "backoff_s", "max_backoff_s", "max_requests_per_minute"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise ConfigError(f"{name} is {value}", "Give a number above 0", part=self)
        if self.max_retries < 0:
            raise ConfigError(f"max_retries is {self.max_retries}", "Give a number of at least 0", part=self)
        self.api_key()

    def api_key(self) -> str | None:
        """Return the key from the environment; None if `api_key_env` is null.

        Raises:
            ConfigError: the variable that `api_key_env` names is not set.
        """
        if self.api_key_env is None:
            return None
        if not (key := os.environ.get(self.api_key_env)):
            raise ConfigError(
                f"api_key_env names {self.api_key_env}, which is not set in the environment",
                f"Run: export {self.api_key_env}=...",
                part=self,
            )
        return key


DEFAULT_SETTINGS = ServerSettings()
