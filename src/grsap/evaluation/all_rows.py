"""All rows of a safety benchmark, as the paper counts harm."""

from __future__ import annotations

from dataclasses import replace

from grsap.errors import ConfigError
from grsap.evaluation.benchmark import Benchmark, Kind, LoadedBenchmark
from grsap.evaluation.spec_file import load_benchmark


class AllRows(Benchmark):
    """A safety benchmark with its benign, repeated and unlabelled rows, for `harmfulness_rate_all_rows`.

    GR-SAP (arXiv 2603.10243) publishes harm over all rows of a benchmark. Its items have no label, so that no rate of
    harmful or of benign prompts is computed of them. Beside the benchmark itself in one evaluation, each prompt is
    answered and judged once for both. A `limit` draws among all rows.

    Args:
        benchmark: name of a safety benchmark in the package, or a spec file.

    Raises:
        ConfigError: it is a benchmark of another kind.
    """

    kind: Kind = "safety"
    counts_all_rows = True

    def __init__(self, benchmark: str) -> None:
        spec = load_benchmark(benchmark)
        if spec.kind != "safety":
            raise ConfigError(f"benchmark {benchmark} has no safety prompts", "Give one of kind safety")
        self.name = f"{spec.name}_all_rows"
        self.spec = replace(spec, prompt_harmful=True, dedupe=False)

    def check(self) -> None:
        """Check the settings, the file, and the access to the data set."""
        self.spec.check()

    def load(self) -> LoadedBenchmark:
        """Read the rows."""
        found = self.spec.load()
        items = [replace(item, prompt_harmful=None, pair_id=None) for item in found.items]
        return LoadedBenchmark(items, found.num_excluded, found.source)
