"""A fleet answers as one memory of the same sources does, and says what it rests on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store.making import DT, DV

from needs import needs
from vidmem.encoders import Calibration
from vidmem.encoders.probability import Curve, Probabilities
from vidmem.errors import StoreError, UsageError
from vidmem.fleet import vectors as fleet_vectors
from vidmem.fleet.bounds_table import BoundsTable
from vidmem.fleet.store import FleetStore
from vidmem.fleet.vectors import FleetVectors
from vidmem.query.filters import spans_of
from vidmem.query.haystack import Haystack
from vidmem.query.of_tracks import sightings_of_tracks
from vidmem.query.picture import crop_token
from vidmem.query.question import Phrase, Question
from vidmem.query.reid import seen_again, things
from vidmem.query.where import each, timeline, where
from vidmem.records import Float32, Sighting
from vidmem.render.originals import source_of
from vidmem.store import Store, VectorCache, Within
from vidmem.timecode import NS, Moment

from . import fleets
from .fleets import NOON, THINGS, Made, album, directions, film, fleet, like, opened, same_ids, write

needs("sqlalchemy")

PLAIN = Calibration(0.4, 0.3, 0.5, 0.25, 0.2, 0.1, same_thing=0.8)
CURVE = Curve(-3, 8, 0.6, 9, 9, 9, best=1.0)
FITTED = replace(PLAIN, probability=Probabilities(CURVE, Curve(-4, 9, 0, 9, 9, 9), CURVE))


def sources(seed: int) -> list[Made]:
    """Films of different things, two of them without a date, and folders of photos."""
    rng = np.random.default_rng(seed)
    some = [rng.choice(THINGS, 3, replace=False).tolist() for _ in range(6)]
    films = [film(seed, i, things) for i, things in enumerate(some)]
    return [*films, film(seed, 6, [0, 1], dated=False), album(seed, 7), album(seed, 8)]


def split(made: Sequence[Made], places: Sequence[int]) -> list[list[Made]]:
    """The sources of each shard, in order, so that ids are in one order in both."""
    parts: dict[int, list[Made]] = {}
    for source, place in zip(made, sorted(places), strict=True):
        parts.setdefault(place, []).append(source)
    return list(parts.values())


class Pair:
    """One memory, and the fleet of the same sources."""

    def __init__(self, one: Store, many: FleetStore) -> None:
        self.one, self.many = one, many
        self.tracks, self.sources = same_ids(one, many)

    def both(self, ask: Callable[[Store, Any], Any]) -> tuple[Any, Any]:
        """What each gives, within one state."""
        with self.one.snapshot():
            first = ask(self.one, VectorCache(self.one))
        with self.many.snapshot():
            second = ask(self.many, FleetVectors(self.many))
            proof = self.many.proof()
        assert proof is not None
        assert proof.exact
        assert proof.asked + proof.pruned == len(self.many.state().parts)
        return first, second

    def key(self, s: Sighting, *, mapped: bool) -> tuple[Any, ...]:
        tracks = tuple(sorted(self.tracks[t] for t in s.tracks)) if mapped else s.tracks
        numbers = [None if v is None else round(v, 4) for v in (s.score, s.text_score, s.visual_score, s.probability)]
        source = self.sources[s.source_id] if mapped else s.source_id
        return s.source, source, s.start_ns, s.end_ns, s.frame_ns, s.box, tracks, s.recorded_ns, s.picture, *numbers

    def same(self, first: Sequence[Sighting], second: Sequence[Sighting]) -> None:
        assert [self.key(s, mapped=True) for s in first] == [self.key(s, mapped=False) for s in second]


@pytest.fixture
def pairs(tmp_path: Path) -> Iterator[Callable[..., Pair]]:
    opened_stores: list[Store] = []

    def make(made: Sequence[Made], parts: Sequence[Sequence[Made]]) -> Pair:
        folder = tmp_path / str(len(opened_stores))
        folder.mkdir()
        write(folder / "one.memory", made)
        opened_stores.append(one := Store.open(folder / "one.memory"))
        opened_stores.append(many := opened(fleet(folder, parts)))
        return Pair(one, many)

    yield make
    for store in opened_stores:
        store.close()


def questions(seed: int) -> Iterator[Question]:
    """In words, by a picture, by both; with times, sources and other things that are near."""
    rng = np.random.default_rng(seed)
    looks, names = directions(seed, DV), directions(seed, DT)
    for thing in rng.permutation(THINGS)[:2].tolist():
        text, seen = like(rng, names[thing], 0.2), like(rng, looks[thing], 0.2)
        contrast = np.delete(names, thing, 0)
        yield Question(text, contrast=contrast)
        yield Question(visual=seen)
        yield Question(text, seen, contrast)
        yield Question(text, threshold=0.6)
        yield Question(text, seen, threshold=0.5)
        near = (Phrase(names[(thing + 1) % THINGS]),)
        yield Question(text, contrast=contrast, near=near, within_ns=20 * NS, max_gap=4)
    nothing = like(rng, -names.sum(0), 0.1)
    yield Question(nothing, threshold=0.95)
    yield Question(nothing, like(rng, -looks.sum(0), 0.1), threshold=0.95)


def times(store: Store, seed: int) -> Iterator[Any]:
    rng = np.random.default_rng(seed)
    yield None
    after, before = (Moment(NOON + int(t) * NS, True, str(t)) for t in sorted(rng.integers(0, 700, 2)))
    yield spans_of(store, [], after, Moment(before.ns + 1, True, "later"))[0]
    yield spans_of(store, ["/films/2.mp4", "/photos/7"], None, None)[0]
    yield spans_of(store, ["/films/1.mp4", "/films/3.mp4"], Moment(5 * NS, False, "5s"), Moment(30 * NS, False, "30s"))[
        0
    ]


def ask_everything(pair: Pair, seed: int) -> None:
    for calibration in (PLAIN, FITTED):
        for number, question in enumerate(questions(seed)):
            for which in range(4) if number in (0, 2) else (0,):

                def asked(store: Store, which: int = which, question: Question = question) -> Question:
                    return replace(question, spans=list(times(store, seed))[which])

                for top in (1, None) if which == 0 else (None,):
                    first, second = pair.both(
                        lambda store, cache, q=asked, top=top, c=calibration: where(store, cache, c, q(store), top=top)
                    )
                    pair.same(first.sightings, second.sightings)
                    pair.same(first.near_misses, second.near_misses)
                    assert (first.total, first.notes) == (second.total, second.notes)
                    assert (first.likelier is None) == (second.likelier is None)
                first, second = pair.both(
                    lambda store, cache, q=asked, c=calibration: timeline(store, cache, c, q(store), similar=True)
                )
                assert len(first) == len(second)
                for one, other in zip(first, second, strict=True):
                    pair.same(one.sightings, other.sightings)
        names = directions(seed, DT)
        phrases = [Question(name, contrast=np.delete(names, i, 0)) for i, name in enumerate(names)]
        first, second = pair.both(lambda store, cache, c=calibration, p=phrases: each(store, cache, c, p, top=None))
        for one, other in zip(first, second, strict=True):
            pair.same(one.sightings, other.sightings)
        ask_photos(pair, calibration, names)
    ask_things(pair)


def ask_photos(pair: Pair, calibration: Calibration, names: Float32) -> None:
    for i in range(3):
        anchor, target = Phrase(names[i], np.delete(names, i, 0)), Phrase(names[i + 1])
        for rule in ("default", "paper"):
            first, second = pair.both(
                lambda store, cache, a=anchor, t=target, r=rule: Haystack(store, cache, calibration).ask(a, t, r)
            )
            assert (first.verdict, first.pictures) == (second.verdict, second.pictures)
            for one, other in ((first.anchor, second.anchor), (first.target, second.target)):
                assert (one is None) == (other is None)
                if one is not None:
                    assert (one.paths, one.box, one.recorded_ns) == (other.paths, other.box, other.recorded_ns)
                    assert one.score == pytest.approx(other.score, abs=1e-5)
            assert [r.paths for r in first.near_misses] == [r.paths for r in second.near_misses]


def ask_things(pair: Pair) -> None:
    def all_things(store: Store, cache: Any) -> list[list[int]]:
        rows = cache.rows_within(None)
        ids = cache.columns_of(rows).ids
        return [ids[members].tolist() for members in things(store, cache, rows, 0.8)]

    first, second = pair.both(all_things)
    assert [[pair.tracks[i] for i in members] for members in first] == second
    ids = list(pair.tracks)[::3]
    first = sightings_of_tracks(pair.one, VectorCache(pair.one), PLAIN, ids)
    second = sightings_of_tracks(pair.many, FleetVectors(pair.many), PLAIN, [pair.tracks[i] for i in ids])
    pair.same(first, second)
    first, second = pair.both(lambda store, cache: seen_again(cache, np.arange(0, len(cache), 5), 0.8).tolist())
    assert first == second  # rows are in the order of ids in both


@settings(deadline=None, max_examples=2, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), places=st.lists(st.integers(0, 7), min_size=9, max_size=9))
def test_a_fleet_answers_as_one_memory_does(pairs: Callable[..., Pair], seed: int, places: list[int]) -> None:
    made = sources(seed)
    ask_everything(pairs(made, split(made, places)), seed)


def test_without_any_bounds_the_answers_are_the_same(
    pairs: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = sources(5)
    pair = pairs(made, split(made, range(9)))
    monkeypatch.setattr(FleetStore, "bounds", lambda self, state: BoundsTable([None] * len(state.parts)))
    ask_everything(pair, 5)


def test_with_bounds_that_are_too_low_things_would_be_missed(
    pairs: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof matters: what it says too little of, is lost."""
    made = sources(6)
    pair = pairs(made, split(made, range(9)))
    whole = BoundsTable.uppers
    monkeypatch.setattr(BoundsTable, "uppers", lambda self, *given: whole(self, *given) - 0.1)
    differ = 0
    with pair.one.snapshot(), pair.many.snapshot():
        cache, many = VectorCache(pair.one), FleetVectors(pair.many)
        for row in range(0, len(cache), 2):
            vector = cache.reconstruct("visual", np.array([row]))[0]
            if vector.any():
                differ += len(cache.range_search("visual", vector, 0.95)[0]) != len(
                    many.range_search("visual", vector, 0.95)[0]
                )
    assert differ > 5


def test_the_searches_themselves_agree(pairs: Callable[..., Pair]) -> None:
    made = sources(7)
    pair = pairs(made, split(made, [0, 0, 1, 2, 2, 3, 4, 4, 5]))
    rng = np.random.default_rng(7)
    with pair.one.snapshot(), pair.many.snapshot():
        cache, many = VectorCache(pair.one), FleetVectors(pair.many)
        assert len(cache) == len(many)
        every = np.arange(len(cache))
        np.testing.assert_array_equal(many.columns_of(every).start_ns, cache.columns.start_ns)
        np.testing.assert_array_equal(many.rows_of(many.columns_of(every).ids), every)
        assert many.rows_of(np.array([0, 99 << 32, (1 << 32) + 4000, 1 << 62])).tolist() == [-1] * 4
        for kind, dim in (("visual", DV), ("text", DT)):
            np.testing.assert_array_equal(many.reconstruct(kind, every[::-1]), cache.reconstruct(kind, every[::-1]))
            queries = rng.standard_normal((5, dim)).astype(np.float32)
            for query in queries:
                np.testing.assert_array_equal(many.scores(kind, query, every), cache.scores(kind, query, every))
                without = np.sort(rng.choice(len(cache), 9, replace=False))
                some = [pair.sources[i] for i in (1, 3, 8)]
                for k in (1, 4, 17, 1000):
                    assert many.top(kind, query, k)[0].tolist() == cache.top(kind, query, k)[0].tolist()
                    one = cache.top(kind, query, k, Within({1: (0, 30 * NS), 3: (5, 9), 8: (0, 1 << 62)}, without))[0]
                    spans = dict(zip(some, ((0, 30 * NS), (5, 9), (0, 1 << 62)), strict=True))
                    assert many.top(kind, query, k, Within(spans, without))[0].tolist() == one.tolist()
                for threshold in (-1.0, 0.0, 0.3, 0.9):
                    found = many.range_search(kind, query, threshold)
                    assert found[0].tolist() == cache.range_search(kind, query, threshold)[0].tolist()
                    assert many.narrowed(kind, query, found, 0.5)[0].tolist() == (
                        cache.range_search(kind, query, max(threshold, 0.5))[0].tolist()
                    )
            first, second = (c.range_search_many(kind, queries, 0.2) for c in (cache, many))
            assert [rows.tolist() for rows, _ in first] == [rows.tolist() for rows, _ in second]
        text, seen = (rng.standard_normal(dim).astype(np.float32) for dim in (DT, DV))
        for k in (1, 5, 1000):
            assert many.top_product(text, seen, k)[0].tolist() == cache.top_product(text, seen, k)[0].tolist()
        for source, other in pair.sources.items():
            assert many.rows_of_source(other).tolist() == cache.rows_of_source(source).tolist()
        assert many.rows_of_source(77 << 20).tolist() == []
        with pytest.raises(ValueError, match="a visual query has shape"):
            many.top("visual", np.ones(3, np.float32), 1)
        with pytest.raises(UsageError, match="no vector to compare with"):
            many.range_search("text", np.zeros(DT, np.float32), 0.5)


def test_shards_are_pruned_by_source_by_time_and_by_bounds(pairs: Callable[..., Pair]) -> None:
    made = [film(8, i, [i]) for i in range(6)]
    pair = pairs(made, [[one] for one in made])

    def proof(question: Question) -> tuple[int, int]:
        with pair.many.snapshot():
            where(pair.many, FleetVectors(pair.many), PLAIN, question)
            found = pair.many.proof()
        assert found is not None
        return found.asked, found.pruned

    looks = directions(8, DV)
    assert proof(Question(visual=looks[2], threshold=0.8)) == (1, 5)
    one = spans_of(pair.many, ["/films/4.mp4"], None, None)[0]
    assert proof(Question(visual=looks[2], threshold=0.8, spans=one)) == (1, 5)
    first = min(row.start_ns or 0 for row in pair.many.sources())
    early = spans_of(pair.many, [], None, Moment(first + NS, True, "early"))[0]
    assert proof(Question(visual=looks[2], threshold=-1, spans=early))[1] >= 1
    assert proof(Question(visual=looks[2], threshold=-1)) == (6, 0)


def test_what_is_down_is_named_and_may_be_missed(pairs: Callable[..., Pair]) -> None:
    made = [film(9, i, [i]) for i in range(3)]
    pair = pairs(made, [[one] for one in made])
    looks = directions(9, DV)

    def ask(thing: int, threshold: float) -> Any:
        with pair.many.snapshot():
            answer = where(
                pair.many, FleetVectors(pair.many), PLAIN, Question(visual=looks[thing], threshold=threshold), top=None
            )
            return answer, pair.many.proof()

    whole, proof = ask(1, 0.7)
    assert whole.sightings
    assert proof.exact
    (at,) = [Path(part.row.uri) for part in pair.many.state().parts if part.number == 2]
    at.rename(at.with_suffix(".gone"))
    answer, proof = ask(1, 0.7)
    assert not answer.found
    assert not proof.exact
    (down,) = proof.down
    assert (down.shard, down.sources, down.tracks) == (2, ("/films/1.mp4",), len(made[1].tracks))
    assert down.start_ns == made[1].info.start_ns
    assert "may be missed" in down.note
    assert "/films/1.mp4" in down.note
    assert proof.asked + proof.pruned == 2
    answer, proof = ask(0, 0.8)  # the bound of the shard that is down proves that it does not matter
    assert answer.found
    assert proof.exact
    at.with_suffix(".gone").rename(at)
    again, proof = ask(1, 0.7)
    assert proof.exact
    assert again.sightings == whole.sightings


@pytest.mark.parametrize("harm", ["bytes", "half there", "another"])
def test_a_shard_that_was_changed_counts_as_down(pairs: Callable[..., Pair], harm: str) -> None:
    made = [film(10, i, [0]) for i in range(2)]
    pair = pairs(made, [[one] for one in made])
    first, second = (Path(part.row.uri) for part in pair.many.state().parts)
    if harm == "bytes":
        with (second / "memory.sqlite").open("ab") as file:
            file.write(b"x")
    elif harm == "half there":
        (second / "seal.json").unlink()
    else:
        shutil.rmtree(second)
        shutil.copytree(first, second)
    with pair.many.snapshot():
        where(pair.many, FleetVectors(pair.many), PLAIN, Question(visual=directions(10, DV)[0], threshold=-1))
        proof = pair.many.proof()
    assert proof is not None
    assert [down.shard for down in proof.down] == [2]
    assert proof.asked == 1


def test_a_shard_that_takes_too_long_counts_as_down_and_comes_back(
    pairs: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    made = [film(11, i, [0]) for i in range(2)]
    pair = pairs(made, [[one] for one in made])
    release, whole = threading.Event(), VectorCache.range_search
    slow = Path(pair.many.state().parts[1].row.uri)

    def range_search(self: VectorCache, *args: Any) -> Any:
        if self._store.folder == slow:
            release.wait(20)
        return whole(self, *args)

    monkeypatch.setattr(VectorCache, "range_search", range_search)
    monkeypatch.setattr(pair.many.desk, "patience_s", 1.0)
    many, query = FleetVectors(pair.many), directions(11, DV)[0]
    for reason in ("did not answer within 1 s", "still does not answer"):
        with pair.many.snapshot():
            rows, _ = many.range_search("visual", query, -1)
            proof = pair.many.proof()
        assert len(rows) == len(made[0].tracks)
        assert proof is not None
        assert reason in proof.down[0].reason
    release.set()
    for _ in range(50):
        with pair.many.snapshot():
            rows, _ = many.range_search("visual", query, -1)
            proof = pair.many.proof()
        if proof is not None and proof.exact:
            break
        release.wait(0.1)
    assert len(rows) == len(made[0].tracks) + len(made[1].tracks)


def test_many_shards_may_take_longer_together_than_one(
    pairs: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    made = [film(11, i, [0]) for i in range(6)]
    pair = pairs(made, [[one] for one in made])
    many, whole = FleetVectors(pair.many), VectorCache.range_search

    def range_search(self: VectorCache, *args: Any) -> Any:
        time.sleep(0.3)
        return whole(self, *args)

    monkeypatch.setattr(VectorCache, "range_search", range_search)
    monkeypatch.setattr(pair.many.desk, "patience_s", 0.8)
    monkeypatch.setattr(pair.many.desk, "pool", ThreadPoolExecutor(1))
    with pair.many.snapshot():
        rows, _ = many.range_search("visual", directions(11, DV)[0], -1)
        proof = pair.many.proof()
    assert proof is not None
    assert not proof.down
    assert len(rows) == sum(len(one.tracks) for one in made)


def test_threads_share_a_fleet(pairs: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    made = sources(12)
    pair = pairs(made, split(made, range(9)))
    monkeypatch.setattr(pair.many.desk.shards.vectors, "most", 2)  # shards are closed and opened all the time
    cache, many = VectorCache(pair.one), FleetVectors(pair.many)
    queries = np.random.default_rng(0).standard_normal((24, DV)).astype(np.float32)

    def ask(query: Float32) -> list[int]:
        with pair.many.snapshot():
            rows = many.range_search("visual", query, 0.1)[0]
            many.columns_of(rows)
            assert pair.many.proof().exact  # type: ignore[union-attr]
            return rows.tolist()

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(ask, queries))
    assert found == [cache.range_search("visual", query, 0.1)[0].tolist() for query in queries]
    assert len(pair.many.desk.shards) <= 2 + pair.many.workers


def test_too_many_tracks_for_one_list_are_refused(pairs: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    made = sources(13)
    pair = pairs(made, split(made, range(9)))
    monkeypatch.setattr(fleet_vectors, "MOST_LISTED", len(made[2].tracks))
    many = FleetVectors(pair.many)
    with pytest.raises(UsageError, match="give `sources`, or a shorter time"):
        many.rows_within(None)
    with pytest.raises(UsageError, match="give `sources`"):
        many.rows_within(Within(spans_of(pair.many, ["/films/2.mp4", "/photos/7"], None, None)[0]))
    some = many.rows_within(Within(spans_of(pair.many, ["/films/2.mp4"], None, None)[0]))
    assert len(some) == len(made[2].tracks)


def test_a_fleet_takes_no_changes(pairs: Callable[..., Pair]) -> None:
    made = [film(14, 0, [0])]
    many = pairs(made, [made]).many
    for change in (
        lambda: many.check_writable(),
        lambda: many.set_model(fleets.MODEL),
        lambda: many.remove_source(1),
        lambda: many.compact(),
        lambda: many.set_fitted("x", None),
        lambda: many.begin_source(made[0].info),
    ):
        with pytest.raises(StoreError, match="takes questions and no changes"):
            change()


def test_every_way_to_read_a_store_is_answered_by_a_fleet() -> None:
    """What is not overridden would need the database of one memory, which a fleet does not have."""
    writes = {
        *("set_model", "set_fitted", "set_introduced", "set_recorded", "set_content", "set_trail", "checkpoint"),
        *("set_pictures_recorded", "drop_picture_files", "add_standing", "drop_standing", "tell", "settle_event"),
        *("begin_tokens", "put_tokens", "adopt_tokens", "begin_source", "remove_source", "remove_parts", "compact"),
        *("preview_removal", "track_changes", "open", "cache_folder", "cache_lock", "rest", "settle"),
    }
    public = {name for name in vars(Store) if not name.startswith("_")} - writes
    assert public - set(vars(FleetStore)) == set()


def test_parts_of_one_film_in_several_shards_are_found_by_its_name(pairs: Callable[..., Pair]) -> None:
    first, second = film(15, 0, [0]), film(15, 1, [0])
    second = replace(second, info=fleets.renamed(second.info, first.info.uri))
    other = film(15, 2, [0])
    pair = pairs([other], [[first], [second], [other]])
    rows = pair.many.sources_named("0.mp4")
    assert [row.id >> 20 for row in rows] == [1, 2]
    spans, _ = spans_of(pair.many, ["0.mp4"], None, None)
    assert spans is not None
    assert set(spans) == {row.id for row in rows}
    with pytest.raises(UsageError, match="no source is called"):
        pair.many.source("9.mp4")
    with pytest.raises(UsageError, match="shards 1, 2 of the fleet have a source called"):
        pair.many.source("0.mp4")
    with pytest.raises(UsageError, match="shards 1, 2 of the fleet have a source called"):
        pair.many.source_at("0.mp4", 5 * NS)  # two films of one path, not two parts of one film
    with pair.many.snapshot():
        question = Question(visual=directions(15, DV)[0], threshold=-1)
        answer = where(pair.many, FleetVectors(pair.many), PLAIN, question, top=None)
    assert {s.source_id for s in answer.sightings if s.source == first.info.uri} == {row.id for row in rows}
    for sighting in answer.sightings:
        assert source_of(pair.many, sighting).id == sighting.source_id


def test_a_moment_of_a_film_in_parts_is_in_the_part_that_has_it(pairs: Callable[..., Pair]) -> None:
    first = film(15, 0, [0])
    second = replace(first, info=replace(first.info, duration_ns=120 * NS))
    pair = pairs([first], [[first], [second]])
    assert [pair.many.source_at("0.mp4", t * NS).id >> 20 for t in (0, 60, 61, 500)] == [1, 1, 2, 2]


def test_a_crop_of_a_shard_that_is_down_is_no_wrong_crop(pairs: Callable[..., Pair]) -> None:
    made = [film(17, i, [0]) for i in range(2)]
    pair = pairs(made, [[one] for one in made])
    frame = made[1].frames[0]
    box = tuple(map(float, frame.boxes[0]))

    def crop() -> Float32:
        with pair.many.snapshot():
            return crop_token(pair.many, FleetVectors(pair.many), made[1].info.uri, frame.t_ns, box)  # type: ignore[arg-type]

    assert crop().shape == (DV,)
    shutil.rmtree(pair.many.state().parts[1].row.uri)
    with pytest.raises(StoreError, match="shard 2 of the fleet cannot be read"):
        crop()


def test_clocks_shift_recorded_times_and_doubt_the_order(pairs: Callable[..., Pair]) -> None:
    """Two films of one thing, of two shards; the clock of the second is 100 s behind, give or take 30 s."""
    made = [film(16, i, [0]) for i in range(2)]
    made = [replace(one, info=replace(one.info, start_ns=NOON + i * 10 * NS)) for i, one in enumerate(made)]
    pair = pairs(made, [[one] for one in made])
    look = directions(16, DV)[0]

    def ask(**more: Any) -> Any:
        with pair.many.snapshot():
            return where(pair.many, FleetVectors(pair.many), PLAIN, Question(visual=look, threshold=0.7, **more))

    def doubts(answer: Any) -> list[str]:
        return [note for note in answer.notes if "is not sure" in note]

    before = ask()
    assert doubts(before) == []
    pair.many.catalogue.set_clock(2, 100 * NS, 0)
    shifted = ask()
    assert shifted[0].source == "/films/1.mp4"
    assert shifted[0].recorded_ns == NOON + 110 * NS + shifted[0].frame_ns
    assert doubts(shifted) == []
    pair.many.catalogue.set_clock(2, 100 * NS, 3600 * NS)
    assert len(doubts(ask())) == 1
    # What may lie within the times asked for, as far as the clock is known, is searched.
    late = Moment(NOON + 1000 * NS, True, "late")
    spans = spans_of(pair.many, [], late, None)[0]
    assert ask(spans=spans).found
    pair.many.catalogue.set_clock(2, 100 * NS, 0)
    assert not ask(spans=spans_of(pair.many, [], late, None)[0]).found


def test_a_catalogue_that_changes_is_seen_by_the_next_question(pairs: Callable[..., Pair]) -> None:
    made = [film(17, i, [i]) for i in range(3)]
    pair = pairs(made, [[one] for one in made])
    vectors = FleetVectors(pair.many)
    with pair.many.snapshot() as (_, before):
        pair.many.catalogue.remove(2)
        assert vectors.refreshed() is vectors  # this question goes on in its state
        assert len(pair.many.sources()) == 3
    with pair.many.snapshot() as (_, after):
        assert after > before
        again = vectors.refreshed()
        assert again is not vectors
        assert len(again) == len(vectors) - len(made[1].tracks)
        assert [row.uri for row in pair.many.sources()] == ["/films/0.mp4", "/films/2.mp4"]
        rows, _ = again.range_search("visual", directions(17, DV)[2], 0.5)
        assert set(again.columns_of(rows).source_ids.tolist()) == {3 << 20 | 1}


def test_what_has_no_place_for_a_proof_fails_instead_of_leaving_out(pairs: Callable[..., Pair]) -> None:
    made = [film(18, i, [0]) for i in range(2)]
    many = pairs(made, [[one] for one in made]).many
    vectors, look = FleetVectors(many), directions(18, DV)[0]
    at = Path(many.state().parts[0].row.uri)
    at.rename(at.with_suffix(".gone"))
    with pytest.raises(StoreError, match="shard 1 of the fleet cannot be read"):
        vectors.range_search("visual", look, -1)
    with pytest.raises(StoreError, match="shard 1 of the fleet cannot be read"), many.snapshot():
        assert len(vectors.range_search("visual", look, -1)[0]) == len(made[1].tracks)
    with many.snapshot():
        vectors.range_search("visual", look, -1)
        proof = many.proof()
    assert proof is not None
    assert not proof.exact
    with pytest.raises(StoreError, match="shard 1"), many.snapshot():
        assert many.cuts(1 << 20 | 1) == []


def test_a_shard_that_fails_while_its_hits_are_looked_up(pairs: Callable[..., Pair]) -> None:
    made = [film(19, i, [0]) for i in range(2)]
    many = pairs(made, [[one] for one in made]).many
    vectors = FleetVectors(many)
    with many.snapshot():
        rows, _ = vectors.range_search("visual", directions(19, DV)[0], -1)
        at = Path(many.state().parts[1].row.uri)
        at.rename(at.with_suffix(".gone"))
        with pytest.raises(StoreError, match="shard 2 went down while it answered; ask again"):
            vectors.columns_of(rows)
        many.proof()
