"""What a question gives: an `Answer` of sightings, and the `Thing`s of a timeline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, overload

from .. import display
from ..errors import UsageError
from ..records import Sighting
from ..store import Proof
from .documents import COLUMNS, Row, sighting_row

if TYPE_CHECKING:
    from PIL import Image


class Album(Protocol):
    """Draws the picture of a sighting, from the memory that it came from."""

    def __call__(self, sighting: Sighting, title: str = "", *, others: Sequence[Sighting] = ()) -> Image.Image: ...


@dataclass(frozen=True, slots=True)
class Answer(Sequence[Sighting]):
    """The sightings found, newest first: a sequence.

    near_misses: the best candidates when nothing counts as found. query: the question as plain data. total: in how many
    stretches of time it was found, whatever number was asked for; things in view at the same time count once. notes:
    one line each for people, such as what was left out. likelier: an older sighting that is much more probably meant
    than the newest. proof: of a fleet, which shards were asked, and what may be missed; None for one memory.
    """

    sightings: tuple[Sighting, ...]
    near_misses: tuple[Sighting, ...] = ()
    query: dict[str, object] = field(default_factory=dict, hash=False)
    total: int = 0
    notes: tuple[str, ...] = ()
    likelier: Sighting | None = None
    proof: Proof | None = None
    album: Album | None = field(default=None, compare=False)

    def to_dicts(self) -> list[Row]:
        """A dict for each sighting, as `vidmem where --json` prints them."""
        return [sighting_row(s) for s in self.sightings]

    def to_pandas(self) -> Any:
        """A pandas.DataFrame with a row for each sighting and the columns of `to_dicts`.

        Raises:
            UsageError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise UsageError("pandas is not installed; `pip install pandas`, or use to_dicts()") from None
        return pandas.DataFrame(self.to_dicts(), columns=list(COLUMNS))

    def __repr__(self) -> str:
        return display.answer_text(self)

    def _repr_html_(self) -> str:
        return display.answer_html(self)

    @property
    def found(self) -> bool:
        """True if there is a sighting."""
        return bool(self.sightings)

    def __len__(self) -> int:
        return len(self.sightings)

    def __bool__(self) -> bool:
        return self.found

    def __iter__(self) -> Iterator[Sighting]:
        return iter(self.sightings)

    @overload
    def __getitem__(self, index: int) -> Sighting: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Sighting, ...]: ...
    def __getitem__(self, index: int | slice) -> Sighting | tuple[Sighting, ...]:
        return self.sightings[index]


class Timeline(list["Thing"]):
    """The things that `timeline` found, the thing seen last first. proof: as in `Answer`."""

    def __init__(self, things: Iterable[Thing] = (), proof: Proof | None = None) -> None:
        super().__init__(things)
        self.proof = proof


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing and its sightings, newest first. tracks: the sorted ids of all of its tracks."""

    sightings: tuple[Sighting, ...]
    tracks: tuple[int, ...]
