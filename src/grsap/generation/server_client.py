"""One server and its failures: what the `openai` client raises, sorted into those that wait and those that do not."""

from __future__ import annotations

import asyncio
import email.utils
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from grsap.errors import ConfigError, MissingPackageError
from grsap.generation.bounded_body import UnusableBodyError, bound_body
from grsap.generation.patience import Failure
from grsap.generation.server_settings import ServerSettings
from grsap.json_text import parse_json
from grsap.streams import printable

CONNECT_TIMEOUT_S = 10.0
BUSY = frozenset({429, 502, 503, 504})
"""Statuses that say nothing of the request: the server, or what stands before it, is overloaded or not there."""
MAX_MESSAGE = 300
_RAW = "x-stainless-raw-response"
"""By this header of its own request the client knows that the answer is to be given as it is."""
_HEADERS = frozenset({"host", "connection", "accept", "content-type", "content-length", "user-agent", _RAW})
_HTTP_DATE = r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT"


class AttemptFailedError(Exception):
    """An attempt that is worth another."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class RefusedError(ConfigError):
    """The server refuses a request; `status` is its HTTP status, and `reason` what it says."""

    def __init__(self, problem: str, remedy: str, status: int, reason: str = "") -> None:
        super().__init__(problem, remedy)
        self.status = status
        self.reason = f"{reason} ({status})"


def check_address(base_url: str) -> None:
    """Refuse what is no address, or holds a secret.

    Raises:
        ConfigError: so.
    """
    try:
        parts = urlsplit(base_url)
        has_host = parts.scheme in {"http", "https"} and bool(parts.hostname)
        _ = parts.port  # raises ValueError for one that is no number, or too large
    except ValueError as error:
        raise ConfigError(
            f"base_url {base_url!r} is no address ({error})", "Give one such as http://127.0.0.1:8000/v1"
        ) from error
    if not has_host or not base_url.isprintable() or " " in base_url:
        raise ConfigError(f"base_url {base_url!r} is no address", "Give one such as http://127.0.0.1:8000/v1")
    if parts.username or parts.password or parts.query:
        raise ConfigError(
            f"base_url (host {parts.hostname}) holds a user, a password or a query",
            "Put the key into an environment variable and name it in server.api_key_env",
        )


class ServerClient:
    """Posts completions to one server; used within one event loop.

    Args:
        base_url: up to and with `/v1`.
        model: the name that the server gives the model.
        settings: timeouts, connections and key.

    Raises:
        MissingPackageError: `openai` is not installed.
    """

    def __init__(self, base_url: str, model: str, settings: ServerSettings) -> None:
        try:
            import openai
        except ImportError as error:
            raise MissingPackageError(
                "OpenAIGenerator needs the package openai, which is not installed",
                "Install grsap with the extra `server`",
            ) from error
        self.base_url = base_url
        self.model = model
        self.timeout_s = settings.timeout_s
        self._openai = openai
        self._key = settings.api_key() or "none"
        timeout = openai.Timeout(settings.timeout_s, connect=min(settings.timeout_s, CONNECT_TIMEOUT_S))
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=self._key,
            max_retries=0,
            # Prompts and key go to this address only.
            http_client=openai.DefaultAsyncHttpxClient(
                timeout=timeout,
                follow_redirects=False,
                event_hooks={"request": [self._strip], "response": [bound_body]},
            ),
        )

    async def complete(self, fields: Mapping[str, Any], request_id: str) -> object:
        """One attempt; the server's JSON.

        Raises:
            AttemptFailedError: another attempt may succeed.
            RefusedError: none will.
        """
        try:
            async with asyncio.timeout(self.timeout_s):
                reply = await self._client.completions.with_raw_response.create(model=self.model, **fields)
            return parse_json(reply.content.decode())
        except self._openai.APIStatusError as error:
            raise self._sorted(error, request_id) from error
        except (TimeoutError, self._openai.APITimeoutError) as error:
            if type(error.__cause__).__name__ == "ConnectTimeout":
                raise AttemptFailedError(_connection_failure(error.__cause__)) from error
            raise AttemptFailedError(Failure(f"no answer within timeout_s of {self.timeout_s:g} s")) from error
        except UnusableBodyError as error:
            raise AttemptFailedError(Failure(str(error))) from error
        except self._openai.APIConnectionError as error:
            raise AttemptFailedError(_connection_failure(error.__cause__)) from error
        except ValueError as error:
            raise AttemptFailedError(Failure(f"the answer is no JSON: {one_line(str(error))}")) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _strip(self, request: Any) -> None:
        """Leave out all headers but those of HTTP itself: the client takes keys and names from the environment."""
        for name in set(request.headers) - _HEADERS:
            del request.headers[name]
        request.headers["Authorization"] = f"Bearer {self._key}"
        request.headers["Accept-Encoding"] = "identity"

    def _sorted(self, error: Any, request_id: str) -> Exception:
        status, message = int(error.status_code), server_message(error)
        if 300 <= status < 400:
            target = one_line(error.response.headers.get("location", "another address"))
            return RefusedError(
                f"{self.base_url} redirects to {target}, which is not followed",
                "Give the address of the server itself as base_url, if you trust it with prompts and key",
                status,
            )
        if status in {408, 429} or status >= 500:
            told = f"status {status}: {message}"
            return AttemptFailedError(Failure(told, retry_after_s(error.response.headers), status not in BUSY))
        return RefusedError(
            f"{self.base_url} refuses request {request_id} ({status}): {message}", _remedy(status), status, message
        )


def _remedy(status: int) -> str:
    if status in {401, 403}:
        return "Name the environment variable that holds the server's key in server.api_key_env"
    if status == 404:
        return "Check base_url, which ends in /v1 on most servers, and the name of the model"
    return "Change the setting that the message names, or the server's"


def server_message(error: Any) -> str:
    """What the server says, in one line."""
    body = error.body
    for key in ("message", "detail", "error"):
        if isinstance(body, Mapping) and body.get(key):
            body = body[key]
    return one_line(str(body or error.message))


def one_line(text: str) -> str:
    """A server's text in one line of limited length, without control characters."""
    return " ".join(printable(text[: 10 * MAX_MESSAGE], keep="\n\t\r").split())[:MAX_MESSAGE]


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The wait in seconds that the headers ask for: a number, or a date (RFC 9110); None if they ask for none.

    A negative number, one of more than nine digits, infinity and whatever else is not of that form is no wait.
    """
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value, re.ASCII):
        return float(value)
    if not re.fullmatch(_HTTP_DATE, value, re.ASCII):
        return None
    try:
        date = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, date.timestamp() - time.time())


def _connection_failure(cause: BaseException | None) -> Failure:
    """What went wrong with the connection itself, by the HTTP client's error."""
    if type(cause).__name__ in ("ConnectError", "ConnectTimeout"):
        told = one_line(str(cause)) if str(cause) else "no connection within the time"
        return Failure(f"the connection was refused ({told})", is_its_own=False, is_unreachable=True)
    return Failure("the connection broke")
