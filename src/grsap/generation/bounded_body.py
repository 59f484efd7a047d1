"""Limits the decompressed size of HTTP responses, so that a small compressed body cannot fill the memory."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import AsyncIterator
from typing import Any

MAX_BODY_BYTES = 32 * 2**20
"""For comparison: an answer of 8,192 tokens with `top_logprobs` 20 has about 6 MiB."""
_PIECE = 1 << 16
_WINDOW = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


class UnusableBodyError(Exception):
    """A body is too large or uses an unsupported compression."""


class _BoundedBody:
    """A response's byte stream, decompressed in pieces.

    Args:
        stream: the HTTP client's stream of the response.
        encoding: content encoding, `gzip` or `deflate`; empty for none.
    """

    def __init__(self, stream: Any, encoding: str) -> None:
        self._stream = stream
        self._decoder = zlib.decompressobj(_WINDOW[encoding]) if encoding else None
        self._num_bytes = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for raw in self._stream:
            rest = raw
            while rest:
                piece, rest = self._decompress(rest)
                self._num_bytes += len(piece)
                if self._num_bytes > MAX_BODY_BYTES:
                    raise UnusableBodyError(f"the answer is larger than {MAX_BODY_BYTES // 2**20} MiB")
                yield piece

    def _decompress(self, raw: bytes) -> tuple[bytes, bytes]:
        """Return a piece of at most `_PIECE` bytes, and the rest of `raw` to decompress."""
        if self._decoder is None:
            return raw, b""
        try:
            piece = self._decoder.decompress(raw, _PIECE)
        except zlib.error as error:
            raise UnusableBodyError(f"the answer cannot be decompressed: {error}") from error
        return piece, self._decoder.unconsumed_tail

    async def aclose(self) -> None:
        await self._stream.aclose()


async def bound_body(response: Any) -> None:
    """Replace a response's stream by a bounded one. An event hook of the HTTP client, called before the body is read.

    Raises:
        UnusableBodyError: an encoding other than gzip or deflate. The client requests no encoding at all.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower()
    encoding = "" if encoding == "identity" else encoding
    if encoding and encoding not in _WINDOW:
        raise UnusableBodyError(f"the answer is compressed by {encoding[:20]}, which was not requested")
    # The client requires its own base class of streams: that of httpx, or of a fork that `openai` uses instead.
    http = importlib.import_module(type(response).__module__.partition(".")[0])
    kind = type("BoundedBody", (_BoundedBody, http.AsyncByteStream), {})
    response.stream = kind(response.stream, encoding)
    for name in ("content-encoding", "content-length"):
        response.headers.pop(name, None)
