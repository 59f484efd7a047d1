"""Client of one server. Sorts the errors of the `openai` package into those worth a retry and those that are final."""

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
"""Statuses that do not depend on the request: the server or its proxy is overloaded or down."""
MAX_MESSAGE = 300
_RAW = "x-stainless-raw-response"
"""The `openai` client reads this header of its own request to return the raw response."""
_HEADERS = frozenset({"host", "connection", "accept", "content-type", "content-length", "user-agent", _RAW})
_HTTP_DATE = r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT"


class AttemptFailedError(Exception):
    """An attempt failed; a retry may succeed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class RefusedError(ConfigError):
    """The server refuses a request, with HTTP status `status` and message `reason`."""

    def __init__(self, problem: str, remedy: str, status: int, reason: str = "") -> None:
        super().__init__(problem, remedy)
        self.status = status
        self.reason = f"{reason} ({status})"


def check_address(base_url: str) -> None:
    """Check the address of a server.

    Raises:
        ConfigError: it is no HTTP address, or contains a secret.
    """
    try:
        parts = urlsplit(base_url)
        has_host = parts.scheme in {"http", "https"} and bool(parts.hostname)
        _ = parts.port  # raises ValueError if it is no number or too large
    except ValueError as error:
        raise ConfigError(
            f"base_url {base_url!r} is no address ({error})", "Give one such as http://127.0.0.1:8000/v1"
        ) from error
    if not has_host or not base_url.isprintable() or " " in base_url:
        raise ConfigError(f"base_url {base_url!r} is no address", "Give one such as http://127.0.0.1:8000/v1")
    if parts.username or parts.password or parts.query:
        raise ConfigError(
            f"base_url (host {parts.hostname}) contains a user, a password or a query",
            "Put the key into an environment variable and name it in server.api_key_env",
        )


class ServerClient:
    """Send completion requests to one server, from within one event loop.

    Args:
        base_url: address, including `/v1`.
        model: name of the model on the server.
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
            # Without redirects, prompts and key are sent to this address only.
            http_client=openai.DefaultAsyncHttpxClient(
                timeout=timeout,
                follow_redirects=False,
                event_hooks={"request": [self._strip], "response": [bound_body]},
            ),
        )

    async def complete(self, fields: Mapping[str, Any], request_id: str) -> object:
        """Make one attempt; return the server's JSON.

        Raises:
            AttemptFailedError: a retry may succeed.
            RefusedError: a retry would fail, too.
        """
        try:
            async with asyncio.timeout(self.timeout_s):
                reply = await self._client.completions.with_raw_response.create(model=self.model, **fields)
            return parse_json(reply.content.decode())
        except self._openai.APIStatusError as error:
            raise self._classified(error, request_id) from error
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
        """Remove all headers but those of HTTP itself: the client adds keys and names from the environment."""
        for name in set(request.headers) - _HEADERS:
            del request.headers[name]
        request.headers["Authorization"] = f"Bearer {self._key}"
        request.headers["Accept-Encoding"] = "identity"

    def _classified(self, error: Any, request_id: str) -> Exception:
        """Return the error to raise for a response with an error status."""
        status, message = int(error.status_code), server_message(error)
        if 300 <= status < 400:
            target = one_line(error.response.headers.get("location", "another address"))
            return RefusedError(
                f"{self.base_url} redirects to {target}, which is not followed",
                "Give the address of the server itself as base_url, if you trust it with prompts and key",
                status,
            )
        if status in {408, 429} or status >= 500:
            reason = f"status {status}: {message}"
            return AttemptFailedError(Failure(reason, retry_after_s(error.response.headers), status not in BUSY))
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
    """Return the server's message in one line."""
    body = error.body
    for key in ("message", "detail", "error"):
        if isinstance(body, Mapping) and body.get(key):
            body = body[key]
    return one_line(str(body or error.message))


def one_line(text: str) -> str:
    """Return a server's text in one line of at most `MAX_MESSAGE` characters, without control characters."""
    return " ".join(printable(text[: 10 * MAX_MESSAGE], keep="\n\t\r").split())[:MAX_MESSAGE]


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the wait in seconds that the header Retry-After demands, as a number or date (RFC 9110); None without one.

    Other values, such as negative numbers, infinity or more than nine digits, are ignored.
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
    """Return the failure for an error of the HTTP client's connection."""
    if type(cause).__name__ in ("ConnectError", "ConnectTimeout"):
        reason = one_line(str(cause)) if str(cause) else "no connection within the time limit"
        return Failure(f"the connection was refused ({reason})", may_be_request=False, is_unreachable=True)
    return Failure("the connection broke")
