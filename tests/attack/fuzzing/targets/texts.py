"""What people type, and text files: times, boxes, numbers, addresses, names, questions, masks as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from vidmem.errors import UsageError, VidmemError

from ..mutate import text
from ..target import Broken, Ready, Run, Target

TIME_WORDS = [
    "today", "yesterday", "monday", "fri 18:02", "31 Jan", "31 Jan 2025", "29 feb", "ago", "30d", "4w", "12h", "90min",
    "90000000ns", "12.5s", ".5", "5.", "1:02", "00:01:02.5", "59:60", "2026-01-31", "2026-01-31T08:30", "T24:00",
    "+14:00",
    "+24:00", "Z", "-W01-1", "..", " ", "1e5",
]  # fmt: skip


def told(data: bytes) -> str:
    """The text of an input as Python has it when it comes from a command line: any byte is possible."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape")


def seeds(*texts: str) -> list[bytes]:
    return [one.encode("utf-8", "surrogatepass") for one in texts]


def each(*reads: Callable[[str], object]) -> Run:
    """Give the text to every one of several readers. It is refused if all of them refuse it."""

    def run(data: bytes) -> None:
        given = told(data)
        refused: list[VidmemError] = []
        for read in reads:
            try:
                read(given)
            except VidmemError as error:
                refused.append(error)
        if len(refused) == len(reads):
            raise refused[0]

    return run


def as_file(folder: Path, name: str, read: Callable[[Path], object]) -> Run:
    """Write the input to a file and read that."""

    def run(data: bytes) -> None:
        path = folder / name
        path.write_bytes(data)
        read(path)

    return run


def times(_: Path) -> Ready:
    """Times and durations on the command line: `vidmem.timecode.parse_time`."""
    from vidmem.query.arguments import within_ns
    from vidmem.timecode import clock, parse_time

    def check(given: str) -> None:
        ns = parse_time(given)
        if parse_time(f"{ns}ns") != ns:
            raise Broken(f"{ns} ns is not read back")
        clock(ns)

    return Ready(each(check, within_ns), seeds("12", "12.5s", "1:02.5", "00:01:02.5", "90000000ns", "0", ".25s"))


def dates(_: Path) -> Ready:
    """Dates, ages and spans: `parse_moment`, `parse_span`, and the dates of `vidmem recorded`."""
    from vidmem.indexer.dating import parse_choice
    from vidmem.timecode import in_range, is_day, iso, parse_moment, parse_span, recording_date, relative_date

    def check(given: str) -> None:
        moment = parse_moment(given)
        if not in_range(moment):
            raise Broken(f"{moment.ns} is out of range")
        for by in ("", "day", "mtime", "container"):
            recording_date(moment.ns, by), relative_date(moment.ns, by), iso(moment.ns)

    return Ready(
        each(check, parse_span, parse_choice, is_day),
        seeds(
            "2026-01-31T08:30", "2026-01-31", "yesterday 18:02", "31 Jan 2025 18:02", "30d", "90min ago", "now",
            "1:00..2:30", "2026-01-30..2026-01-31", "friday", "mtime", "container", "2026-W05-2",
            "20260131T083000+0200",
        ),
    )  # fmt: skip


def boxes(_: Path) -> Ready:
    """Boxes and crops: `VIDEO@TIME:X,Y,W,H`."""
    from vidmem.query import arguments

    return Ready(
        each(arguments.crop, arguments.thing),
        seeds("walk.mp4@12.5s:100,80,60,60", "a@b:c.mp4@1:02:0,0,1.5,2", "/v/x y.mkv@90000000ns:1,2,3,4", "12"),
    )


def numbers(_: Path) -> Ready:
    """Numbers of options: thresholds, grids, mixes, rates."""
    from vidmem.cli.export_set import parse_grids, parse_mix
    from vidmem.cli.index import _parse_fps
    from vidmem.cli.read_answer import parse_grid
    from vidmem.query import arguments

    def number(given: str) -> None:
        with suppress(ValueError):
            value = float(given)
            arguments.share("threshold", value), arguments.apart(value), arguments.share("min_probability", value)

    def whole(given: str) -> None:
        with suppress(ValueError):
            value = int(given)
            arguments.whole("number", value), arguments.top(value), arguments.thing(value)

    return Ready(
        each(number, whole, parse_grid, parse_grids, parse_mix, _parse_fps),
        seeds("0.5", "16", "12x16", "16,24,32", "open=1,part=3", "all", "4", "1e308"),
    )


def addresses(folder: Path) -> Ready:
    """Addresses of sources, paths and URLs, as `vidmem index`, `watch` and `where` take them."""
    from vidmem.address import Address, printable
    from vidmem.media import discover
    from vidmem.media.camera import plain_name
    from vidmem.query import arguments

    (folder / "run.mcap").write_bytes(b"")
    (folder / "a#b.mp4").write_bytes(b"")

    def parse(given: str) -> None:
        address = Address.parse(given)
        if address.part and str(Address.parse_part(str(address))) != str(address):
            raise Broken("the address is not read back")
        str(address.absolute()), address.label, address.exists()

    def plain(given: str) -> None:
        shown = plain_name(given)
        if "secret" in shown:
            raise Broken(f"a password is shown: {shown}")

    def password(given: str) -> None:
        with suppress(VidmemError):
            plain(f"rtsp://user:secret{given}@host/live") if "@" not in given and "/" not in given else None

    def inside(given: str) -> None:
        if not given.startswith(("/", "~")) and ".." not in given and "*" not in given:
            arguments.path("paths", given)
            discover([str(folder / given)])

    name = str(folder / "run.mcap")
    return Ready(
        each(parse, plain_name, password, printable, inside),
        seeds(
            f"{name}#/cam/front",
            f"{name}#header:/cam",
            "rtsp://user@host:554/live?x=1",
            "a#b.mp4",
            "pusht#3/top",
            "*.mp4",
        ),
    )


def phrases(_: Path) -> Ready:
    """Phrases that people look for: how the encoder that ships reads them, and the templates."""
    from vidmem.encoders import load_text
    from vidmem.query.arguments import phrase
    from vidmem.query.haystack import split_question

    text_side = load_text("tiny")
    return Ready(
        each(
            lambda given: text_side.encode_text([given]),
            lambda given: text_side.encode_names([given]),
            lambda given: phrase("text", given),
            split_question,
        ),
        seeds("cup", "a red coffee mug", "the man's bicycle", "two dogs and a cat", "fire-hydrant", "TV"),
    )


def labels(folder: Path) -> Ready:
    """Files of labels: one name a line, with `thing` or `stuff` after a tab."""
    from vidmem.query.labels import load_labels

    return Ready(
        as_file(folder, "labels.txt", lambda path: load_labels(str(path))),
        seeds(
            "cup\nkettle\n",
            "# rooms\nsky\tstuff\ncup\tthing\n",
            "\ufeffdog\r\ncat\r\n",
            "\n".join(map(str, range(6000))),
        ),
    )


def questions(folder: Path) -> Ready:
    """Questions with known answers, in CSV, for `vidmem calibrate`."""
    from vidmem.query.calibrate import load_known

    return Ready(
        as_file(folder, "known.csv", lambda path: load_known(str(path))),
        seeds(
            "name,source,from-to\ncup,walk.mp4,1-2\n", 'cup,"a,b.mp4",0:01-0:02.5\nsofa,*,absent\n',
            "cup\twalk.mp4\t1s-2s\n# note\n", "a,b,absent\na,c,1", 'x,"' + "y" * 140_000 + '",1-2\n',
        ),
    )  # fmt: skip


def masks(_: Path) -> Ready:
    """Masks as text: the strict form, all layouts, and the reader of what models write."""
    from vidmem.export.textanswer import read_answer
    from vidmem.export.textlayout import LAYOUTS, decode_layout
    from vidmem.export.textmask import decode, encode, wrap

    names = ("cup", "dog", "a|b", "others", "hot dog")

    def strict(given: str) -> None:
        mask = decode(given)
        if decode(encode(mask)) != mask:
            raise Broken("a mask is not read back")

    def lenient(given: str) -> None:
        for grid, known in (((4, 6), None), ((16, 16), names), ((1, 1), ("cup",)), ((3, 5), ())):
            reading = read_answer(given, grid, known)
            if reading.mask.cells.shape != grid:
                raise Broken(f"the mask is {reading.mask.cells.shape}, not {grid}")
            again = read_answer(wrap(encode(reading.mask)), grid)
            if again.problems or again.mask != reading.mask:
                raise Broken(f"what was read is not read back: {again.problems}")

    def layouts(given: str) -> None:
        for layout in LAYOUTS:
            with suppress(UsageError):
                decode_layout(given, layout, (4, 6))

    return Ready(
        each(strict, lenient, layouts),
        seeds(
            "others *6\n cup *2| others *4\n others *6\n others *1| dog #2 *5\n",
            "Sure. <seg>others *6\n cup *2| others *4\n others *6\n dog *6\n</seg> Here it is.",
            "<seg>others *96| cup *160\n</seg>", "```\ncup *3| dog x 3\n```", "cup| cup| dog| others\n",
            "<SEG>cup 6|dog*18",
            "a\\pb *6\n \\eothers *6\n \\e *6\n \\scup\\s *6\n",
        ),
    )  # fmt: skip


WORDS_OF_MASKS = [
    "| ",
    " *",
    "*",
    "\n ",
    "\n",
    "others",
    "cup",
    "#2",
    "\\p",
    "\\e",
    "<seg>",
    "</seg>",
    "<seg",
    "16",
    "x ",
    ": ",
]


def grammar(_: Path) -> Ready:
    """The grammar of masks that constrains models: fed with bytes in any pieces."""
    from vidmem.export.textmask import CLOSE, OPEN, decode
    from vidmem.vlm.grammar import MaskGrammar

    allowed = MaskGrammar((3, 4), ["cup", "hot dog", "a|b", "чашка"])

    def run(data: bytes) -> None:
        state = allowed.start()
        for byte in data:
            following = allowed.advance(state, bytes([byte]))
            if following is None:
                raise UsageError("not in the grammar")
            state = following
        if allowed.finished(state):
            decode(data.decode().strip(" ").removeprefix(OPEN).removesuffix(CLOSE), (3, 4))

    return Ready(
        run,
        seeds(
            f"{OPEN}cup *4\n others *4\n hot dog *1| a\\pb *3\n{CLOSE}", f" {OPEN}чашка *4\n cup *4\n cup *4\n{CLOSE}"
        ),
    )


def webvtt(folder: Path) -> Ready:
    """Names that are shown: in tables, HTML, subtitles and CSV."""
    from vidmem.address import printable

    def run(data: bytes) -> None:
        shown = printable(told(data))
        if not shown.isprintable():
            raise Broken("a control character is shown")

    return Ready(run, seeds("walk.mp4", "\x1b[31mred\x07", "=1+1", "[bold]x[/bold]"))


def _target(name: str, prepare: Callable[[Path], Ready], words: Sequence[str] = (), share: float = 1.0) -> Target:
    return Target(name, prepare, text(words), share=share, megabytes=256)


def receivers(folder: Path) -> Ready:
    """Where events go: web servers, brokers, commands. Nothing is opened or run."""
    from vidmem.standing import Mqtt, RunCommand, Webhook

    valid = ("https://host:8123/api/webhook/x?y=1", "mqtts://me:pw@host:8883/home/seen", "true 'a b' \"c\"", "[::1]")
    return Ready(each(Webhook, Mqtt, RunCommand), seeds(*valid))


def events(folder: Path) -> Ready:
    """Events that wait in a memory, which may come from a stranger."""
    from vidmem.query.documents import SightingDocument
    from vidmem.standing import StandingEvent

    def run(data: bytes) -> None:
        try:
            event = StandingEvent.from_json(told(data))
        except ValueError as error:
            raise UsageError(str(error)) from None
        if StandingEvent.from_json(event.to_json(crop=False)).id != event.id:
            raise Broken("an event changes on its way through JSON")

    sighting = SightingDocument(
        *("cam", 0.0, 1.0, "0", "1000000000", None, "live", 0.9, 0.9, None, 0.9, 0.5, [1.0, 2.0, 3.0, 4.0], 1.0),
        *([7], None, None, None, "0", 1, "1-0-7-0-0"),
    )
    one = StandingEvent("00ff" * 8, "keys", "2026-01-31T08:30:00.000+01:00", "1", "cam", 0.9, sighting)
    return Ready(run, seeds(one.to_json()))


TARGETS = [
    _target("times", times, TIME_WORDS, 1.5),
    _target("dates", dates, TIME_WORDS, 1.5),
    _target("boxes", boxes, ["@", ":", ",", "walk.mp4", "1", "12.5s", "-1", "nan", "1e400", "0x1"]),
    _target("numbers", numbers, ["0.5", "x", ",", "=", "open", "part", "16", "nan", "inf", "1e308", "-", "_"]),
    _target(
        "addresses",
        addresses,
        ["#", ":", "header:", "log:", "rtsp://", "@", "file:", "?", "[", "]", "run.mcap", "//", "%40"],
    ),
    _target("phrases", phrases, ["cup", "red", "the", "and", "of", "'s", "-", " ", "TV", "a", "dogs"], 0.6),
    _target("labels", labels, ["\t", "\n", "thing", "stuff", "#", "cup", "\r", "\x85", "\u2028"]),
    _target(
        "questions",
        questions,
        [",", "\t", "\n", '"', "*", "absent", "1-2", "walk.mp4", "cup", "name", "source", "\x85"],
    ),
    _target("masks", masks, WORDS_OF_MASKS),
    _target("mask-grammar", grammar, WORDS_OF_MASKS, 0.5),
    _target("names", webvtt, share=0.5),
    _target(
        "receivers", receivers, ["mqtt://", "https://", "@", ":", "/", "%40", "+", "#", "?", "[", "]", "'", '"', "\0"]
    ),
    _target("events", events, ["null", "{", "}", "[", "]", '"', ",", ":", "1e400", "NaN", "sighting", "crop"]),
]
