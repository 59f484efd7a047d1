"""The report: one HTML page on the given folders, with a section for each kind of result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from grsap.pages import Content, Section, element, page
from grsap.reporting.along_training import along_training, losses
from grsap.reporting.answers import answers
from grsap.reporting.before_after import before_after, overview
from grsap.reporting.configuration import configuration
from grsap.reporting.cost import cost
from grsap.reporting.evaluation import evaluation
from grsap.reporting.making import curation, synthesis
from grsap.reporting.mixture import mixture
from grsap.reporting.provenance import provenance
from grsap.reporting.run import Run
from grsap.reporting.similarity import similarity
from grsap.reporting.sources import Source, read_sources
from grsap.reporting.trade_off import trade_off
from grsap.reporting.transcripts import transcripts

OF_RUNS: tuple[Callable[[Sequence[Run]], Section | None], ...] = (
    before_after,
    along_training,
    trade_off,
    losses,
    mixture,
    answers,
)
OF_OTHERS: dict[str, Callable[[Source, int], list[Section]]] = {
    "evaluation": evaluation,
    "similarity": similarity,
    "synthesis": synthesis,
    "curation": curation,
}


class Report:
    """A report on the folders that grsap wrote.

    Args:
        folders: folders of runs, evaluations, similarities, curations and syntheses, in the order of the page.
        with_transcripts: show a few prompts with their answers in fold-outs.
        title: title of the page.

    Raises:
        DataError: grsap did not write a folder.

    Attributes:
        sources: kind and content of each folder.
        holds_texts: whether the page shows texts of prompts and answers.
    """

    def __init__(
        self, folders: Sequence[str | Path], *, with_transcripts: bool = True, title: str = "grsap report"
    ) -> None:
        self.sources = read_sources(folders)
        self.title = title
        self.runs = [Run(source, style) for style, source in enumerate(self._of_kind("run"))]
        self._with_transcripts = with_transcripts
        self.holds_texts = with_transcripts and any(run.transcripts for run in self.runs)

    def html(self) -> str:
        """Return the page.

        Raises:
            DataError: a file lacks a value or has one of a wrong type.
            MissingPackageError: matplotlib is not installed.
        """
        return page(self.title, self._subtitle(), list(self._sections()))

    def _of_kind(self, kind: str) -> list[Source]:
        return [source for source in self.sources if source.kind == kind]

    def _subtitle(self) -> str:
        kinds = {
            "run": "runs",
            "evaluation": "evaluations",
            "similarity": "similarities",
            "curation": "curations",
            "synthesis": "syntheses",
        }
        parts = []
        for kind, plural in kinds.items():
            found = self._of_kind(kind)
            if found:
                parts.append(f"{kind if len(found) == 1 else plural} {', '.join(source.name for source in found)}")
        return f"Of {'; '.join(parts)}."

    def _sections(self) -> Iterator[Section]:
        if self.runs:
            yield from self._of_runs()
        others = [source for source in self.sources if source.kind != "run"]
        for kind, make in OF_OTHERS.items():
            for place, source in enumerate(self._of_kind(kind), 1):
                yield from make(source, place)
        texts = transcripts(self.runs) if self.holds_texts else None
        closing = (cost(self.runs, others), configuration(self.runs), texts, provenance(self.sources))
        yield from (section for section in closing if section is not None)

    def _of_runs(self) -> Iterator[Section]:
        for run in self.runs:
            run.check()
        yield Section("overview", "What was measured", [overview(self.runs), self._proxy_note()])
        yield from (section for make in OF_RUNS if (section := make(self.runs)) is not None)

    def _proxy_note(self) -> Content:
        proxies = sorted({run.judge or "the judge" for run in self.runs if run.is_proxy})
        if not proxies:
            return None
        return element(
            "p",
            f"Proxy judge: {', '.join(proxies)} sees refusals only. A coherent answer that does not refuse counts as "
            "compliance. Whether it is harmful was not judged: that needs a judge that reads the answers.",
            attributes={"class": "note"},
        )
