"""RefCOCO as it is published: which expressions are read, and what is left out."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import sets

from vidmem.errors import MediaError, UsageError
from vidmem.export.trainset.content import Expression, Referred
from vidmem.export.trainset.plan import referred_units
from vidmem.export.trainset.refcoco import read_refcoco


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_the_published_layout(tmp_path: Path, protocol: int) -> None:
    read = read_refcoco(sets.refcoco(tmp_path, protocol=protocol), None)
    assert len(read.said) == 5 * 2 + 4  # five pictures of the split, each with two expressions about a cup, four balls
    first = read.said[0]
    assert first.expression.text == "the left cup, number 1"
    assert [r.segmentation for r in first.expression.regions] == [sets.polygon(2, 2)]
    assert first.category == "cup"
    assert (Path(first.picture.path).name, first.picture.size) == ("COCO_train2014_000000000001.jpg", sets.SIZE)
    assert Path(first.picture.path).is_file()
    assert read.present[first.picture.path] == {"cup", "ball", "pin", "person"}
    assert len({said.key for said in read.said}) == len(read.said)
    assert [path.name for path in read.files] == ["instances.json", "refs(unc).p"]


def test_splits(tmp_path: Path) -> None:
    folder = sets.refcoco(tmp_path)
    assert len(read_refcoco(folder, None, "val").said) == 3
    assert len(read_refcoco(folder, None, None).said) == 17
    with pytest.raises(UsageError, match="there is no split 'test'; `split` is one of train, val"):
        read_refcoco(folder, None, "test")


def test_one_of_several_lists(tmp_path: Path) -> None:
    folder = sets.refcoco(tmp_path)
    entries = pickle.loads((folder / "refs(unc).p").read_bytes())
    (folder / "refs(google).json").write_text(json.dumps(entries[:1]))
    with pytest.raises(UsageError, match=r"choose one with `refs`: refs\(google\).json, refs\(unc\).p"):
        read_refcoco(folder, None)
    assert len(read_refcoco(folder, None, by="google").said) == 2
    assert len(read_refcoco(folder, None, by="umd, google,unc").said) == 2
    with pytest.raises(MediaError, match=r"no list of expressions such as refs\(umd\).p"):
        read_refcoco(folder, None, by="umd")


def test_grefcoco_means_several_things_or_none(tmp_path: Path) -> None:
    folder = tmp_path
    (entry, *_) = sets.refs(folder)
    several = {**entry, "ann_id": [1, 3], "category_id": [1, 1], "no_target": False}
    none = {**entry, "ann_id": [-1], "category_id": [-1], "no_target": True}
    (folder / "grefs(unc).json").write_text(json.dumps([several, none, {**none, "ann_id": []}]))
    said = read_refcoco(folder, None).said
    assert [len(s.expression.regions) for s in said] == [2, 2, 0, 0, 0, 0]
    assert [s.category for s in said] == ["cup", "cup", "", "", "", ""]


def damaged(entries: list[dict[str, Any]], change: str) -> list[Any]:
    first: Any = entries[0]
    if change == "not an object":
        first = 7
    elif change == "ann_id":
        first["ann_id"] = 999
    elif change == "ann_id of another kind":
        first["ann_id"] = "1"
    elif change == "image_id":
        first["image_id"] = 999
    elif change == "another picture":
        first["ann_id"] = entries[2]["ann_id"]
    return [first, *entries[1:]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("not an object", "it is not an object: entry 0"),
        ("ann_id", "ann_id 999 is not in instances.json: entry 0"),
        ("ann_id of another kind", "ann_id '1' is not in instances.json"),
        ("image_id", "image_id 999 is not in instances.json"),
        ("another picture", "is of another picture: entry 0"),
    ],
)
def test_damaged_entries_are_named(tmp_path: Path, change: str, message: str) -> None:
    entries = sets.refs(tmp_path)
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps(damaged(entries, change), 2))
    with pytest.raises(MediaError, match=message.replace("(", r"\(")):
        read_refcoco(tmp_path, None)
    told: list[str] = []
    assert len(read_refcoco(tmp_path, None, bad=told.append).said) == 14 - 2
    assert [message in line for line in told] == [True]


def test_damaged_pictures_and_outlines_are_named(tmp_path: Path) -> None:
    folder = sets.refcoco(tmp_path)
    document = json.loads((folder / "instances.json").read_text())
    document["images"][0]["file_name"] = "../../secret.jpg"
    del document["images"][1]["width"]
    bad_ball = next(a for a in document["annotations"] if a["image_id"] == 3 and a["category_id"] == 2)
    bad_ball["segmentation"] = [[1, 2, 3]]
    (folder / "instances.json").write_text(json.dumps(document))
    told: list[str] = []
    assert len(read_refcoco(folder, None, bad=told.append).said) == 14 - 3 - 3 - 1
    assert sum("leads out of the folder" in line for line in told) == 2
    assert sum("lacks file_name, width or height" in line for line in told) == 2
    assert sum("segmentation[0] of annotation" in line for line in told) == 1


@pytest.mark.parametrize("place", ["images", "annotations"])
@pytest.mark.parametrize("field", ["caption", "expressions", "sentences"])
def test_a_coco_file_with_phrases(tmp_path: Path, place: str, field: str) -> None:
    path = sets.coco(tmp_path, 2)
    document = json.loads(path.read_text())
    document["annotations"] = [a for a in document["annotations"] if a["category_id"] == 1]
    value = {"caption": "the cup", "expressions": ["the cup", ""], "sentences": [{"sent": "the cup"}]}[field]
    for item in document[place]:
        item[field] = value
    path.write_text(json.dumps(document))
    said = read_refcoco(path, None).said
    assert {s.expression.text for s in said} == {"the cup"}
    # Picture 1 has two cups: one expression about both, or one about each.
    assert [len(s.expression.regions) for s in said] == ([2, 1] if place == "images" else [1, 1, 1])


def test_what_is_no_refcoco(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="has no list of expressions"):
        read_refcoco(tmp_path, None)
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(MediaError, match="cannot be read"):
        read_refcoco(tmp_path, None)
    sets.coco(tmp_path)
    with pytest.raises(MediaError, match="are not a list"):
        read_refcoco(tmp_path, None)
    with pytest.raises(MediaError, match="no annotation and no image has a phrase"):
        read_refcoco(tmp_path / "instances.json", None)
    (tmp_path / "instances.json").write_text("[")
    with pytest.raises(MediaError, match="not JSON"):
        read_refcoco(tmp_path, None)
    (tmp_path / "instances.json").write_text("[]")
    with pytest.raises(MediaError, match="images is missing or not a list"):
        read_refcoco(tmp_path, None)


def test_absent_expressions_are_borrowed_where_their_thing_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read = read_refcoco(sets.refcoco(tmp_path), None)
    units = referred_units(read, "refcoco", 1, 0.5, 0)
    absent = [u.content for u in units if " absent " in u.key]
    assert len(units) == 14 + 7 == len({u.key for u in units})
    for content in absent:
        assert isinstance(content, Referred)
        assert content.picture.endswith("4.jpg")  # the only picture without a ball
        assert content.expressions == (Expression("ball at the right", ()),)
    assert referred_units(read, "refcoco", 1, 0.5, 0) == units != referred_units(read, "refcoco", 1, 0.5, 1)
    assert not caplog.records
    everywhere = read._replace(present={key: frozenset({"cup", "ball"}) for key in read.present})
    assert len(referred_units(everywhere, "refcoco", 1, 0.5, 0)) == 14
    assert "refcoco has 0 of 7 questions about absent things" in caplog.text


def test_expressions_about_one_picture_go_together(tmp_path: Path) -> None:
    read = read_refcoco(sets.refcoco(tmp_path), None)
    units = referred_units(read, "refcoco", 2, 0, 0)
    contents = [u.content for u in units]
    assert all(isinstance(c, Referred) for c in contents)
    texts = [[e.text for e in c.expressions] for c in contents if isinstance(c, Referred)]
    assert sorted(map(len, texts)) == [1] * 4 + [2] * 5
    assert sorted(t for part in texts for t in part) == sorted(said.expression.text for said in read.said)


@pytest.mark.parametrize("field", ["ann_id", "image_id", "split", "sentences"])
def test_an_endless_value_is_left_out(tmp_path: Path, field: str) -> None:
    folder = sets.refcoco(tmp_path)
    value: Any = []
    for _ in range(60):
        value = [value] * 9
    entries = sets.refs(folder)
    entries[0][field] = value
    (folder / "refs(unc).p").write_bytes(pickle.dumps(entries, 2))
    bad: list[str] = []
    read = read_refcoco(folder, None, "train", bad=bad.append)
    assert len(read.said) == 12
    assert len(bad) == (field in ("ann_id", "image_id"))
    assert all(len(text) < 200 + len(str(tmp_path)) for text in bad)


def test_half_a_character_is_left_out(tmp_path: Path) -> None:
    folder = sets.refcoco(tmp_path)
    entries = sets.refs(folder)
    entries[0]["sentences"][0]["sent"] = "cup \ud800"
    (folder / "refs(unc).p").write_bytes(pickle.dumps(entries, 2))
    bad: list[str] = []
    assert len(read_refcoco(folder, None, "train", bad=bad.append).said) == 13
    assert len(bad) == 1
    assert bad[0].startswith(r"the expression 'cup \ud800' has half a character")
    with pytest.raises(MediaError, match="half a character"):
        read_refcoco(folder, None)


def test_a_list_without_splits(tmp_path: Path) -> None:
    folder = sets.refcoco(tmp_path)
    (folder / "refs(unc).p").write_bytes(pickle.dumps([], 2))
    with pytest.raises(MediaError, match="no expression in the list has a split"):
        read_refcoco(folder, None)


def test_ids_that_are_no_numbers(tmp_path: Path) -> None:
    folder = sets.refcoco(tmp_path)
    document = json.loads((folder / "instances.json").read_text())
    document["annotations"][0]["category_id"] = []
    document["annotations"][1]["image_id"] = {}
    document["categories"].append({"id": [], "name": "a"})
    (folder / "instances.json").write_text(json.dumps(document))
    bad: list[str] = []
    assert len(read_refcoco(folder, None, bad=bad.append).said) == 13
    assert len(bad) == 1


def test_only_absent_things(tmp_path: Path) -> None:
    read = read_refcoco(sets.refcoco(tmp_path), None)
    units = referred_units(read, "a", 1, 1, 0, refer=False)
    assert len(units) == len(read.said)
    assert all(not e.regions for u in units if isinstance(u.content, Referred) for e in u.content.expressions)
