"""Finding tracks: everything that passes and nothing else, against brute force and the authors' recordings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from store.making import add, info, only, track

from vidmem.config import IndexConfig
from vidmem.encoders import Calibration
from vidmem.encoders.probability import Curve, Probabilities
from vidmem.errors import UsageError
from vidmem.query.instances import group
from vidmem.query.probable import _Search, share
from vidmem.query.scores import Hits, nearest
from vidmem.query.search import find
from vidmem.records import Float32
from vidmem.store import ModelRecord, Store, VectorCache
from vidmem.timecode import NS

GOLDEN = Path(__file__).parents[1] / "golden" / "tren"
CALIBRATION = Calibration(0.3, 0.5, 0.35, 0.18)
ROUNDING = 2e-6
N, DV, DT = 200, 6, 5

Memory = tuple[VectorCache, NDArray[np.float64], NDArray[np.float64]]


def cache_of(folder: Path, visual: Float32, text: Float32, spans: NDArray[np.int64] | None = None) -> VectorCache:
    """A memory of one source with these tracks."""
    with Store.open(folder, create=True) as store:
        config = IndexConfig().as_dict()
        store.set_model(ModelRecord("fake", "w", visual.shape[1], text.shape[1], config))
        spans = np.zeros((len(visual), 2), np.int64) if spans is None else spans
        tracks = [
            track(i, visual=visual[i], text=text[i], start_ns=int(spans[i, 0]), end_ns=int(spans[i, 1]))
            for i in range(len(visual))
        ]
        add(store, store.begin_source(info()).id, tracks)
        return VectorCache(store)


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Memory:
    """A cache, and its unit visual and text vectors in float64 as they are stored."""
    rng = np.random.default_rng(5)
    visual = rng.standard_normal((N, DV)).astype(np.float32)
    text = rng.standard_normal((N, DT)).astype(np.float32)
    cache = cache_of(tmp_path_factory.mktemp("search"), visual, text)
    rows = np.arange(N)
    stored = [cache.reconstruct(kind, rows).astype(np.float64) for kind in ("visual", "text")]
    return cache, stored[0], stored[1]


def query(seed: int, dim: int) -> Float32:
    vector = np.random.default_rng(seed).standard_normal(dim)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def assert_rows(hits: Hits, scores: NDArray[np.float64], threshold: float, allowed: NDArray[np.bool_]) -> None:
    """hits are the rows that are allowed and score the threshold; a score within rounding of it may go either way."""
    found = np.zeros(len(scores), bool)
    found[hits.rows] = True
    assert len(hits) == found.sum()
    clear = np.abs(scores - threshold) > ROUNDING
    np.testing.assert_array_equal(found[clear], (allowed & (scores >= threshold))[clear])
    np.testing.assert_allclose(hits.score, scores[hits.rows], atol=ROUNDING)


@given(st.integers(0, 10_000), st.floats(-0.5, 1.0))
def test_text_alone_equals_brute_force(memory: Memory, seed: int, threshold: float) -> None:
    cache, _, text = memory
    vector = query(seed, DT)
    hits = find(cache, CALIBRATION, vector, None, threshold=threshold)
    assert_rows(hits, text @ vector.astype(float), threshold, np.ones(N, bool))
    assert hits.visual is None
    np.testing.assert_array_equal(hits.text, hits.score)


@given(st.integers(0, 10_000), st.floats(-0.5, 1.0))
def test_picture_alone_equals_brute_force(memory: Memory, seed: int, threshold: float) -> None:
    cache, visual, _ = memory
    vector = query(seed, DV)
    hits = find(cache, CALIBRATION, None, vector, threshold=threshold)
    assert_rows(hits, visual @ vector.astype(float), threshold, np.ones(N, bool))
    assert hits.text is None
    np.testing.assert_array_equal(hits.visual, hits.score)


@given(st.integers(0, 10_000), st.floats(0.01, 1.0))
def test_product_equals_brute_force(memory: Memory, seed: int, threshold: float) -> None:
    cache, visual, text = memory
    words, seen = query(seed, DT), query(seed + 1, DV)
    hits = find(cache, CALIBRATION, words, seen, threshold=threshold)
    read, looked = text @ words.astype(float), visual @ seen.astype(float)
    # The whole product is searched, though one factor alone is scanned: no row with both factors above 0 is missed.
    assert_rows(hits, read * looked, threshold, (read > 0) & (looked > 0))
    assert hits.text is not None
    assert hits.visual is not None
    np.testing.assert_allclose(hits.text, read[hits.rows], atol=ROUNDING)
    np.testing.assert_allclose(hits.visual, looked[hits.rows], atol=ROUNDING)


@given(
    st.integers(0, 10_000),
    st.floats(-3, 3),
    st.floats(0, 6),
    st.floats(0.05, 2),
    st.floats(0, 3),
    st.floats(0.05, 0.95),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.02, 0.06, 0.3]),
    st.integers(1, 40),
)
@example(0, -3.0, 0.0, 0.0625, 0.0, 0.5, False, False, 0.02, 1)  # a share so near 1 that float64 rounds it up
def test_what_the_share_leaves_out_could_not_have_been_found(
    memory: Memory,
    seed: int,
    bias: float,
    score: float,
    weight: float,
    best: float,
    least: float,
    pictured: bool,
    some: bool,
    temperature: float,
    phrases: int,
) -> None:
    """What is left out before shares are reckoned could not have reached the floor: as if every track was looked at."""
    cache = memory[0]
    words, seen = query(seed, DT), query(seed + 1, DV) if pictured else None
    contrast = np.stack([query(seed + 2 + i, DT) for i in range(phrases)])
    curve = Curve(bias, score, weight, 9, 9, 9, best)
    calibration = replace(CALIBRATION, temperature=temperature, probability=Probabilities(curve, None, curve))
    may = np.random.default_rng(seed).random(N) < 0.5 if some else None
    allowed = None if may is None else only(may)
    narrowed = find(cache, calibration, words, seen, contrast, min_probability=least, allowed=allowed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vidmem.query.probable._Search.candidates", everything)
        every = find(cache, calibration, words, seen, contrast, min_probability=least, allowed=allowed)
    narrowed, every = by_row(narrowed), by_row(every)
    edge = np.abs(every.probability - least) < 1e-4  # a probability within rounding of the floor may go either way
    clear = every.take(~edge)
    np.testing.assert_array_equal(narrowed.take(~np.isin(narrowed.rows, every.rows[edge])).rows, clear.rows)
    narrowed, every = (
        hits.take(np.isin(hits.rows, np.intersect1d(narrowed.rows, every.rows))) for hits in (narrowed, every)
    )
    np.testing.assert_allclose(narrowed.probability, every.probability, atol=1e-4)
    assert narrowed.score.tobytes() == every.score.tobytes() or np.allclose(narrowed.score, every.score, atol=1e-6)


def everything(search: _Search, floor: float) -> Hits:
    hits = nearest(search.cache, search.text, search.visual, N, search.allowed)
    return hits.take(np.argsort(hits.rows))


def by_row(hits: Hits) -> Hits:
    return hits.take(np.argsort(hits.rows))


def test_the_share_narrows_it_down(memory: Memory) -> None:
    """It is what keeps a question of a long memory fast."""
    cache, _, text = memory
    calibration = replace(CALIBRATION, temperature=0.06, probability=Probabilities(Curve(0.4, 0, 0.5, 9, 9, 9)))
    contrast = np.stack([query(i, DT) for i in range(400)])
    looked: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vidmem.query.probable.share", lambda *args: looked.append(len(args[1])) or share(*args))
        find(cache, calibration, text[3].astype(np.float32), None, contrast)
    assert 0 < looked[0] < N / 2


def test_two_negative_factors_are_no_match(memory: Memory) -> None:
    cache, visual, text = memory
    row = 17
    words, seen = (-v[row].astype(np.float32) for v in (text, visual))
    assert row not in find(cache, CALIBRATION, words, seen, threshold=0.2).rows
    assert row in find(cache, CALIBRATION, -words, -seen, threshold=0.2).rows


@pytest.mark.parametrize("what", ["text", "visual", "both"])
def test_the_threshold_itself_is_in(memory: Memory, what: str) -> None:
    cache, _, _ = memory
    words = query(3, DT) if what != "visual" else None
    seen = query(4, DV) if what != "text" else None
    every = find(cache, CALIBRATION, words, seen, threshold=0.1)
    assert len(every) > 10
    kind, vector = ("text", words) if words is not None else ("visual", seen)
    assert vector is not None
    exact = every.score if what == "both" else cache.scores(kind, vector, every.rows)  # type: ignore[arg-type]
    for row, score in zip(every.rows[:20], exact[:20], strict=True):
        above = float(np.nextafter(score, np.float32(2), dtype=np.float32))
        assert row in find(cache, CALIBRATION, words, seen, threshold=float(score)).rows
        assert row not in find(cache, CALIBRATION, words, seen, threshold=above).rows


@given(st.integers(0, 10_000), st.integers(0, 6))
def test_share_is_the_softmax_against_the_contrast(memory: Memory, seed: int, phrases: int) -> None:
    cache, _, text = memory
    words = query(seed, DT)
    contrast = np.stack([query(seed + 7 + i, DT) for i in range(phrases)]) if phrases else np.empty((0, DT), np.float32)
    hits = find(cache, CALIBRATION, words, None, threshold=0.0)
    logits = np.column_stack([text @ words, text @ contrast.T]).astype(float) / 0.06
    softmax = np.exp(logits - logits.max(1, keepdims=True))
    expected = (softmax / softmax.sum(1, keepdims=True))[hits.rows, 0]
    np.testing.assert_allclose(share(cache, hits, contrast, 0.06), expected, atol=1e-4)


def test_calibrated_search_tests_score_and_share(memory: Memory) -> None:
    cache, _, _ = memory
    words, contrast = query(3, DT), np.stack([query(9, DT), query(3, DT) + query(5, DT) / 4])
    hits = find(cache, CALIBRATION, words, None, contrast)
    loose = find(cache, CALIBRATION, words, None, threshold=CALIBRATION.text_threshold)
    kept = share(cache, loose, contrast, CALIBRATION.temperature) >= CALIBRATION.contrast_probability
    assert 0 < kept.sum() < len(kept)
    np.testing.assert_array_equal(hits.rows, loose.rows[kept])
    # a threshold of one's own switches the contrast off
    given_ = find(cache, CALIBRATION, words, None, contrast, threshold=CALIBRATION.text_threshold)
    np.testing.assert_array_equal(given_.rows, loose.rows)


def test_share_of_the_product_has_its_own_limit(memory: Memory) -> None:
    cache, _, _ = memory
    words, seen = query(3, DT), query(4, DV)
    contrast = np.stack([query(9, DT), query(8, DT)])
    free = find(cache, CALIBRATION, words, seen, contrast)
    asked = Calibration(0.3, 0.5, 0.35, 0.18, contrast_probability_product=0.7)
    strict = find(cache, asked, words, seen, contrast)
    kept = share(cache, free, contrast, asked.temperature) >= 0.7
    assert 0 < kept.sum() < len(kept)
    np.testing.assert_array_equal(strict.rows, free.rows[kept])


def test_nothing_asked_for_fails(memory: Memory) -> None:
    with pytest.raises(ValueError, match="a text, a picture or both"):
        find(memory[0], CALIBRATION, None, None)


@pytest.mark.parametrize("use", [lambda c, v: find(c, CALIBRATION, v, None), lambda c, v: nearest(c, v, None, 3)])
@pytest.mark.parametrize(
    "vector", [np.zeros(DT, np.float32), np.ones(DT + 1, np.float32), np.full(DT, np.nan, np.float32)]
)
def test_a_vector_that_does_not_fit_fails(
    memory: Memory, use: Callable[[VectorCache, Float32], Hits], vector: Float32
) -> None:
    with pytest.raises((ValueError, UsageError), match=r"query has shape|no vector to compare with"):
        use(memory[0], vector)


@given(st.integers(0, 10_000), st.integers(1, N + 20))
def test_nearest_equals_brute_force(memory: Memory, seed: int, k: int) -> None:
    cache, visual, text = memory
    words, seen = query(seed, DT), query(seed + 1, DV)
    read, looked = text @ words.astype(float), visual @ seen.astype(float)
    for hits, scores in ((nearest(cache, words, None, k), read), (nearest(cache, None, seen, k), looked)):
        assert len(hits) == min(k, N) == len(set(hits.rows.tolist()))
        np.testing.assert_allclose(hits.score, np.sort(scores)[::-1][:k], atol=ROUNDING)
    product = np.where((read < 0) & (looked < 0), -read * looked, read * looked)
    both = nearest(cache, words, seen, k)
    np.testing.assert_allclose(both.score, np.sort(product)[::-1][:k], atol=ROUNDING)


def test_an_empty_memory_has_nothing(tmp_path: Path) -> None:
    cache = cache_of(tmp_path, np.empty((0, DV), np.float32), np.empty((0, DT), np.float32))
    for words, seen in ((query(1, DT), None), (None, query(1, DV)), (query(1, DT), query(1, DV))):
        assert len(find(cache, CALIBRATION, words, seen, np.stack([query(2, DT)]))) == 0
        assert len(nearest(cache, words, seen, 5)) == 0


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> tuple[VectorCache, dict[str, NDArray[np.float32]]]:
    """The authors' 15 tracks in a memory of ours, a second a frame, and what their search made of them."""
    with np.load(GOLDEN / "tracks.npz", allow_pickle=False) as file:
        tracks = dict(file)
    with np.load(GOLDEN / "query_search.npz", allow_pickle=False) as file:
        search = dict(file)
    members = tracks["members_track_frame_region"]
    seen = [members[members[:, 0] == i, 1] for i in range(len(tracks["track_tokens"]))]
    spans = np.array([(frames.min(), frames.max()) for frames in seen]) * NS
    cache = cache_of(tmp_path_factory.mktemp("golden"), tracks["track_tokens"], tracks["track_text"], spans)
    return cache, search


@pytest.mark.golden
@pytest.mark.parametrize("number", range(4))
def test_selection_and_window_equal_the_authors(
    golden: tuple[VectorCache, dict[str, NDArray[np.float32]]], number: int
) -> None:
    """Product of cosines, tracks over the threshold, last contiguous run of their frames. On purpose not the same:
    two negative cosines are no match, and below the threshold we say "not found" and give the best as a near miss."""
    cache, search = golden
    words, seen = search[f"q{number}_text"][0], search[f"q{number}_visual"][0]
    theirs, threshold = search[f"q{number}_similarity"], float(search["threshold"])
    rows = np.arange(len(theirs))
    read, looked = cache.scores("text", words, rows), cache.scores("visual", seen, rows)
    np.testing.assert_allclose(read * looked, theirs, atol=2e-3)  # vectors are stored in fp16

    hits = find(cache, CALIBRATION, words, seen, threshold=threshold)
    selected = search[f"q{number}_selected_tracks"]
    np.testing.assert_array_equal(hits.rows, [i for i in selected if read[i] > 0])
    if not len(selected):
        hits = nearest(cache, words, seen, len(rows)).take(np.arange(1))
        assert hits.rows[0] == theirs.argmax()
    if number == 0 or (read[selected] > 0).all():
        columns = cache.columns_of(hits.rows)
        last = group(columns, np.zeros(len(hits), np.int64), gap_ns=NS)[0]
        first = columns.start_ns[last].min(), columns.end_ns[last].max()
        np.testing.assert_array_equal(np.array(first) // NS, search[f"q{number}_window"])


def test_near_misses_are_of_what_may_answer_by_the_score_asked_for(memory: Memory) -> None:
    cache, visual, text = memory
    words, seen = query(5, DT), query(6, DV)
    read, looked = text @ words.astype(float), visual @ seen.astype(float)
    some = np.flatnonzero(np.arange(len(read)) % 3 == 1)
    may = only(np.isin(np.arange(len(read)), some))
    both = np.where((read < 0) & (looked < 0), -read * looked, read * looked)
    for hits, scores in (
        (nearest(cache, words, None, 4, may), read),
        (nearest(cache, None, seen, 4, may), looked),
        (nearest(cache, words, seen, 4, may), both),
    ):
        wanted = some[np.argsort(-scores[some], kind="stable")[:4]]
        assert hits.rows.tolist() == wanted.tolist()
        np.testing.assert_allclose(hits.score, scores[wanted], atol=2e-3)
    best = int(both.argmax())  # by the product, not by the picture alone
    assert nearest(cache, words, seen, 1).rows.tolist() == [best]
