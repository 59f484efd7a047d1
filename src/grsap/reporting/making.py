"""How a replay set was made: synthesis and curation."""

from __future__ import annotations

from grsap.pages import Content, Section, table
from grsap.pages.numbers import MISSING, count, percent
from grsap.reporting.sources import Source, reading


def synthesis(source: Source, place: int) -> list[Section]:
    """The section of a synthesis; see `evaluation`."""
    with reading(source):
        counts = source.manifest["counts"]
        groups = [*counts["groups"].items(), ("all", counts["total"])]
        rows: list[list[Content]] = []
        for name, tally in groups:
            numbers = [tally[key] for key in ("num_asked", "num_usable", "num_rows", "num_cut")]
            yield_ = MISSING if tally["yield"] is None else percent(tally["yield"])
            rows.append([name, *map(count, numbers[:2]), yield_, *map(count, numbers[2:])])
        unusable = ", ".join(f"{reason} {count(num)}" for reason, num in counts["total"]["num_unusable"].items())
        caption = (
            f"Status: {source.manifest['status']}. Yield: usable queries per attempt; a usable query may be "
            "harmless. Truncated: responses that the token limit cut."
        )
        if unusable:
            caption += f" Unusable: {unusable}."
        headings = ["domains of", "asked", "usable", "yield", "answered", "truncated"]
        return [Section(f"synthesis-{place}", f"Synthesis: {source.name}", [table(caption, headings, rows)])]


def curation(source: Source, place: int) -> list[Section]:
    """The sections of a curation; see `evaluation`."""
    from grsap.curation.page import curation_sections  # imports the filters, which take a while

    with reading(source):
        sections = curation_sections(source.manifest, f"curation-{place}-")
        return [Section(each.id, f"{each.title}: {source.name}", each.content) for each in sections]
