"""What all workers of a fleet agree on, as plain data. Nothing heavy is imported here: a worker gets it first."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import IndexConfig


@dataclass(frozen=True, slots=True)
class Settings:
    """What the tokens of a fleet depend on, and how its sources are read. Plain data, for workers.

    Attributes:
        encoder: Its spelling.
        weights, regions, visual_dim, text_dim, name: Facts of the encoder that workers check theirs against.
        config: The settings.
        decoder: pyav or decord.
        film: Folders of pictures are films.
        keep_views: Keep the pictures of the views.
        pose: Topic of poses; None for the best.
        recorded: What gives times of recording, for entries that do not say.
        folder: Folder of the encoder's weights on the workers; None for the default.
        masks: Where regions come from; None if the encoder finds them.
        device: Device of the encoder; None for the best.
        version: Of vidmem.
    """

    encoder: str
    name: str
    weights: str
    regions: str
    visual_dim: int
    text_dim: int
    config: IndexConfig
    decoder: str = "pyav"
    film: bool = False
    keep_views: bool = False
    pose: str | None = None
    recorded: str | None = None
    folder: str | None = None
    masks: str | None = None
    device: str | None = None
    version: str = ""

    def about(self) -> dict[str, object]:
        """What the content of a shard depends on, beside its sources."""
        return {
            "encoder": self.name,
            "weights": self.weights,
            "regions": self.regions,
            "masks": self.masks,
            "config": self.config.as_dict(),
            "decoder": self.decoder,
            "keep_views": self.keep_views,
            "pose": self.pose,
            "recorded": self.recorded,
        }
