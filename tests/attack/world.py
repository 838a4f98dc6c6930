"""What is indexed and asked in attacks: short videos and photos of coloured squares, writes, and questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from encoders import fake

from vidmem import Memory
from vidmem.config import preset
from vidmem.encoders.probability import Curve, Probabilities
from vidmem.timecode import NS

CONFIG = replace(preset("default"), checkpoint_frames=4)
CURVE = Probabilities(text=Curve(-4.0, 8.0, 1.0, 9, 9, 9))

Step = Callable[[Memory], object]
Question = Callable[[Memory], object]


@dataclass(frozen=True)
class World:
    """The files that are indexed."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> World:
        """Make four short videos and a folder of photos, unless they are there."""
        folder.mkdir(parents=True, exist_ok=True)
        clips = {
            "a": fake.walk(24),
            "b": [{"green": (60, 30), "blue": (i, 60)} for i in range(18)],
            "c": [{"red": (120 - 2 * i, 40)} if i < 12 else {"yellow": (10, 10)} for i in range(24)],
            "d": [{"magenta": (30, 20), "green": (100, 50 - i)} for i in range(18)],
        }
        for name, frames in clips.items():
            if not (folder / f"{name}.mp4").exists():
                fake.video(folder / f"{name}.mp4", frames)
        (folder / "photos").mkdir(exist_ok=True)
        for i, places in enumerate(({"red": (8, 8)}, {"green": (90, 40), "blue": (20, 20)}, {"cyan": (60, 30)})):
            if not (folder / "photos" / f"{i}.png").exists():
                fake.save(folder / "photos" / f"{i}.png", places)
        (folder / "names.txt").write_text("\n".join(fake.NAMES) + "\n")
        return cls(folder)

    def __getitem__(self, name: str) -> str:
        return str(self.folder / name)

    @property
    def before(self) -> list[Step]:
        """What is done before anybody asks."""
        return [self._index("a.mp4"), self._index("b.mp4"), self._index("photos")]

    def script(self, short: bool = False) -> Sequence[Step]:
        """All kinds of writes; for the short one an index, a removal, tokens of another encoder, and a forgetting."""

        def calibrate(m: Memory) -> None:
            m.store.set_fitted(m.text_encoder.info.weights, CURVE.as_dict())

        steps = [
            self._index("c.mp4"),
            calibrate,
            lambda m: m.remove(self["a.mp4"]),
            lambda m: m.set_recorded(self["b.mp4"], "2024-05-01T10:00"),
            lambda m: m.reembed("fake:look2"),
            self._index("d.mp4"),
            lambda m: m.forget(thing="green", dry_run=False),
            lambda m: m.compact(),
            lambda m: m.forget(before="2s", sources=self["c.mp4"], dry_run=False),
            self._index("a.mp4"),
            lambda m: m.uncalibrate(),
            lambda m: m.reembed("fake:look"),
            lambda m: m.remove(self["b.mp4"], self["photos"]),
            self._index("b.mp4"),
            lambda m: m.remove(self["c.mp4"], self["d.mp4"]),
            self._index("photos"),
            lambda m: m.set_recorded(self["b.mp4"], "none"),
        ]
        return steps[:7] if short else steps

    def _index(self, name: str) -> Step:
        return lambda m: m.index(self[name], config=CONFIG)

    @property
    def questions(self) -> dict[str, Question]:
        """By words and by picture, with all kinds of filters."""
        red = fake.picture({"red": (60, 30)})
        first, second, names = self["a.mp4"], self["b.mp4"], self["names.txt"]
        return {
            "where red": lambda m: m.where("red", top=None),
            "where green": lambda m: m.where("green", top=None, min_probability=None),
            "where blue low": lambda m: m.where("blue", threshold=0.05, top=None),
            "where magenta": lambda m: m.where("magenta"),
            "red by probability": lambda m: m.where("red", min_probability=0.3, top=None),
            "red picture": lambda m: m.where(image=red, top=None),
            "red picture and word": lambda m: m.where("red", image=red, top=None),
            "green near blue": lambda m: m.where("green", near="blue", within="4s", apart=3.0, top=None),
            "red in a": lambda m: m.where("red", sources=first, top=None),
            "green in b after 1s": lambda m: m.where("green", sources=second, after="1s", before="3s", top=None),
            "green in May": lambda m: m.where("green", after="2024-04-30", before="2024-05-02", top=None),
            "green by crop": lambda m: m.where(crop=(second, NS, (60.0, 30.0, 92.0, 62.0)), top=None),
            "timeline red": lambda m: m.timeline("red", alike=True),
            "timeline blue": lambda m: m.timeline("blue", threshold=0.05),
            "things": lambda m: m.things(labels=names),
            "newest things": lambda m: m.things(labels=names, newest=True, top=3),
            "things of b": lambda m: m.things(second, labels=names),
            "watch": lambda m: m.watch(["red", "green", "cyan"]),
            "haystack": lambda m: m.haystack("green", "blue"),
            "names": lambda m: m.name_tracks(first, ["red", "blue"]),
        }
