"""Waiting for a failing server, and giving up by the rule of `ServerSettings`."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass

from grsap.errors import BackendError, ConfigError
from grsap.generation.server_settings import ServerSettings

NOTICE_AFTER_S = 2.0
"""Seconds without an answer after which the wait is logged."""
NOTICE_EVERY_S = 30.0
"""Shortest time between two such log lines, in seconds."""
REACH_WITHIN_S = 5.0
"""Seconds in which a server that has never answered may refuse connections, because it may just be starting."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """A failed attempt that is worth a retry.

    Attributes:
        reason: message for the user.
        retry_after_s: wait that the server demands of all requests, in seconds; None for none.
        may_be_request: the request itself may be the cause; False when the server is overloaded or down.
        is_unreachable: no connection was made.
    """

    reason: str
    retry_after_s: float | None = None
    may_be_request: bool = True
    is_unreachable: bool = False


class Trials:
    """Failures of one request. Backoff counts all of them; `max_retries` only those with `may_be_request`."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.num_failures = 0
        self.num_own_failures = 0
        self._random = random.Random(f"grsap/{request_id}")

    def backoff_s(self, settings: ServerSettings) -> float:
        """Return the wait in seconds: uniform between 0 and the exponential limit, determined by id and failure."""
        limit = min(settings.max_backoff_s, settings.backoff_s * 2.0 ** min(self.num_failures - 1, 32))
        return self._random.uniform(0.0, limit)


class Patience:
    """Shared waiting state of all requests to one server.

    Args:
        settings: backoff and the rule for giving up.
        where: address of the server, for messages.
        was_reached: whether the server has answered before.
    """

    def __init__(self, settings: ServerSettings, where: str, was_reached: bool = False) -> None:
        self.settings = settings
        self.where = where
        self.num_answers = 0
        self._was_reached = was_reached
        self._num_waiting = 0
        self._last_answer = self._started = time.monotonic()
        self._next_notice = 0.0
        self._closed_until = 0.0

    def answered(self) -> None:
        """Record that a request was answered."""
        self.num_answers += 1
        self.heard()

    def heard(self) -> None:
        """Record that the server works, and restart the time of `give_up_after_s`."""
        self._was_reached = True
        self._last_answer = time.monotonic()

    async def until_open(self) -> None:
        """Wait until the end of the wait that the server demanded."""
        while (wait := self._closed_until - time.monotonic()) > 0:
            await asyncio.sleep(wait)

    async def wait(self, trials: Trials, failure: Failure) -> None:
        """Wait after a failed attempt.

        Raises:
            ConfigError: no server was ever reached at the address.
            BackendError: the server has not answered for `give_up_after_s`.
        """
        trials.num_failures += 1
        trials.num_own_failures += failure.may_be_request
        self._was_reached |= not failure.is_unreachable
        if not self._was_reached and time.monotonic() - self._started >= REACH_WITHIN_S:
            raise ConfigError(
                f"no server answers at {self.where}: {failure.reason}", "Start the server, or correct base_url"
            )
        remaining = self.settings.give_up_after_s - self._silence_s()
        if remaining <= 0:
            raise BackendError(
                f"{self.where} has not answered for {self._silence_s():.0f} s; last failure: {failure.reason}; "
                f"{self.num_answers} answers were kept",
                "Check the server and run again, or raise server.give_up_after_s",
                num_answers=self.num_answers,
            )
        delay = min(trials.backoff_s(self.settings), remaining)
        if not self._was_reached:
            delay = min(delay, max(0.0, self._started + REACH_WITHIN_S - time.monotonic()))
        if failure.retry_after_s is not None:
            # At most `remaining`, so that there is a last attempt at the moment of giving up.
            delay = min(failure.retry_after_s, remaining)
            self._closed_until = max(self._closed_until, time.monotonic() + delay)
        self._num_waiting += 1
        try:
            self._notice(failure, delay)
            await asyncio.sleep(delay)
        finally:
            self._num_waiting -= 1

    def _silence_s(self) -> float:
        return time.monotonic() - self._last_answer

    def _notice(self, failure: Failure, delay: float) -> None:
        now, silence = time.monotonic(), self._silence_s()
        if silence + delay < NOTICE_AFTER_S or now < self._next_notice:
            return
        self._next_notice = now + NOTICE_EVERY_S
        _log.warning(
            "%s has not answered for %.0f s (%s). Requests waiting: %d, answered: %d. "
            "Giving up after %.0f s without an answer.",
            self.where,
            silence,
            failure.reason,
            self._num_waiting,
            self.num_answers,
            self.settings.give_up_after_s,
        )


class RequestRate:
    """Space attempts evenly.

    Args:
        max_requests_per_minute: attempts per minute; None for no limit.
    """

    def __init__(self, max_requests_per_minute: float | None) -> None:
        self._interval_s = 0.0 if max_requests_per_minute is None else 60.0 / max_requests_per_minute
        self._next = 0.0

    async def turn(self) -> None:
        """Wait until the next attempt may be sent."""
        now = time.monotonic()
        slot = max(now, self._next)
        self._next = slot + self._interval_s
        if slot > now:
            await asyncio.sleep(slot - now)
