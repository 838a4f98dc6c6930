"""Write vidmem/encoders/tiny/names.txt, the list of names that `tiny` was taught, from its training data.

Each line has a name and its synonyms. Names with unknown words are left out.
"""

from __future__ import annotations

import argparse
import tarfile
from pathlib import Path

from lab.names import all_names, caltech_name, clip_names, plain
from lab.synthetic.drawings import things
from vidmem.encoders.tiny.text_table import said

OUT = Path(__file__).parents[2] / "vidmem" / "encoders" / "tiny" / "names.txt"
HEAD = """\
# What `tiny` was taught to name, by lab/tiny/list_names.py: names of COCO, LVIS, Objects365, Open Images, ImageNet,
# Caltech-101 and of the drawings. A line each: the name, then other names for it.
"""
LONGEST = 40
"""Maximum number of letters; longer entries are explanations."""


def lines(data: Path) -> list[str]:
    with tarfile.open(data / "caltech101.tar") as tar:
        folders = {Path(name).parent.name for name in tar.getnames() if name.endswith(".jpg")}
    names, _ = all_names(
        data / "clip_text", data / "imagenet_labels.txt", sorted(map(caltech_name, folders - {"BACKGROUND_Google"}))
    )
    for spelling in [plain(name) for name, _ in clip_names(data / "clip_text")] + [thing.name for thing in things()]:
        names.classes[names.label(spelling)].also(spelling)  # "ice cream" is the class "icecream"
    out, taken = [], {c.name for c in names.classes}
    for known in names.classes:
        others = [p for p in known.phrases[1:] if p not in taken and readable(p)]
        taken.update(others)
        if readable(known.name):
            out.append(f"{known.name}: {', '.join(others)}" if others else known.name)
    return sorted(out)


def readable(name: str) -> bool:
    return bool(said(name)) and name.isascii() and len(name) <= LONGEST and not set(name) & set(":,#")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with caltech101.tar and clip_text/")
    args = parser.parse_args()
    OUT.write_text(HEAD + "\n".join(lines(args.data)) + "\n", "utf-8")


if __name__ == "__main__":
    main()
