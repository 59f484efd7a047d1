"""Prompts of trusted text with slots for untrusted text, assembled as token ids.

Slot text is never encoded as a control token or as the form's tags, and the ids around a slot do not depend on it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grsap.errors import DataError, GrsapError, TemplateError
from grsap.text.control_tokens import ControlTokens
from grsap.text.segments import SegmentEncoder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SLOTS = ("\ufde0", "\ufde1")
"""Placeholders of the slots in a form's text: Unicode noncharacters, which exchanged text does not contain."""

# Spaces before a slot and newlines after it are encoded with its text, because tokenizers merge them with it.
_PARTS = re.compile(rf"([ \t]*)([{''.join(SLOTS)}])(\n*)")
_NEUTRAL = "x"


class UnusableTextError(GrsapError):
    """Untrusted text cannot be inserted into a form.

    Attributes:
        reason: `too_long` (it does not fit, even if the text that may be cut is), `not_unicode` (lone surrogates), or
            `control_character` (a single character that this tokenizer encodes as a control token).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class FilledForm:
    """A prompt.

    Attributes:
        ids: token ids of the whole prompt.
        spans: (start, end) of each slot in `ids`, including the form's whitespace around it.
        texts: text of each slot, or its beginning if it was cut.
        truncated: whether a text was cut.
    """

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    texts: tuple[str, ...]
    truncated: bool


class PromptForm:
    """Trusted text with slots.

    Args:
        tokenizer: tokenizer of the model that reads the prompt.
        text: trusted text with the characters of `SLOTS`, each at most once.
        tags: phrases that mark the form's sections; if untrusted text spells one, it is encoded character by
            character, so that it never has the ids of a section's beginning or end.
        strip: strip whitespace around untrusted text, as some chat templates do.
        with_bos: prepend the tokens that the tokenizer adds before a text; for forms whose text does not contain them.

    Attributes:
        control_ids: ids of tokens that only trusted text may contain.
        trusted_ids: ids around the slots, one list more than there are slots.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        text: str,
        tags: Sequence[str] = (),
        strip: bool = False,
        with_bos: bool = False,
    ) -> None:
        control = ControlTokens(tokenizer, text)
        self._control = control
        self._segments = SegmentEncoder(tokenizer, control)
        self._tags = tuple(tags)
        self._strip = strip
        self.control_ids = control.ids
        pieces = _PARTS.split(text)
        self._trusted = pieces[0::4]
        self._around = list(zip(pieces[1::4], pieces[3::4], strict=True))
        self.trusted_ids = self._encode_trusted()
        if with_bos:
            self.trusted_ids[0] = [*_beginning(tokenizer), *self.trusted_ids[0]]

    def fill(self, texts: Sequence[str], max_tokens: int, may_cut: int | None = None) -> FilledForm:
        """Insert `texts` into the slots, in the order of the slots.

        Args:
            texts: untrusted texts, one per slot.
            max_tokens: upper limit of tokens of the prompt.
            may_cut: index of the slot whose text is cut at its end if the prompt is too long; None for none. At least
                its first character is kept.

        Raises:
            UnusableTextError: the texts cannot be encoded, or do not fit.
        """
        texts = [text.strip() if self._strip else text for text in texts]
        slots = [self._encode_slot(number, text) for number, text in enumerate(texts)]
        over = sum(map(len, [*self.trusted_ids, *slots])) - max_tokens
        if over > 0:
            if may_cut is None:
                raise UnusableTextError("too_long")
            texts[may_cut], slots[may_cut] = self._cut(may_cut, texts[may_cut], len(slots[may_cut]) - over)
        ids = list(self.trusted_ids[0])
        spans = []
        for slot, after in zip(slots, self.trusted_ids[1:], strict=True):
            spans.append((len(ids), len(ids) + len(slot)))
            ids += [*slot, *after]
        return FilledForm(tuple(ids), tuple(spans), tuple(texts), over > 0)

    def _cut(self, number: int, text: str, room: int) -> tuple[str, list[int]]:
        """Return the longest beginning of `text` whose slot has at most `room` ids, and these ids."""
        fits, too_long = 0, len(text)
        best: list[int] = []
        while too_long - fits > 1:
            middle = (fits + too_long) // 2
            ids = self._encode_slot(number, text[:middle])
            if len(ids) <= room:
                fits, best = middle, ids
            else:
                too_long = middle
        if not fits:
            raise UnusableTextError("too_long")
        return text[:fits], best

    def _encode_trusted(self) -> list[list[int]]:
        """Return the ids of each trusted piece, encoded with neutral texts in the slots."""
        text = self._trusted[0]
        cuts: list[int] = []
        for (before, after), piece in zip(self._around, self._trusted[1:], strict=True):
            cuts.append(len(text))
            text += before + _NEUTRAL + after
            cuts.append(len(text))
            text += piece
        return self._segments.encode(text, cuts, SLOTS[0])[0::2]

    def _encode_slot(self, number: int, text: str) -> list[int]:
        before, after = self._around[number]
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UnusableTextError("not_unicode") from None
        try:
            messages, mark = self._control.neutralise([{"role": "user", "content": before + text + after}])
        except DataError:
            raise UnusableTextError("control_character") from None
        text = messages[0]["content"]
        for tag in self._tags:
            text = text.replace(tag, mark.join(tag))
        return self._encode_untrusted(self._trusted[number], text, mark)

    def _encode_untrusted(self, context: str, text: str, mark: str) -> list[int]:
        """Return the ids of a text after `context`; split a text that is still encoded as a control token."""
        try:
            return self._segments.encode(context + text, [len(context)], mark)[1]
        except TemplateError:
            if len(text) == 1:
                raise UnusableTextError("control_character") from None
        half = len(text) // 2
        return self._encode_untrusted(context, text[:half], mark) + self._encode_untrusted("\n", text[half:], mark)


def _beginning(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the special tokens that the tokenizer adds before a text."""
    with_special = list(tokenizer(_NEUTRAL, add_special_tokens=True)["input_ids"])
    plain = list(tokenizer(_NEUTRAL, add_special_tokens=False)["input_ids"])
    places = range(len(with_special) - len(plain) + 1)
    return with_special[: next((n for n in places if with_special[n : n + len(plain)] == plain), 0)]
