"""The manifest of a shard: exactly one text for its contents, and nothing else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store.making import MODEL, source

from vidmem.errors import StoreError, VersionError
from vidmem.fleet.manifest import (
    Manifest,
    SealedFile,
    SealedSource,
    canonical,
    load,
    parse,
    parse_source,
    span_of,
)
from vidmem.limits import MAX_NS
from vidmem.records import RECORDED_BY, SourceKind

from .making import START, forged, shard

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
TIMES = st.integers(-(1 << 61), 1 << 61)
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)


@st.composite
def sources(draw: st.DrawFn, id_: int) -> SealedSource:
    span = draw(st.none() | st.tuples(TIMES, TIMES).map(lambda pair: tuple(sorted(pair))))
    start = draw(st.none() | TIMES)
    row = source(
        id=id_,
        uri="/" + draw(TEXTS),
        kind=draw(st.sampled_from(sorted(set(SourceKind) - {SourceKind.PICTURE}))),
        fingerprint=draw(TEXTS),
        state=draw(st.sampled_from(["open", "done", "partial"])),
        stale=draw(st.booleans()),
        start_ns=start,
        recorded_by="" if start is None else draw(st.sampled_from(RECORDED_BY)),
        frames=draw(st.integers(0, 1 << 40)),
    )
    first, last = span or (None, None)
    return SealedSource(row, draw(st.integers(0, 1000)), draw(TIMES), first, last, draw(st.integers(0, 9)))


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    ids = sorted(draw(st.sets(st.integers(1, 1 << 40), max_size=4)))
    rows = tuple(draw(sources(id_)) for id_ in ids)
    cached = draw(st.sets(st.from_regex(r"cache/[a-z][a-z0-9._-]{0,20}", fullmatch=True), max_size=3))
    files = {name: SealedFile(draw(st.integers(0, 1 << 40)), draw(HEX)) for name in ["memory.sqlite", *sorted(cached)]}
    first, last = span_of(rows)
    return Manifest(
        id="",
        vidmem="0.1.0",
        schema=draw(st.integers(1, 99)),
        memory=draw(st.text("0123456789abcdef", min_size=1, max_size=32)),
        model=replace(MODEL, encoder=draw(TEXTS.filter(bool))),
        generation=draw(st.integers(0, 1 << 40)),
        tracks=sum(row.tracks for row in rows),
        t_min=first,
        t_max=last,
        sources=rows,
        files=files,
    ).named()


@given(manifests())
def test_a_manifest_comes_back_as_it_was(manifest: Manifest) -> None:
    text = manifest.text()
    assert parse(text, "x") == manifest
    assert text.isascii()
    assert parse(text, "x").text() == text


@given(manifests(), st.data())
@settings(max_examples=60)
def test_any_other_byte_is_refused(manifest: Manifest, data: st.DataObject) -> None:
    text = bytearray(manifest.text())
    place = data.draw(st.integers(0, len(text) - 1))
    text[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != text[place]))
    with pytest.raises((StoreError, VersionError)):
        parse(bytes(text), "x")


@given(manifests(), st.data())
def test_a_cut_or_longer_text_is_refused(manifest: Manifest, data: st.DataObject) -> None:
    text = manifest.text()
    with pytest.raises(StoreError):
        parse(text[: data.draw(st.integers(0, len(text) - 1))], "x")
    with pytest.raises(StoreError):
        parse(text + data.draw(st.binary(min_size=1, max_size=9)), "x")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


def paths(document: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    pairs = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return found + [inner for name, value in pairs for inner in paths(value, (*path, name))]


@given(manifests(), JUNK, st.data())
@settings(max_examples=60)
def test_a_field_of_another_kind_is_refused_or_means_the_same(
    manifest: Manifest, junk: object, data: st.DataObject
) -> None:
    """Whatever stands in a field, and with the right id: it is refused in one line, or it is read as it stands."""
    document = json.loads(manifest.text())
    *way, last = data.draw(st.sampled_from(paths(document)))
    place = document
    for part in way:
        place = place[part]
    place[last] = junk
    del document["id"]
    try:
        document["id"] = hashlib.sha256(canonical(document)).hexdigest()
        text = canonical(document) + b"\n"
    except ValueError:  # NaN
        return
    try:
        found = parse(text, "x")
    except (StoreError, VersionError):
        return
    assert found.text() == text


@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(StoreError):
        parse(data, "x")


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"1" * 100_000,
        b"null",
        b"[]",
        b'{"format":1,"format":1}',
        b'{"format":true}',
        b'{"format":NaN}',
        b'{"format":1.0}',
        b'{"format":0}',
        b"{'format': 1}",
    ],
)
def test_texts_that_are_no_manifest(text: bytes) -> None:
    with pytest.raises(StoreError, match=r"seal\.json is damaged"):
        parse(text, "/shard")


def test_a_huge_manifest_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidmem.fleet.manifest.MAX_MANIFEST", 100)
    with pytest.raises(StoreError, match="more than"):
        parse(b" " * 101, "x")


@pytest.mark.parametrize(
    "name",
    [
        "../memory.sqlite",
        "/etc/passwd",
        "cache/../../x",
        "cache/a/b",
        "cache/.hidden",
        "cache/",
        "other",
        "cache/a b",
        "seal.json",
        "memory.sqlite-wal",
        "lock",
        "a" * 200,
        "",
    ],
)
def test_names_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    made = shard(tmp_path / "m")
    forged(tmp_path / "m", **{f"files__{name}": {"bytes": 1, "sha256": "0" * 64}})
    with pytest.raises(StoreError, match="file"):
        load(tmp_path / "m")
    assert made.files.keys() == {"memory.sqlite", "bounds.safetensors", "cache/vectors.bin"}


def test_a_newer_format(tmp_path: Path) -> None:
    shard(tmp_path / "m")
    forged(tmp_path / "m", format=2, new_field=1)
    with pytest.raises(VersionError, match=r"newer vidmem.*format 2.*upgrade"):
        load(tmp_path / "m")


@pytest.mark.parametrize(
    "changes",
    [
        {"tracks": 11},
        {"tracks": True},
        {"t_min": None},
        {"t_max": 5},
        {"sources": []},
        {"sources": None},
        {"files": {}},
        {"schema": -1},
        {"generation": 1 << 70},
        {"vidmem": "a\nb"},
        {"sources__0__width": -1},
        {"sources__0__width": True},
        {"sources__0__stale": 1},
        {"sources__0__id": 0},
        {"sources__0__kind": "picture"},
        {"sources__0__uri": ""},
        {"sources__0__uri": 5},
        {"sources__0__recorded_by": "guess"},
        {"sources__0__start_ns": MAX_NS},
        {"sources__0__end_ns": None},
        {"sources__0__more": 1},
        {"model__visual_dim": -1},
        {"model__visual_dim": True},
        {"model__config": []},
        {"model__config": {"a": {"b": {"c": {"d": {"e": 1}}}}}},
        {"model__more": 1},
    ],
)
def test_fields_out_of_range(tmp_path: Path, changes: dict[str, Any]) -> None:
    shard(tmp_path / "m")
    forged(tmp_path / "m", **changes)
    with pytest.raises(StoreError, match=r"seal\.json is damaged"):
        load(tmp_path / "m")


def test_a_source_comes_back_as_it_was(tmp_path: Path) -> None:
    (found,) = shard(tmp_path / "m").sources
    assert parse_source(found.document()) == found
    assert found.t_min == START
    assert found.t_max == START + found.row.duration_ns


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no sealed memory"):
        load(tmp_path)
    (tmp_path / "seal.json").mkdir()
    with pytest.raises(StoreError):
        load(tmp_path)
    with pytest.raises(StoreError):
        load(tmp_path / "seal.json" / "x")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    shard(tmp_path / "m")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "seal.json").symlink_to(tmp_path / "m" / "seal.json")
    with pytest.raises(StoreError, match="link"):
        load(tmp_path / "x")
