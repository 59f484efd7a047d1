"""`TransformersGenerator`: a model folder, with and without adapter, as a config names it."""

import copy

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from grsap.errors import ModelError, TemplateError
from grsap.generation import GenerationRequest, SamplingSettings, ScoringRequest, TransformersGenerator
from grsap.generation.stopping import TokenizerText, decoding_template
from grsap.models import BaseModel
from grsap.models.lora import OutputHead

QUESTIONS = ["How do I get into my own house?", "Extract the order as JSON", "two and two", "The sky is", "key"]
SETTINGS = SamplingSettings(12)


@pytest.fixture
def base(tiny_base_path):
    return BaseModel(str(tiny_base_path), quantization="none", compute_dtype="float32")


@pytest.fixture
def adapter_path(tiny_llama, tmp_path):
    torch.manual_seed(1)
    model = get_peft_model(
        copy.deepcopy(tiny_llama), LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5)
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def asked(generator):
    prompts = [generator.template.prompt_ids([{"role": "user", "content": text}]) for text in QUESTIONS]
    return [GenerationRequest(f"q{n}", tuple(ids), n) for n, ids in enumerate(prompts)]


def plain(model, prompt, stop, num=12):
    """Greedy decoding written out: no cache, no batch."""
    ids = list(prompt)
    for _ in range(num):
        with torch.no_grad():
            token = int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
        if token in stop:
            break
        ids.append(token)
    return tuple(ids[len(prompt) :])


def test_greedy_answers_of_a_folder(base, tiny_llama):
    generator = TransformersGenerator(base)
    requests = asked(generator)
    answers = generator.generate(requests, SETTINGS)
    stop = generator.template.stop_token_ids
    assert [answer.token_ids for answer in answers] == [plain(tiny_llama, r.prompt_ids, stop) for r in requests]
    assert [answer.id for answer in answers] == ["q0", "q1", "q2", "q3", "q4"]
    assert [answer.text for answer in answers] == [generator.template.decode(a.token_ids) for a in answers]
    assert not any(answer.reencoded for answer in answers)


def test_greedy_answers_with_an_adapter(base, tiny_llama, adapter_path):
    generator = TransformersGenerator(base, adapter=str(adapter_path))
    requests = asked(generator)
    adapted = PeftModel.from_pretrained(copy.deepcopy(tiny_llama), str(adapter_path)).eval()
    wanted = [plain(adapted, r.prompt_ids, generator.template.stop_token_ids) for r in requests]
    assert [answer.token_ids for answer in generator.generate(requests, SETTINGS)] == wanted
    assert wanted != [plain(tiny_llama, r.prompt_ids, generator.template.stop_token_ids) for r in requests]


def test_stream_gives_batch_by_batch(base):
    generator = TransformersGenerator(base, max_batch_tokens=1)
    stream = generator.stream(asked(generator), SETTINGS)
    first = next(stream)
    stream.close()  # what was taken stays; nothing more is decoded
    assert first == generator.generate(asked(generator), SETTINGS)[int(first.id[1:])]


def test_nothing_is_loaded_for_no_request(base, monkeypatch):
    monkeypatch.setattr(BaseModel, "load", lambda *a, **k: pytest.fail("loaded"))
    assert TransformersGenerator(base).generate([], SETTINGS) == []


def test_close_forgets_the_weights_and_the_next_request_loads_them_again(base, monkeypatch):
    loads = []
    load = BaseModel.load
    monkeypatch.setattr(BaseModel, "load", lambda self, device: loads.append(device.type) or load(self, device))
    generator = TransformersGenerator(base, device="cpu")
    first = generator.generate(asked(generator), SETTINGS)
    assert generator.generate(asked(generator), SETTINGS) == first
    assert loads == ["cpu"]
    generator.close()
    generator.close()
    assert generator.generate(asked(generator), SETTINGS) == first
    assert loads == ["cpu", "cpu"]


def test_identity_tells_base_and_adapter(base, adapter_path, tiny_base_path):
    plain_one, adapted = TransformersGenerator(base), TransformersGenerator(base, adapter=str(adapter_path))
    assert plain_one.identity() == {
        "backend": "TransformersGenerator",
        "base": base.identity(),
        "adapter_hash": None,
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "max_batch_tokens": 65536 if torch.cuda.is_available() else 8192,
    }
    before = adapted.identity()["adapter_hash"]
    weights = adapter_path / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    assert len(before) == 16
    assert adapted.identity()["adapter_hash"] not in {before, None}
    content = adapted.content_identity()
    assert content["revision"] == base.weights_revision()
    assert content["adapter_hash"] not in {before, None}
    assert not {"path", "max_batch_tokens"} & set(content)


@pytest.mark.parametrize(("kwargs", "named"), [({"adapter": "no/such"}, "no/such is no PEFT adapter")])
def test_what_is_missing_is_said_before_anything_is_loaded(base, kwargs, named):
    with pytest.raises(ModelError, match=named):
        TransformersGenerator(base, **kwargs)


def without_template(tiny_llama, tiny_tokenizer, folder, eos):
    """A model folder whose tokenizer has no chat template and ends at `eos`; its generation settings say nothing."""
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.chat_template = None
    tokenizer.eos_token = eos
    tiny_llama.generation_config.eos_token_id = None
    tiny_llama.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return TransformersGenerator(BaseModel(str(folder), quantization="none", compute_dtype="float32"))


def test_a_model_without_chat_template_stops_at_eos(tiny_llama, tiny_tokenizer, tmp_path):
    prompt = tuple(tiny_tokenizer("two and two")["input_ids"])
    free = plain(tiny_llama, prompt, ())
    place = next(n for n in range(2, 12) if free[n] not in free[:n])
    eos = tiny_tokenizer.convert_ids_to_tokens(free[place])
    generator = without_template(tiny_llama, tiny_tokenizer, tmp_path / "model", eos)
    (answer,) = generator.generate([GenerationRequest("a", prompt)], SETTINGS)
    assert (answer.token_ids, answer.stop_token_id, answer.finish_reason) == (free[:place], free[place], "stop")
    assert answer.text == tiny_tokenizer.decode(free[:place])
    with pytest.raises(TemplateError, match="has no chat template"):
        _ = generator.template


def test_the_models_own_end_tokens_end_answers_too(base, tiny_base_path, tiny_llama, tmp_path):
    """Qwen's `<|endoftext|>` is neither the tokenizer's end of sequence nor the template's end of turn."""
    generator = TransformersGenerator(base)
    request = asked(generator)[0]
    free = plain(tiny_llama, request.prompt_ids, generator.template.stop_token_ids)
    place = next(n for n in range(2, len(free)) if free[n] not in free[:n])
    tiny_llama.generation_config.eos_token_id = [free[place], generator.tokenizer.eos_token_id]
    tiny_llama.save_pretrained(tmp_path / "model")
    generator.tokenizer.save_pretrained(tmp_path / "model")
    other = TransformersGenerator(BaseModel(str(tmp_path / "model"), quantization="none", compute_dtype="float32"))
    (answer,) = other.generate([request], SETTINGS)
    assert (answer.token_ids, answer.stop_token_id, answer.finish_reason) == (free[:place], free[place], "stop")


def test_where_an_answer_ends(base, tiny_tokenizer):
    generator = TransformersGenerator(base)
    assert decoding_template(generator) is generator.template
    tokenizer = copy.deepcopy(tiny_tokenizer)
    text = TokenizerText(tokenizer)
    end, pad = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|pad|>"])
    assert (text.stop_token_ids, text.pad_token_id) == (frozenset({end}), pad)
    tokenizer.pad_token = None
    assert TokenizerText(tokenizer).pad_token_id == end
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="no end-of-sequence token"):
        TokenizerText(tokenizer)


def test_adapters_take_turns_on_weights_loaded_once(base, adapter_path, monkeypatch):
    alone = TransformersGenerator(base).generate(asked(TransformersGenerator(base)), SETTINGS)
    adapted = TransformersGenerator(base, str(adapter_path)).generate(asked(TransformersGenerator(base)), SETTINGS)
    loads = []
    load = BaseModel.load
    monkeypatch.setattr(BaseModel, "load", lambda self, device: loads.append(device.type) or load(self, device))
    generator = TransformersGenerator(base)
    for adapter, expected in ((None, alone), (str(adapter_path), adapted), (None, alone), (str(adapter_path), adapted)):
        generator.use_adapter(adapter)
        assert generator.generate(asked(generator), SETTINGS) == expected
    assert alone != adapted
    assert loads == ["cpu"]
    with pytest.raises(ModelError, match="no PEFT adapter"):
        generator.use_adapter("nowhere")


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_a_base_that_an_adapter_changed_is_loaded_anew(start, base, tiny_llama, adapter_path, tmp_path, monkeypatch):
    """Putting such an adapter on takes its beginning out of the base's weights, and taking it off leaves them so."""
    model = get_peft_model(
        copy.deepcopy(tiny_llama),
        LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=start),
    )
    model.save_pretrained(tmp_path / start)
    loads = []
    load = BaseModel.load
    monkeypatch.setattr(BaseModel, "load", lambda self, device: loads.append(1) or load(self, device))
    generator = TransformersGenerator(base)
    weights = {}
    for name, adapter in (("before", None), ("on", str(tmp_path / start)), ("after", None)):
        generator.use_adapter(adapter)
        generator.generate(asked(generator)[:1], SETTINGS)
        layer = generator.model().get_submodule("base_model.model.model" if adapter else "model").layers[0].mlp.up_proj
        weights[name] = (layer.get_base_layer() if adapter else layer).weight.detach().clone()
    assert not torch.equal(weights["on"], weights["before"])
    assert torch.equal(weights["after"], weights["before"])
    assert len(loads) == 2


def test_the_output_layer_is_tried_once_a_load(base, monkeypatch):
    names = []
    check = OutputHead.check
    monkeypatch.setattr(OutputHead, "check", lambda self, *args: names.append(args[-1]) or check(self, *args))
    generator = TransformersGenerator(base)
    for _ in range(2):
        assert len(list(generator.likelihoods([ScoringRequest("a", (5, 6), (7,))]))) == 1
    assert names == [base.path]
    generator.close()
    list(generator.likelihoods([ScoringRequest("a", (5, 6), (7,))]))
    assert names == [base.path, base.path]
