"""How `clip`, `gem` and `textregion` name their models and load their text side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..base import EncoderInfo
from ..hub import Wanted
from ..spec import EncoderSpec, LoadOptions
from ..spelling import split_options
from .text import CALIBRATION, ClipText, text_dim

if TYPE_CHECKING:
    from .files import Loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Encoders over open_clip models that share a text side.

    Attributes:
        spec: The encoder's spec.
        prompts: Templates that phrases are put into.
        default: The backbone of a spelling without one; empty for the default of files.py.
        options: Minimum and maximum of each option that may follow the backbone; None if there are none.
        check: Raises ModelError if the encoder cannot use a model; called with the model and its backbone.
        regions: Returns a sha256 over the weights that find regions, if those are another network; else "".
    """

    spec: EncoderSpec
    prompts: tuple[str, ...]
    default: str = ""
    options: Mapping[str, tuple[int, int]] | None = None
    check: Callable[[Loaded, str], None] | None = None
    regions: Callable[[], str] = str

    def wanted(self, backbone: str = "") -> list[Wanted]:
        """All files of a backbone.

        Raises:
            ModelError: There is no such model.
            UsageError: An option behind the backbone is wrong.
        """
        from .files import wanted

        return wanted(self.spec.name, self._split(backbone))

    def text_files(self, options: LoadOptions) -> list[Path]:
        """The files that vectors of texts depend on. Raises ModelError if there is no such model."""
        from .files import model_files

        return model_files(self.spec.name, self._split(options.backbone), options.weights)

    def described(self, name: str, weights: str, visual_dim: int, text_dim: int) -> EncoderInfo:
        """The facts about a model of this family."""
        return EncoderInfo(name, weights, visual_dim, text_dim, self.spec.knows, True, CALIBRATION, self.regions())

    def load_model(self, options: LoadOptions) -> tuple[EncoderInfo, Loaded]:
        """The facts about a model, and the model. Raises ModelError as `files.load_model` and `check`."""
        from .files import load_model

        backbone = options.backbone or self.default
        plain = self._split(backbone)
        loaded = load_model(self.spec.name, plain, options.weights)
        if self.check is not None:
            self.check(loaded, plain)
        dim = text_dim(loaded)
        # The options belong to the name: other sizes of pictures give other tokens.
        return self.described(loaded.name + backbone[len(plain) :], loaded.weights, dim, dim), loaded

    def load_text(self, options: LoadOptions) -> ClipText:
        """The text side alone, without the image tower. Raises ModelError as `load_model`."""
        info, loaded = self.load_model(options)
        loaded.model.visual = None
        return ClipText(info, loaded, self.prompts)

    def _split(self, backbone: str) -> str:
        """The backbone without options."""
        backbone = backbone or self.default
        return backbone if self.options is None else split_options(backbone, self.options)[0]
