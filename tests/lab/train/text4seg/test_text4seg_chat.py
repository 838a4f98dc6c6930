"""Which tokens the loss is on, for the templates and tokenizers of several layouts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import talking
import torch
from vlm import tiny_models

from lab.train.text4seg.chat import IGNORED, Chat, Unusable
from lab.train.text4seg.records import Conversation, Turn, parse
from vidmem.errors import ModelError
from vidmem.export.textmask import decode
from vidmem.vlm import chat as use
from vidmem.vlm.local import load

Folder = Callable[..., Path]
END = tiny_models.END


@pytest.fixture(scope="module")
def chats(tiny: Folder) -> Callable[..., tuple[Any, Chat]]:
    """Model and chat of a layout and tokenizer, loaded once."""
    made: dict[tuple[str, str], tuple[Any, Chat]] = {}

    def get(layout: str = "llava", tokenizer: str = "bytes") -> tuple[Any, Chat]:
        key = layout, tokenizer
        if key not in made:
            local = load(tiny(layout, tokenizer), "cpu")
            made[key] = local, Chat(local, 2)
        return made[key]

    return get


def told(local: Any, labels: torch.Tensor) -> str:
    """The text that the loss is on."""
    return str(local.tokenizer.decode(labels[labels != IGNORED], skip_special_tokens=False))


def ask(data: Path, n: int = 0, **changes: Any) -> Conversation:
    return parse(talking.record(n, **changes), data, f"data:{n}")


@pytest.mark.parametrize("layout", tiny_models.LAYOUTS)
def test_the_loss_is_on_the_answer_and_its_end(layout: str, chats: Any, data: Path) -> None:
    local, chat = chats(layout)
    example = chat.encode(ask(data), 256)
    assert told(local, example.labels) == talking.answer(0) + END
    whole = local.tokenizer.decode(example.ids, skip_special_tokens=False)
    assert whole.endswith(talking.answer(0) + END + "\n")
    assert "Where is the cup?" in whole
    # The rest is what the model gets when it is asked: labels begin where its own answer will.
    first = int((example.labels != IGNORED).nonzero()[0])
    assert torch.equal(example.ids[:first], chat.prompt(ask(data))["input_ids"][0])
    assert local.processor.image_token_id in example.ids[:first]
    assert local.processor.image_token_id not in example.labels
    assert torch.equal(example.labels[first:-1], example.ids[first:-1])
    for values in example.kinds.values():
        assert values.shape == example.ids.shape


@pytest.mark.parametrize("tokenizer", tiny_models.TOKENIZERS)
def test_tokenizers_that_split_counts(tokenizer: str, chats: Any, data: Path) -> None:
    local, chat = chats("llava", tokenizer)
    text = "<seg>others *12| cup *4\n others *16\n</seg>"
    example = chat.encode(ask(data, response=text), 256)
    assert told(local, example.labels) == text + END
    split = {"bytes": 1, "digits": 2}.get(tokenizer, 1)
    assert len(local.tokenizer("12", add_special_tokens=False)["input_ids"]) >= split


@pytest.mark.parametrize("label", ["a|b", "2 * 3", "#1", "<image", "others", "<seg>"])
def test_labels_with_signs_of_their_own(label: str, chats: Any, data: Path) -> None:
    import numpy as np

    from vidmem.export.textmask import build, encode, wrap

    local, chat = chats()
    mask = build(np.array([[0, -1], [-1, -1]]), [label])
    text = wrap(encode(mask))
    example = chat.encode(ask(data, query=f"Where is the {label}?", response=text), 256)
    written = told(local, example.labels).removesuffix(END)
    assert written == text
    assert decode(written.removeprefix("<seg>").removesuffix("</seg>")) == mask


@pytest.mark.parametrize("layout", tiny_models.LAYOUTS)
def test_every_answer_of_several_turns(layout: str, chats: Any, data: Path) -> None:
    local, chat = chats(layout)
    example = chat.encode(ask(data, history=[["What is it?", "A cup."], ["Red?", "Yes."]], system="Be short."), 256)
    assert told(local, example.labels) == f"A cup.{END}Yes.{END}{talking.answer(0)}{END}"
    assert "Be short." in local.tokenizer.decode(example.ids)


@pytest.mark.parametrize("layout", tiny_models.LAYOUTS)
def test_a_picture_in_a_later_turn(layout: str, chats: Any, data: Path) -> None:
    local, chat = chats(layout)
    turns = (
        Turn(("Is there a picture?",), "No."),
        Turn((data / "1.png", "And now?"), "Yes."),
        Turn((data / "2.png", "One more?"), "Two."),
    )
    example = chat.encode(Conversation(turns, "", ""), 256)
    assert told(local, example.labels) == f"No.{END}Yes.{END}Two.{END}"
    text_only = chat.encode(Conversation(turns[:1], "", ""), 256)
    assert text_only.pictures == {}


def test_a_template_that_ends_no_answer_gets_an_end(tiny: Folder, data: Path, tmp_path: Path) -> None:
    folder = talking.with_template(tiny(), talking.LLAVA_TEMPLATE, tmp_path / "model")
    local = load(folder, "cpu")
    chat = Chat(local, 2)
    example = chat.encode(ask(data, history=[["What is it?", "A cup."]]), 256)
    whole = local.tokenizer.decode(example.ids, skip_special_tokens=False)
    assert whole.endswith(f"ASSISTANT: A cup.{END}USER: Where is the cup? ASSISTANT: {talking.answer(0)}{END}")
    assert told(local, example.labels) == f" A cup.{END} {talking.answer(0)}{END}"
    prompt = chat.prompt(ask(data))["input_ids"][0]
    assert local.tokenizer.decode(prompt).endswith("ASSISTANT:")


def test_a_space_that_the_answer_begins_with(tiny: Folder, data: Path, tmp_path: Path) -> None:
    folder = talking.with_template(tiny("idefics3", "digits"), talking.SMOLVLM_TEMPLATE, tmp_path / "model")
    local = load(folder, "cpu")
    end = "<end_of_utterance>"
    local.model.generation_config.eos_token_id = [local.tokenizer.convert_tokens_to_ids(end)]
    example = Chat(local, 2).encode(ask(data, history=[["What is it?", "A cup."]]), 256)
    assert told(local, example.labels) == f" A cup.{end} {talking.answer(0)}{end}"
    whole = local.tokenizer.decode(example.ids, skip_special_tokens=False)
    assert whole.endswith(f"User: Where is the cup?{end}\nAssistant: {talking.answer(0)}{end}\n")


def test_templates_that_do_not_keep_prefixes_fail(tiny: Folder, tmp_path: Path) -> None:
    folder = talking.with_template(tiny(), talking.THINKING_TEMPLATE, tmp_path / "thinking")
    with pytest.raises(ModelError, match="does not keep prefixes") as caught:
        Chat(load(folder, "cpu"))
    assert str(caught.value).endswith(str(folder))
    counts = "{{ messages | length }}" + tiny_models.chat_template("llava")
    local = load(talking.with_template(tiny(), counts, tmp_path / "counts"), "cpu")
    with pytest.raises(ModelError, match="does not keep prefixes"):
        Chat(local)
    raises = "{{ raise_exception('only two roles') }}"
    with pytest.raises(ModelError, match="only two roles"):
        Chat(load(talking.with_template(tiny(), raises, tmp_path / "raises"), "cpu"))


def test_a_template_may_forget_earlier_turns_if_records_have_one(tiny: Folder, data: Path, tmp_path: Path) -> None:
    last = "{% set messages = messages[-2:] if messages | length > 2 else messages %}" + tiny_models.chat_template(
        "llava"
    )
    local = load(talking.with_template(tiny(), last, tmp_path / "model"), "cpu")
    assert Chat(local, 1).encode(ask(data), 256).answers > 1
    with pytest.raises(ModelError, match="does not keep prefixes"):
        Chat(local, 2)


@pytest.mark.parametrize("layout", tiny_models.LAYOUTS)
def test_training_and_use_ask_in_the_same_way(layout: str, chats: Any, data: Path) -> None:
    import numpy as np
    from PIL import Image

    local, chat = chats(layout)
    image = np.asarray(Image.open(data / "0.png"))
    text = use.render(local, use.messages(image, "Where is the cup?"), prompt=True)
    used, trained = use.encode(local, image, text), chat.prompt(ask(data))
    assert {name: value.tolist() for name, value in used.items()} == {n: v.tolist() for n, v in trained.items()}


@pytest.mark.parametrize("template", [None, talking.LLAVA_TEMPLATE])
def test_the_first_token_is_there_once(template: str | None, tiny: Folder, data: Path, tmp_path: Path) -> None:
    """Whether the template writes it or the tokenizer adds it."""
    from tokenizers.processors import TemplateProcessing

    template = template or tiny_models.chat_template("llava")
    local = load(talking.with_template(tiny(), template, tmp_path / "model"), "cpu")
    first = "<|im_start|>"
    number = local.tokenizer.convert_tokens_to_ids(first)
    local.tokenizer.bos_token = first
    local.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{first} $A", special_tokens=[(first, number)]
    )
    example = Chat(local).encode(ask(data), 256)
    assert example.ids[0] == number
    assert example.ids[1] != number
    assert told(local, example.labels).endswith(talking.answer(0) + END)


def test_a_model_without_a_template_says_what_to_do(tiny: Folder, tmp_path: Path) -> None:
    folder = talking.with_template(tiny(), None, tmp_path / "model")
    with pytest.raises(ModelError, match=r"no chat template; add chat_template\.jinja"):
        load(folder, "cpu")


def test_a_model_that_never_ends_fails(tiny: Folder, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny(), folder)
    local = load(folder, "cpu")
    local.model.generation_config.eos_token_id = None
    local.model.config.get_text_config().eos_token_id = None
    local.tokenizer.eos_token = None
    with pytest.raises(ModelError, match="no token that ends an answer"):
        Chat(local)


def test_records_that_cannot_be_used_say_why(chats: Any, data: Path, tmp_path: Path) -> None:
    _, chat = chats()
    length = len(chat.encode(ask(data), 256))
    assert len(chat.encode(ask(data), length)) == length
    with pytest.raises(Unusable, match=f"it has {length} tokens, more than {length - 1}"):
        chat.encode(ask(data), length - 1)
    with pytest.raises(Unusable, match="missing"):
        chat.encode(ask(tmp_path), 256)
    whole = (data / "0.png").read_bytes()
    for damaged in (b"", b"no picture", whole[:100], whole[: len(whole) // 2]):
        (tmp_path / "0.png").write_bytes(damaged)
        with pytest.raises(Unusable, match=r"0\.png"):
            chat.encode(ask(tmp_path), 256)
    with pytest.raises(Unusable, match="processor refuses"):  # a word that is the mark of a picture
        chat.encode(ask(data, response="Look at <image> twice."), 256)


def test_an_upright_picture(chats: Any, data: Path, tmp_path: Path) -> None:
    """A photo that is turned by its EXIF orientation gives the pixels of the upright one."""
    from PIL import Image

    _, chat = chats("qwen2_vl")
    picture = Image.open(data / "0.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "0.png")
    plain = chat.encode(ask(tmp_path), 256)
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "0.png", exif=exif)
    turned = chat.encode(ask(tmp_path), 256)
    assert all(torch.equal(plain.pictures[name], turned.pictures[name]) for name in plain.pictures)
