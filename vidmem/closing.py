"""The one way in which things are used in a `with` statement here: closed at its end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self


class Closing(ABC):
    """A base for what has to be closed."""

    @abstractmethod
    def close(self) -> None:
        """End all use. Closing twice is fine."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
