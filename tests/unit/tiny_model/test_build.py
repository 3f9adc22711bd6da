"""The parts of the build that need torch: run where its requirements.txt is installed."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs local/tiny-model/requirements.txt")
transformers = pytest.importorskip("transformers")

from tiny_qwen3.corpus import Chat, build_corpus  # noqa: E402
from tiny_qwen3.muon import orthogonalise  # noqa: E402
from tiny_qwen3.pretraining import IGNORED, AnswerMarks, pretrain, render_document  # noqa: E402
from tiny_qwen3.recipe import Recipe  # noqa: E402
from tiny_qwen3.tokenization import CHAT_TEMPLATE, train_tokenizer  # noqa: E402

SMALL = dataclasses.replace(
    Recipe(), documents=320, hidden_size=64, intermediate_size=96, layers=2, warmup_steps=2
)
CORPUS = build_corpus(SMALL.documents, SMALL.seed)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    return train_tokenizer(CORPUS, tmp_path_factory.mktemp("tokenizer"))


def test_tokenizer_has_the_roles_of_qwen3(tokenizer) -> None:  # type: ignore[no-untyped-def]
    assert type(tokenizer).__name__ == "Qwen2Tokenizer"
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert (tokenizer.bos_token, tokenizer.unk_token) == (None, None)
    added = sorted(tokenizer.added_tokens_decoder)
    assert len(added) == 26
    assert len(tokenizer) == added[-1] + 1
    ids = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    assert ids == added[:3]
    assert not tokenizer.added_tokens_decoder[added[-1]].special  # </think>, as in Qwen3


@pytest.mark.parametrize(
    "text", ["My lamp is late.", "我的台灯晚到了。", "naïve 🐟 Ω\tx\n\n y", "<think>"]
)
def test_any_text_survives_encoding(tokenizer, text: str) -> None:  # type: ignore[no-untyped-def]
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_product_names_are_tokens_of_their_own(tokenizer) -> None:  # type: ignore[no-untyped-def]
    pieces = [tokenizer.decode([i]) for i in tokenizer("我的台灯还没有到")["input_ids"]]
    assert "台灯" in pieces


def test_template_is_trls(tokenizer) -> None:  # type: ignore[no-untyped-def]
    """The sha256 of `trl/chat_templates/qwen3.jinja` in trl 1.15.0."""
    digest = hashlib.sha256(CHAT_TEMPLATE.read_bytes()).hexdigest()
    assert digest == "a55ee1b1660128b7098723e0abcd92caa0788061051c62d51cbe87d9cf1974d8"
    assert tokenizer.chat_template == CHAT_TEMPLATE.read_text("utf-8")


def test_loss_covers_the_answer_and_its_end(tokenizer) -> None:  # type: ignore[no-untyped-def]
    row = tokenizer(render_document(Chat(("Hi.", "Hello!")), tokenizer))["input_ids"]
    labels = AnswerMarks.from_tokenizer(tokenizer).label(row)
    kept = [token for token in labels if token != IGNORED]
    assert tokenizer.decode(kept) == "<think>\n\n</think>\n\nHello!<|im_end|>"


def test_same_seed_same_weights(tokenizer) -> None:  # type: ignore[no-untyped-def]
    first, second = (_hash_weights(pretrain(SMALL, CORPUS, tokenizer)) for _ in range(2))
    assert first == second
    other = dataclasses.replace(SMALL, seed=1)
    assert _hash_weights(pretrain(other, CORPUS, tokenizer)) != first


def test_model_is_a_qwen3_that_vllm_can_serve(tokenizer, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    model = pretrain(SMALL, CORPUS[:16], tokenizer)
    model.save_pretrained(tmp_path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(loaded).__name__ == "Qwen3ForCausalLM"
    assert loaded.config.tie_word_embeddings
    assert loaded.config.head_dim in {32, 64, 80, 96, 112, 128}  # the CPU backend's head sizes
    assert loaded.config.vocab_size % 64 == 0
    assert loaded.config.num_attention_heads % loaded.config.num_key_value_heads == 0
    assert {p.name for p in tmp_path.iterdir()} >= {"config.json", "model.safetensors"}


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for rows, columns in ((8, 32), (32, 8), (16, 16)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(3, rows, columns)))
        assert values.min() > 0.5
        assert values.max() < 1.3


def _hash_weights(model) -> str:  # type: ignore[no-untyped-def]
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()
