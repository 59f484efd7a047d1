"""The sections on syntheses and curations, which produce replay sets."""

from __future__ import annotations

from grsap.pages import Content, Section, table
from grsap.pages.numbers import MISSING, count, percent
from grsap.reporting.sources import Source, reading


def synthesis(source: Source, place: int) -> list[Section]:
    """Return the section of a synthesis; see `evaluation`."""
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
            f"Status: {source.manifest['status']}. Attempts: how often the model was asked for a query. Yield: usable "
            "queries in percent of attempts; a usable query may be harmless. Truncated: responses cut at the token "
            "limit."
        )
        if unusable:
            caption += f" Unusable: {unusable}."
        headings = ["domains of", "attempts", "usable queries", "yield", "responses", "truncated responses"]
        return [Section(f"synthesis-{place}", f"Synthesis: {source.name}", [table(caption, headings, rows)])]


def curation(source: Source, place: int) -> list[Section]:
    """Return the sections of a curation; see `evaluation`."""
    from grsap.curation.page import curation_sections  # slow: it imports all filters

    with reading(source):
        sections = curation_sections(source.manifest, f"curation-{place}-")
        return [Section(each.id, f"{each.title}: {source.name}", each.content) for each in sections]
