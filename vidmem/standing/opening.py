"""From the arguments of `Memory.session` to standing questions at work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from ..errors import UsageError
from ..query import arguments
from ..query.query import Query
from ..store.standing import MOST
from .event import StandingEvent
from .questions import StandingQuestion, When, prepare, questions_of, with_stored
from .sink import Function, Sink
from .standing import Standing

Receiver: TypeAlias = "Callable[[StandingEvent], object] | Sink"
Receivers: TypeAlias = "Receiver | Iterable[Receiver] | None"


def open_standing(
    query: Query, name: str, when: When, on_event: Receivers, min_probability: float | None, again_after_s: float
) -> Standing | None:
    """The standing questions of the session `name`, their receivers opened; None if there is nobody to tell.

    Raises UsageError for questions without a receiver, else as `questions.prepare` and `Standing`.
    """
    given, sinks = questions_of(when), _sinks(on_event)
    if not sinks:
        if given:
            raise UsageError("`when` needs `on_event`: a function, or a receiver such as Webhook")
        return None
    asked = with_stored(given, query.store.standing())
    if not asked:
        raise UsageError("`on_event` has nothing to tell; name what to tell of with `when`")
    prepared, _ = prepare(query, asked, min_probability)
    ends = (row.next_t_ns for row in query.store.sources() if row.uri == name)
    return Standing(query, prepared, sinks, again_after_s=again_after_s, since_ns=next(ends, None) or 0)


def check_names(query: Query, names: Sequence[str], min_probability: float | None) -> None:
    """Check that names can be standing questions of a memory. Raises as `questions.prepare`."""
    known = {row.text for row in query.store.standing()}
    if len(known | set(names)) > MOST:
        raise UsageError(f"a memory has at most {MOST:,} standing questions; remove some")
    prepare(query, [StandingQuestion(name) for name in names], min_probability)


def _sinks(on_event: Receivers) -> list[Sink]:
    if on_event is None:
        return []
    given = [on_event] if isinstance(on_event, Sink) or callable(on_event) else arguments.each((on_event,))
    for one in given:
        if not isinstance(one, Sink) and not callable(one):
            raise UsageError(
                f"`on_event` is a function, a receiver such as Webhook, or several; got {arguments.got(one)}"
            )
    return [one if isinstance(one, Sink) else Function(one) for one in given]
