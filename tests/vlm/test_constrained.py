"""Constrained decoding with tokenizers of several kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vlm import tiny_models
from vlm.conftest import TinyModel

from needs import needs
from vidmem.errors import ModelError
from vidmem.export.textmask import build, decode, encode, wrap
from vidmem.vlm.constrained import MaskLogits, logits_processor
from vidmem.vlm.grammar import MaskGrammar
from vidmem.vlm.vocabulary import Vocabulary, token_bytes, vocabulary

LABELS = ["cup", "red cup", "plant"]
TOKENS = [b"", b"o", b"others", b" *", b"*1", b"*", b"1", b"12", b"2", b"2|", b"| cup", b"|", b" ", b"cup", b"\n",
          b"\n ",
          b"2\n</seg>", b"<", b"<seg>", b"</", b"seg>", b"cup *2\n", b"\xc3", b"\xa9", b"\xc3\xa9"]  # fmt: skip


@given(st.integers(0, 60), st.data())
@settings(max_examples=60)
def test_the_sorted_search_finds_what_trying_each_token_finds(steps: int, data: st.DataObject) -> None:
    grammar = MaskGrammar((3, 12), ["cup", "café", "o"])
    tokens = Vocabulary(TOKENS)
    state = grammar.start()
    for _ in range(steps):
        found = tokens.continuations(grammar, state)
        assert sorted(int(i) for _, ids in found for i in ids) == grammar.allowed(state, TOKENS)
        for following, ids in found:
            assert {grammar.advance(state, TOKENS[i]) for i in ids} == {following}
        if not (moves := grammar.moves(state)):
            break
        state = moves[data.draw(st.sampled_from(sorted(moves)))]


def test_spelling() -> None:
    tokens = Vocabulary([b"ab", b"abc", b"d", b"cd"])
    assert tokens.spells(b"abcd")
    assert tokens.spells(b"ababc")
    assert not tokens.spells(b"abcc")
    assert not tokens.spells(b"a")


def texts_of(kind: str) -> tuple[Any, list[bytes]]:
    tiny_models.required()
    tokenizer = tiny_models.make_tokenizer("llava", kind, (*tiny_models.SENTENCES, " red"))
    return tokenizer, token_bytes(tokenizer)


@pytest.mark.parametrize("kind", tiny_models.TOKENIZERS)
def test_the_bytes_of_tokens_make_up_the_text(kind: str) -> None:
    tokenizer, tokens = texts_of(kind)
    for text in (*tiny_models.SENTENCES, *(["café 鼠 <seg>"] if kind != "words" else [])):
        assert b"".join(tokens[i] for i in tokenizer(text)["input_ids"]).decode() == text
    assert tokens[tokenizer.eos_token_id] == b""
    assert tokens[tokenizer.convert_tokens_to_ids("<image>")] == b""


def other_tokenizers() -> dict[str, Any]:
    """SentencePiece's way with spaces and bytes, a tokenizer without a known decoder, and tags as special tokens."""
    tiny_models.required()
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = ["<unk>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), "▁", "▁others", "▁cup", "others", "*", "1", "▁*"]
    bpe = Tokenizer(models.BPE({p: i for i, p in enumerate(pieces)}, [], byte_fallback=True, unk_token="<unk>"))
    bpe.normalizer = normalizers.Replace(" ", "▁")
    bpe.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    words = ["<unk>", "</s>", "cup", "others", " ", "*", "|", "\n", *map(str, range(17)), "<seg>", "</seg>", " cup"]
    fused = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    fused.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    fused.decoder = decoders.Fuse()
    tagged = tiny_models.make_tokenizer("llava", "bytes", tiny_models.SENTENCES)
    tagged.add_special_tokens({"additional_special_tokens": ["<seg>", "</seg>"]})
    return {
        "sentencepiece": PreTrainedTokenizerFast(tokenizer_object=bpe, unk_token="<unk>", eos_token="</s>"),
        "words": PreTrainedTokenizerFast(tokenizer_object=fused, unk_token="<unk>", eos_token="</s>"),
        "tagged": tagged,
    }


@pytest.mark.parametrize("name", ["sentencepiece", "words", "tagged"])
def test_tokens_of_other_tokenizers(name: str) -> None:
    tokenizer = other_tokenizers()[name]
    tokens = token_bytes(tokenizer)
    known = {tokenizer.convert_ids_to_tokens(i): text for i, text in enumerate(tokens)}
    if name == "sentencepiece":
        assert known["▁cup"] == b" cup"
        assert known["<0x0A>"] == b"\n"
        assert known["</s>"] == b""
    elif name == "words":
        assert known[" cup"] == b" cup"
        assert known["12"] == b"12"
    else:
        assert known["<seg>"] == b"<seg>"
        assert known["</seg>"] == b"</seg>"
    assert vocabulary(tokenizer) is vocabulary(tokenizer)


def test_random_answers_are_valid_with_every_tokenizer(tiny_model: TinyModel) -> None:
    """Random logits: every answer is a whole mask of the grid, whatever a token holds."""
    torch = needs("torch")
    torch.manual_seed(0)
    cases = [(texts_of(kind)[0], kind) for kind in tiny_models.TOKENIZERS]
    cases += [(tokenizer, name) for name, tokenizer in other_tokenizers().items()]
    for tokenizer, name in cases:
        labels = ["cup"] if name == "words" else LABELS
        grammar = MaskGrammar((4, 12), labels)
        processor = logits_processor(tokenizer, grammar, 2)
        eos = tokenizer.eos_token_id
        ids = torch.zeros(3, 2, dtype=torch.long)
        for _ in range(1500):
            scores = torch.randn(3, len(tokenizer) + 5)  # models have more rows than tokens
            ids = torch.cat([ids, processor(ids, scores).argmax(1, keepdim=True)], 1)
            if bool((ids[:, 2:] == eos).any(1).all()):
                break
        for row in ids[:, 2:].tolist():
            assert eos in row, name
            answer = b"".join(token_bytes(tokenizer)[i] for i in row[: row.index(eos)]).decode()
            assert grammar.accepts(answer), name
            decode(answer.strip()[5:-6], (4, 12))
            assert set(row[row.index(eos) :]) == {eos}


def test_the_processor_keeps_what_is_allowed_and_nothing_else() -> None:
    torch = needs("torch")
    tokenizer, tokens = texts_of("bytes")
    mask = build(np.array([[0, 0, -1], [-1, 1, 1]]), ["cup", "plant"])
    grammar = MaskGrammar((2, 3), ["cup", "plant"])
    ids = tokenizer(wrap(encode(mask)), return_tensors="pt")["input_ids"]
    processor = logits_processor(tokenizer, grammar, 0)
    scores = torch.randn(1, len(tokenizer))
    for length in range(ids.shape[1] + 1):
        out = processor(ids[:, :length], scores)
        state = grammar.advance(grammar.start(), b"".join(tokens[i] for i in ids[0, :length].tolist()))
        assert state is not None
        want = grammar.allowed(state, tokens) or [tokenizer.eos_token_id]
        assert torch.isfinite(out[0]).nonzero().ravel().tolist() == sorted(want)
        assert torch.equal(out[0, want], scores[0, want])


def test_sequences_that_swap_places_as_beams_do() -> None:
    torch = needs("torch")
    tokens = Vocabulary(TOKENS)
    processor = MaskLogits(tokens, MaskGrammar((1, 2), ["cup"]), 0, [0])
    seg, cup, others, star = (TOKENS.index(t) for t in (b"<seg>", b"cup", b"others", b" *"))
    scores = torch.zeros(2, len(TOKENS))
    for rows in ([[], []], [[seg], [seg]], [[seg, cup], [seg, others]], [[seg, others, star], [seg, cup, star]]):
        out = processor(torch.tensor(rows, dtype=torch.long).reshape(2, -1), scores)
        assert torch.isfinite(out).any(1).all()
    assert torch.isfinite(processor(torch.tensor([[seg, cup, star]]), scores[:1])[0, TOKENS.index(b"2")])


def test_a_tokenizer_that_cannot_write_a_label() -> None:
    tokenizer, _ = texts_of("words")
    with pytest.raises(ModelError, match="cannot write the label 'zebra'"):
        logits_processor(tokenizer, MaskGrammar((4, 4), ["zebra"]), 0)
    with pytest.raises(ModelError, match="cannot write the count 20"):
        logits_processor(tokenizer, MaskGrammar((4, 20), ["cup"]), 0)


def test_tokens_that_lead_into_a_dead_end_are_not_allowed() -> None:
    tokens = [
        b"<seg>",
        b"cup",
        b"others",
        b" *",
        b"1",
        b"2",
        b"|",
        b" ",
        b" cup",
        b" others",
        b"\n</seg>",
        b"oth",
        b"cu",
    ]
    processor = MaskLogits(Vocabulary(tokens), MaskGrammar((1, 2), ["red", "cup"]), 0, [99])
    grammar = processor.grammar

    def allowed(text: str) -> set[bytes]:
        state = grammar.advance(grammar.start(), text)
        assert state is not None
        return {tokens[i] for i in processor.allowed(state)}

    assert allowed("<seg>") == {b"cup", b"others"}  # neither "oth" nor "cu" can go on
    assert allowed("<seg>cup *1|") == {b" ", b" others"}
    tokens.remove(b"others")
    processor = MaskLogits(Vocabulary(tokens), grammar, 0, [99])
    assert allowed("<seg>cup *1|") == {b" others"}  # behind a space alone, only "cup" could follow
    assert allowed("<seg>") == {b"cup"}


def test_a_dead_end_and_an_answer_that_is_no_mask() -> None:
    tokens = Vocabulary([b"<seg>", b"cup", b"cups"])
    processor = MaskLogits(tokens, MaskGrammar((1, 2), ["cup"]), 0, [9])
    torch = needs("torch")
    scores = torch.zeros(1, 10)
    with pytest.raises(ModelError, match="has no tokens that finish the mask"):
        processor(torch.tensor([[0, 1]]), scores)
    with pytest.raises(ModelError, match="begin to constrain it at its first token"):
        processor(torch.tensor([[0, 2]]), scores)


@pytest.mark.parametrize("layout", tiny_models.LAYOUTS)
def test_models_generate_valid_masks_alone(tiny_model: TinyModel, layout: str, tmp_path: Path) -> None:
    from vidmem.vlm.chat import encode as inputs_of
    from vidmem.vlm.chat import messages, render
    from vidmem.vlm.local import load

    torch = needs("torch")
    local = load(tiny_model(layout), "cpu")
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    inputs = inputs_of(local, image, render(local, messages(image, "Where is the cup?"), prompt=True))
    grammar = MaskGrammar((3, 7), ["cup"])
    length = inputs["input_ids"].shape[1]
    torch.manual_seed(0)
    for sampled in (False, True):
        out = local.model.generate(
            **inputs,
            do_sample=sampled,
            max_new_tokens=200,
            logits_processor=[logits_processor(local.tokenizer, grammar, length)],
        )
        text = local.tokenizer.decode(out[0, length:], skip_special_tokens=True)
        assert grammar.accepts(text)
