"""Bodies of HTTP responses, bounded after decompression: a server must not fill the memory with a few bytes."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import AsyncIterator
from typing import Any

MAX_BODY_BYTES = 32 * 2**20
"""An answer of 8,192 tokens with the 20 most likely ones at each place takes about 6 MiB."""
_PIECE = 1 << 16
_WINDOW = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


class UnusableBodyError(Exception):
    """A body that is too large, or compressed in a way that was not asked for."""


class _BoundedBody:
    """The bytes of a response's stream, decompressed piece by piece.

    Args:
        stream: of the response, as the HTTP client has it.
        encoding: its content encoding; empty for none.
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
        """A piece of limited size, and what is left to decompress."""
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
    """Replace the stream of a response by a bounded one; an event hook of the HTTP client, before the body is read.

    Raises:
        UnusableBodyError: an encoding other than gzip or deflate; the client asks for none.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower()
    encoding = "" if encoding == "identity" else encoding
    if encoding and encoding not in _WINDOW:
        raise UnusableBodyError(f"the answer is compressed by {encoding[:20]}, which was not asked for")
    # The client asks for its own base class: httpx's, or that of the package that took its place.
    http = importlib.import_module(type(response).__module__.partition(".")[0])
    kind = type("BoundedBody", (_BoundedBody, http.AsyncByteStream), {})
    response.stream = kind(response.stream, encoding)
    for name in ("content-encoding", "content-length"):
        response.headers.pop(name, None)
