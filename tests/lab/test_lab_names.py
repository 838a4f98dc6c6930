"""Names that photographs teach: one class a meaning, from lists laid out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lab.names import Names, all_names, caltech_name, clip_names, grocery_name, hypernyms, imagenet, plain


def lay(folder: Path) -> Path:
    """CLIP's lists with seven names, two of them the same thing."""
    folder.mkdir()
    (folder / "coco_names.json").write_text('["cup", "cell phone"]')
    lvis = [{"name": "bell_pepper", "synonyms": ["bell_pepper", "capsicum"]}, {"name": "cup", "synonyms": ["cup"]}]
    (folder / "lvis_v1_train_cat_info.json").write_text(json.dumps(lvis))
    (folder / "Objects365_names_fix.csv").write_text("1,Awning,Awning\n2,Cell Phone,Cell Phone\n")
    (folder / "oid_names.json").write_text('["Bell pepper"]')
    rng = np.random.default_rng(0)
    for stem, n in (
        ("coco_clip_a+cname", 2),
        ("lvis_v1_clip_a+cname", 2),
        ("o365_clip_a+cnamefix", 2),
        ("oid_clip_a+cname", 1),
    ):
        np.save(folder / f"{stem}.npy", rng.standard_normal((n, 512)).astype(np.float16))
    return folder


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Bell_pepper", "bell pepper"),
        ("Sofa_(furniture)", "sofa"),
        ("Trash/bin", "trash bin"),
        ("  TV ", "tv"),
    ],
)
def test_plain_is_as_one_would_type(said: str, meant: str) -> None:
    assert plain(said) == meant


def test_spelling_does_not_make_a_class() -> None:
    names = Names()
    one = names.add("Bell_pepper")
    assert names.add("bell peppers") == names.add("bell-pepper") == one
    assert names.add("glass") != names.add("glasses")
    assert names.find("no such") is None
    assert names.label("BELL PEPPER") == one
    with pytest.raises(KeyError):
        names.label("no such")
    assert len(names) == 3


def test_names_of_all_lists_are_one_vocabulary(tmp_path: Path) -> None:
    folder = lay(tmp_path / "clip_text")
    labels = tmp_path / "labels.txt"
    labels.write_text("background\n" + "\n".join(f"class {i}, other {i}" for i in range(1000)))
    names, of_imagenet = all_names(folder, labels, ["stapler", "cup"])
    assert [n for n, _ in clip_names(folder)][:2] == ["cup", "cell phone"]
    cup = names.classes[names.label("cup")]
    np.testing.assert_array_equal(cup.clip, clip_names(folder)[0][1])  # the first list that has it
    assert cup.taught
    assert not names.classes[names.label("awning")].taught
    assert names.classes[names.label("stapler")].clip is None
    assert "capsicum" in names.classes[names.label("bell pepper")].phrases
    assert len(of_imagenet) == 1000
    assert of_imagenet[0] == [names.label("class 0"), names.label("fish")]
    assert names.label("dog") in of_imagenet[200]
    assert imagenet(labels)[3] == ["class 3", "other 3"]


def test_everyday_names_belong_to_classes_of_imagenet() -> None:
    found = hypernyms()
    assert set(found) <= set(range(1000))
    assert "cup" in found[504]  # coffee mug
    assert found[151] == found[268] == ["dog"]
    assert all(name and name == name.strip().lower() for names in found.values() for name in names)


@pytest.mark.parametrize(
    ("brand", "said"),
    [
        ("arla standard milk", "milk"),
        ("god morgon orange juice", "juice"),
        ("royal gala apple", "apple"),
        ("tropicana mandarin morning", "juice"),
        ("beef tomato", "tomato"),
        ("banana", "banana"),
        ("watermelon", "melon"),
    ],
)
def test_groceries_have_everyday_names(brand: str, said: str) -> None:
    assert grocery_name(brand) == said


def test_folders_have_everyday_names() -> None:
    assert caltech_name("Faces_easy") == "face"
    assert caltech_name("brontosaurus") == "brontosaurus"
