"""Conversations about one picture, in the form that every processor of `transformers` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError

if TYPE_CHECKING:
    from .local import LocalModel

Message = dict[str, Any]


def messages(image: NDArray[np.uint8] | None, question: str, answer: str | None = None) -> list[Message]:
    """A question about a picture, and its answer if there is one.

    image: `(H, W, 3)` uint8 RGB; None leaves a place for a picture that the processor gets apart.
    """
    from PIL import Image

    picture: Message = {"type": "image"}
    if image is not None:
        picture["image"] = Image.fromarray(image)
    turns = [{"role": "user", "content": [picture, {"type": "text", "text": question}]}]
    if answer is not None:
        turns.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    return turns


def render(local: LocalModel, conversation: list[Message], *, prompt: bool = False) -> str:
    """The text of a conversation by the model's chat template.

    prompt: Let the text end where the model's answer begins.

    Raises:
        ModelError: The template cannot be used.
    """
    try:
        text = local.processor.apply_chat_template(
            conversation, chat_template=local.template, tokenize=False, add_generation_prompt=prompt
        )
    except Exception as error:  # Jinja raises what a template wants
        raise _unusable(error, local) from None
    return str(text)


def encode(local: LocalModel, image: NDArray[np.uint8], text: str) -> Any:
    """What the model takes, as tensors on the CPU: `input_ids` `(1, n)`, `pixel_values` and more, by name.

    Args:
        local: The model.
        image: `(H, W, 3)` uint8 RGB.
        text: A rendered conversation with one place for a picture.

    Raises:
        ModelError: The processor cannot use the text, or the text has no place for the picture.
    """
    from PIL import Image

    try:
        inputs = local.processor(
            text=[text],
            images=[Image.fromarray(image)],
            add_special_tokens=adds_special(local.tokenizer, text),
            return_tensors="pt",
        )
    except Exception as error:  # processors raise many kinds of errors when text and pictures do not fit
        raise _unusable(error, local) from None
    token = getattr(local.processor, "image_token_id", None)
    pictured = not isinstance(token, int) or bool((inputs["input_ids"] == token).any())
    if not pictured or not any(name.startswith("pixel_values") for name in inputs):
        raise ModelError(
            f"the chat template has no place for a picture; take the one of the published model: {local.folder}"
        )
    return inputs


def adds_special(tokenizer: Any, text: str) -> bool:
    """Whether the tokenizer adds its first token to a rendered text: not if the template has written it."""
    first = tokenizer.bos_token
    return first is None or not text.startswith(first)


def _unusable(error: Exception, local: LocalModel) -> ModelError:
    lines = str(error).splitlines() or [type(error).__name__]
    return ModelError(
        f"the chat template does not fit the model ({lines[0][:160]}); take the one of the published model: "
        f"{local.folder}"
    )
