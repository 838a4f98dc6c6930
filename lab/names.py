"""The names that `tiny` learns: CLIP's 2,151, ImageNet's classes, those of the photographs and of the drawings.

One class for each meaning, as far as spelling shows it: "Bell_pepper", "bell pepper" and "bell peppers" are one. A
class has phrases (name, synonyms) and, where CLIP's text tower encoded its name, that vector.
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lab.synthetic.drawings import things

CALTECH = {
    "airplanes": "airplane",
    "anchor": "anchor",
    "Faces": "face",
    "Faces_easy": "face",
    "Leopards": "leopard",
    "Motorbikes": "motorcycle",
    "car_side": "car",
    "cougar_body": "cougar",
    "cougar_face": "cougar",
    "crocodile_head": "crocodile",
    "flamingo_head": "flamingo",
    "gerenuk": "gerenuk",
    "pizza": "pizza",
    "wild_cat": "wild cat",
    "water_lilly": "water lily",
    "sea_horse": "seahorse",
    "windsor_chair": "windsor chair",
    "ceiling_fan": "ceiling fan",
    "dollar_bill": "dollar bill",
    "electric_guitar": "electric guitar",
    "garfield": "garfield",
    "snoopy": "snoopy",
    "yin_yang": "yin yang",
    "soccer_ball": "soccer ball",
    "stop_sign": "stop sign",
    "joshua_tree": "joshua tree",
    "inline_skate": "inline skate",
    "grand_piano": "piano",
    "cellphone": "cell phone",
    "menorah": "menorah",
    "hawksbill": "sea turtle",
}
"""Everyday names of Caltech-101 folders, where they differ from the folder's name."""
GROCERY = {
    "juice": "juice",
    "milk": "milk",
    "yoghurt": "yogurt",
    "oatghurt": "yogurt",
    "soyghurt": "yogurt",
    "sour cream": "sour cream",
    "potato": "potato",
    "apple": "apple",
    "pear": "pear",
    "melon": "melon",
    "tomato": "tomato",
    "onion": "onion",
    "mushroom": "mushroom",
    "beet": "beet",
    "satsumas": "mandarin orange",
    "tropicana": "juice",
    "carrots": "carrot",
    "aubergine": "eggplant",
    "kiwi": "kiwi fruit",
    "bell pepper": "bell pepper",
    "grapefruit": "grapefruit",
    "arla": "milk",
}
"""Everyday names of groceries whose own name is a brand. The first key that the name ends with or contains counts."""
KINDS = {
    "bonsai": "potted plant",
    "cougar": "cat",
    "dalmatian": "dog",
    "emu": "bird",
    "ewer": "vase",
    "face": "person",
    "ferry": "boat",
    "flamingo": "bird",
    "ibis": "bird",
    "ketch": "boat",
    "leopard": "cat",
    "pigeon": "bird",
    "rooster": "bird",
    "schooner": "boat",
    "soccer ball": "sports ball",
    "watch": "clock",
    "wild cat": "cat",
    "windsor chair": "chair",
}
"""The COCO name of which a Caltech-101 name is a kind; that answer counts as right too."""
HYPERNYMS = Path(__file__).with_name("hypernyms.txt")


@dataclass(slots=True)
class Class:
    """One meaning. phrases: the name first. clip: `(512,)` float32 or None. taught: True if a picture or drawing shows
    it."""

    phrases: list[str]
    clip: np.ndarray | None = None
    taught: bool = False
    known: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        return self.phrases[0]

    def also(self, phrase: str) -> None:
        """Add a phrase if it is new."""
        if phrase and phrase not in self.known:
            self.known.add(phrase)
            self.phrases.append(phrase)


def plain(name: str) -> str:
    """Return a name as people type it: "Sofa_(furniture)" -> "sofa"."""
    name = re.sub(r"\(.*?\)", " ", name.replace("_", " ").replace("/", " "))
    return " ".join(name.lower().split())


def _key(name: str) -> str:
    """Reduce the spelling to what changes the meaning: without plural, hyphens and spaces."""
    words = [w[:-1] if len(w) > 3 and w.endswith("s") and not w.endswith("ss") else w for w in plain(name).split()]
    return re.sub(r"[^a-z0-9]", "", "".join(words))


class Names:
    """All classes, found by any spelling of their name."""

    def __init__(self) -> None:
        self.classes: list[Class] = []
        self.index: dict[str, int] = {}

    def add(self, name: str) -> int:
        """Return the class of that name; create it if it is new."""
        key = _key(name)
        if key not in self.index:
            self.index[key] = len(self.classes)
            self.classes.append(Class([], known=set()))
            self.classes[-1].also(plain(name))
        return self.index[key]

    def find(self, name: str) -> int | None:
        """Return the class of that name, or None."""
        return self.index.get(_key(name))

    def label(self, name: str) -> int:
        """Return the class of that name. Raises KeyError if there is none."""
        return self.index[_key(name)]

    def __len__(self) -> int:
        return len(self.classes)


def clip_names(folder: Path) -> list[tuple[str, np.ndarray]]:
    """(name, CLIP ViT-B/32 text vector `(512,)`) of COCO, LVIS, Objects365 and OpenImages names, in this order."""
    coco = json.loads((folder / "coco_names.json").read_text("utf-8"))
    lvis = [c["name"] for c in json.loads((folder / "lvis_v1_train_cat_info.json").read_text("utf-8"))]
    with (folder / "Objects365_names_fix.csv").open(encoding="utf-8") as lines:
        o365 = [row[1] for row in csv.reader(lines)]
    oid = json.loads((folder / "oid_names.json").read_text("utf-8"))
    stems = ("coco_clip_a+cname", "lvis_v1_clip_a+cname", "o365_clip_a+cnamefix", "oid_clip_a+cname")
    out = []
    for names, stem in zip((coco, lvis, o365, oid), stems, strict=True):
        vectors = np.load(folder / f"{stem}.npy", allow_pickle=False).astype(np.float32)
        out += list(zip(names, vectors, strict=True))
    return out


def imagenet(labels: Path) -> list[list[str]]:
    """Return the phrases of each of the 1,000 classes. The first line of the file `labels` is "background"."""
    lines = labels.read_text("utf-8").splitlines()[1:]
    return [[plain(p) for p in line.split(",")] for line in lines]


def hypernyms() -> dict[int, list[str]]:
    """Everyday names of ImageNet classes."""
    out: dict[int, list[str]] = {}
    for line in HYPERNYMS.read_text("utf-8").splitlines():
        if line.startswith("#") or "|" not in line:
            continue
        numbers, names = line.split("|")
        for part in numbers.split(","):
            first, _, last = part.strip().partition("-")
            for i in range(int(first), int(last or first) + 1):
                out.setdefault(i, []).extend(n.strip() for n in names.split(","))
    return out


def grocery_name(name: str) -> str:
    """Everyday name of a class of the grocery photos."""
    for key, said in GROCERY.items():
        if name.endswith(key):
            return said
    return next((said for key, said in GROCERY.items() if key in name), name)


def caltech_name(folder: str) -> str:
    """Everyday name of a Caltech-101 folder."""
    return CALTECH.get(folder, plain(folder))


def all_names(clip: Path, labels: Path, photos: list[str]) -> tuple[Names, list[list[int]]]:
    """Return all classes, and for each ImageNet class its own class followed by its hypernyms. photos: names in
    photos.tar."""
    names = Names()
    for name, vector in clip_names(clip):
        known = names.classes[names.add(name)]
        if known.clip is None:
            known.clip = vector
    for entry in json.loads((clip / "lvis_v1_train_cat_info.json").read_text("utf-8")):
        known = names.classes[names.add(entry["name"])]
        for synonym in entry["synonyms"]:
            if names.find(synonym) is None:
                known.also(plain(synonym))
    for thing in things():
        known = names.classes[names.add(thing.name)]
        known.taught = True
        for synonym in thing.synonyms:
            known.also(plain(synonym))
    for name in photos:
        names.classes[names.add(name)].taught = True
    of_imagenet = []
    more = hypernyms()
    for i, phrases in enumerate(imagenet(labels)):
        own = names.add(phrases[0])
        for phrase in phrases[1:]:
            if names.find(phrase) is None and len(phrase.split()) < 4:
                names.classes[own].also(phrase)
        of_imagenet.append(list(dict.fromkeys([own, *(names.add(n) for n in more.get(i, []))])))
    return names, of_imagenet
