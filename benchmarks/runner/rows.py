"""Rows of the lengths of GSM8K, made from a seed: no data set is fetched.

GSM8K (Cobbe et al. 2021, arXiv 2110.14168): grade-school problems whose solutions take two to eight steps. Lengths are
drawn from log-normal distributions with a median of 50 words for questions and 95 for answers and a spread of 0.4
(of the logarithm), which gives means of about 54 and 103. This is an approximation of its published shape (questions of
45 to 65 words, solutions of 90 to 110), not a fit to its rows. The texts are sums of our own, and mean little.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

QUESTION_WORDS = (50, 12, 200)
ANSWER_WORDS = (95, 20, 340)
"""Median, least and most."""
SPREAD = 0.4

NAMES = ("Ada", "Ben", "Chidi", "Dora", "Emil", "Farah", "Goran", "Hana", "Ines", "Jomo", "Kira", "Luis")
THINGS = ("apples", "pencils", "stamps", "buttons", "cards", "plums", "bricks", "tickets", "candles", "marbles")
QUESTIONS = (
    "{a} has {m} {t} and buys {n} more at the market on {d}.",
    "Then {b} brings {n} boxes with {m} {t} in each of them.",
    "On the way home {a} gives {n} of the {t} to {b}.",
    "Each of the {t} costs {n} cents, and {b} pays for {m} of them.",
    "After {n} days only {m} of the {t} are left on the shelf.",
)
ANSWERS = (
    "First we add {m} and {n}, which makes {s} {t} in all.",
    "In {n} boxes of {m} there are {n} times {m}, that is {p} {t}.",
    "{a} gives {n} away, so that {s} minus {n} is {m} {t}.",
    "At {n} cents each, {m} of them cost {p} cents together.",
    "What {b} had before does not change that number.",
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def make_rows(num: int, seed: int, length_scale: float = 1.0) -> list[dict[str, str]]:
    """Rows `{id, prompt, response}`; the first rows are the same whatever `num` is."""
    draw = random.Random(seed)
    rows = []
    for number in range(num):
        prompt = _text(draw, QUESTIONS, _length(draw, QUESTION_WORDS, length_scale))
        answer = _text(draw, ANSWERS, _length(draw, ANSWER_WORDS, length_scale))
        rows.append(
            {
                "id": f"row-{number:05d}",
                "prompt": f"{prompt} How many {draw.choice(THINGS)} are there?",
                "response": f"{answer} #### {draw.randrange(2, 999)}",
            }
        )
    return rows


def write_rows(folder: Path, rows: list[dict[str, str]], num_replay: int) -> None:
    """Write `task.jsonl`, and the last `num_replay` rows as `replay.jsonl`."""
    split = len(rows) - num_replay
    replay = [
        {
            "id": row["id"],
            "messages": [
                {"role": "user", "content": row["prompt"]},
                {"role": "assistant", "content": row["response"]},
            ],
        }
        for row in rows[split:]
    ]
    for name, part in (("task", rows[:split]), ("replay", replay)):
        text = "".join(json.dumps(row) + "\n" for row in part)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


def _length(draw: random.Random, words: tuple[int, int, int], scale: float) -> int:
    median, least, most = words
    return round(scale * min(most, max(least, draw.lognormvariate(0.0, SPREAD) * median)))


def _text(draw: random.Random, sentences: tuple[str, ...], num_words: int) -> str:
    words: list[str] = []
    while len(words) < num_words:
        m, n = draw.randrange(2, 99), draw.randrange(2, 30)
        a, b = draw.sample(NAMES, 2)
        sentence = draw.choice(sentences)
        words += sentence.format(
            a=a, b=b, m=m, n=n, s=m + n, p=m * n, t=draw.choice(THINGS), d=draw.choice(DAYS)
        ).split()
    return " ".join(words[:num_words])
