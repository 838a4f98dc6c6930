"""Standing questions on real clips: `python -m benchmarks.standing --out FILE.json [--clips FOLDER]`.

Each clip is a camera: its pictures come at the speed at which it plays, into a memory of its own.

alarms  No picture is dropped. Asked are the names of what is in the clips, with places judged by eye
        (real_present.json), and 250 everyday names of what is in none of them, each at a probability of .5, .8 and .9.
        An event is right if its sighting is: right clip, time and place. For a name that is not there every event is a
        false alarm. Counted per hour and name, since a camera is asked for a few names, not for hundreds.
load    As `vidmem watch` does it, with a queue of 8 pictures, without questions, with 10 names, and with all names:
        pictures dropped, the time that `append` takes, and how long after the picture that first shows a thing its
        event comes.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import CLIPS, OUT, machine, model, parser_for, quantile, say, skip, table, write_json
from benchmarks.real_present import Facts, Place, facts, on_it
from vidmem import Memory
from vidmem.encoders import Encoder, Reading, load
from vidmem.encoders.vocabulary import try_reading
from vidmem.media import open_source
from vidmem.standing import StandingEvent, StandingQuestion
from vidmem.timecode import NS

PROBABILITIES = (0.5, 0.8, 0.9)
HALF = "held"
"""The half of the absent names that calibration never looked at."""
DEPTH = 8
FEW = 10
EVERY_S = 2.0


class AtLeast(StandingQuestion):
    """A question whose events say which probability was asked for."""

    @property
    def name(self) -> str:
        """The text and the probability."""
        return f"{self.text}@{self.min_probability}"


def play(
    clip: Path,
    folder: Path,
    encoder: Encoder,
    when: Sequence[StandingQuestion],
    on_event: Callable[[StandingEvent], object],
    *,
    drops: bool,
) -> dict[str, Any]:
    """Show a clip to a session at the speed at which it plays. drops: as a camera does; else wait for the encoder."""
    waits: list[float] = []
    cpu = time.process_time()
    with Memory.open(folder) as memory:
        told: Any = on_event if when else None
        with memory.session(clip.name, encoder=encoder, depth=DEPTH, interval_s=EVERY_S, when=when, on_event=told) as s:
            began = time.time_ns()
            with open_source(clip) as source:
                seconds = source.info.duration_ns / NS
                for frame in source.frames(0):
                    due_s = (began + frame.t_ns - time.time_ns()) / NS
                    time.sleep(max(0.0, due_s))
                    while not drops and s.stats.waiting >= DEPTH - 1:
                        time.sleep(0.005)
                    at = time.perf_counter()
                    s.append(frame.image, began + frame.t_ns)
                    waits.append(1e3 * (time.perf_counter() - at))
    return {
        "clip": clip.name,
        "seconds": round(seconds, 2),
        "pictures": s.stats.appended,
        "wanted": s.stats.appended - s.stats.unsampled,
        "dropped": s.stats.dropped,
        "append_ms": waits,
        "cpu_s": round(time.process_time() - cpu, 2),
        "asked": s.standing_stats.asked,
        "events": s.standing_stats.events,
    }


def worth(event: StandingEvent, clip: str, places: Sequence[Place]) -> str:
    """ "right", or what is wrong first: "not there", "wrong time", "wrong place"."""
    here = [place for place in places if place.clip == clip]
    if not here:
        return "not there"
    seen = event.sighting
    assert seen.start_s is not None
    assert seen.end_s is not None
    assert seen.frame_s is not None
    then = [p for p in here if any(seen.start_s <= b and a <= seen.end_s for a, b in p.spans)]
    if not then:
        return "wrong time"
    fits = any(on_it(seen.box, box, p.behind) for p in then for box in p.boxes_at(seen.frame_s))
    return "right" if fits else "wrong place"


def _known(encoder: Encoder, name: str) -> bool:
    """Whether the encoder can be asked for a name."""
    return isinstance(try_reading(encoder, name), Reading)


def alarms(clips: Sequence[Path], place: Path, encoder: Encoder, known: Facts) -> dict[str, Any]:
    """Events at each probability, judged."""
    places = {name.name: name.places for name in known.names if _known(encoder, name.name)}
    absent = [name for name in known.absent[HALF] if _known(encoder, name)]
    asked = [AtLeast(n, min_probability=p) for p in PROBABILITIES for n in (*places, *absent)]
    rows: list[dict[str, Any]] = []
    hours = 0.0
    for clip in clips:
        got: list[StandingEvent] = []
        run = play(clip, place / clip.stem, encoder, asked, got.append, drops=False)
        for event in got:
            name, _, least = event.question.rpartition("@")
            rows.append(
                {
                    "clip": clip.name,
                    "least": float(least),
                    "name": name,
                    "probability": event.probability,
                    "start_s": event.sighting.start_s,
                    "picture": event.crop is not None,
                    "worth": worth(event, clip.name, places.get(name, ())),
                }
            )
        say(f"{clip.name}: {len(got)} events")
        hours += run["seconds"] / 3600
    here = {(name, p.clip) for name, held in places.items() for p in held}
    out: dict[str, Any] = {"hours": hours, "names_there": len(places), "names_absent": len(absent), "rows": rows}
    for p in PROBABILITIES:
        events = [row for row in rows if row["least"] == p]
        false = [row for row in events if row["name"] not in places]
        told = {(row["name"], row["clip"]) for row in events if row["worth"] == "right"}
        out[str(p)] = {
            "of_names_there": dict(Counter(row["worth"] for row in events if row["name"] in places)),
            "events_of_a_thing_told": sum(row["worth"] == "right" for row in events) / max(1, len(told)),
            "things_told": len(told),
            "things_there": len(here),
            "false_alarms": len(false),
            "false_names": len({row["name"] for row in false}),
            "false_per_name_and_hour": len(false) / (len(absent) * hours),
        }
    return out


def load_test(clips: Sequence[Path], place: Path, encoder: Encoder, known: Facts) -> list[dict[str, Any]]:
    """Dropped pictures, and latency, with more and more questions."""
    names = [name.name for name in known.names if name.core] + [name.name for name in known.names if not name.core]
    everything = [name for name in (*names, *known.absent[HALF]) if _known(encoder, name)]
    counts = (0, FEW, len(everything))
    late: dict[int, list[float]] = {count: [] for count in counts}
    runs: dict[int, list[dict[str, Any]]] = {count: [] for count in counts}
    for number, clip in enumerate(clips):
        for turn in range(len(counts)):  # in turns, and each comes first as often as the others
            count = counts[(number + turn) % len(counts)]

            def note(event: StandingEvent, late: list[float] = late[count]) -> None:
                late.append((time.time_ns() - int(event.time_ns)) / NS)

            when = [StandingQuestion(name) for name in everything[:count]]
            runs[count].append(play(clip, place / f"load-{count}-{clip.stem}", encoder, when, note, drops=True))
            say(f"{clip.name}, {count} questions: {runs[count][-1]['dropped']} dropped")
    out = []
    for count in counts:
        mine, times = runs[count], late[count]
        waits = [wait for run in mine for wait in run.pop("append_ms")]
        out.append(
            {
                "questions": count,
                **{key: sum(run[key] for run in mine) for key in ("pictures", "wanted", "dropped", "asked", "cpu_s")},
                "append_p50_ms": quantile(waits, 0.5),
                "append_p99_ms": quantile(waits, 0.99),
                "append_max_ms": max(waits),
                "events": len(times),
                "latency_p50_s": quantile(times, 0.5) if times else None,
                "latency_p95_s": quantile(times, 0.95) if times else None,
                "latency_max_s": max(times, default=None),
                "runs": mine,
            }
        )
    return out


def main() -> int:
    """Run the benchmark and write its JSON."""
    parser = parser_for(__doc__)
    parser.add_argument("--clips", type=Path, default=CLIPS, help="the folder of the clips")
    parser.add_argument("--part", choices=("alarms", "load"), help="do this part alone")
    args = parser.parse_args()
    result: dict[str, Any] = {"benchmark": "standing", "machine": machine(), "model": model()}
    clips = sorted(args.clips.glob("*.mp4"))
    if not clips:
        return skip(args.out, result, f"there are no clips in {args.clips}")
    known = facts([clip.name for clip in clips])
    place = OUT / "standing"
    shutil.rmtree(place, ignore_errors=True)
    encoder = load("tiny")
    if args.part != "load":
        result["alarms"] = alarms(clips, place, encoder, known)
    if args.part != "alarms":
        result["load"] = load_test(clips, place, encoder, known)
    write_json(args.out, result)
    if "alarms" in result:
        titles = ("at least", "told", "of", "wrong place", "wrong time", "elsewhere", "false", "per name and hour")
        rows = []
        for p in PROBABILITIES:
            row = result["alarms"][str(p)]
            kinds = row["of_names_there"]
            wrong = [kinds.get(kind, 0) for kind in ("wrong place", "wrong time", "not there")]
            rate = f"{row['false_per_name_and_hour']:.2f}"
            rows.append((str(p), row["things_told"], row["things_there"], *wrong, row["false_alarms"], rate))
        print(table(titles, rows))
    if "load" in result:
        head = ("questions", "wanted", "dropped", "CPU s", "append p99 ms", "events", "latency p50 s", "p95 s")
        keys = ("questions", "wanted", "dropped", "cpu_s", "append_p99_ms", "events", "latency_p50_s", "latency_p95_s")
        cells = [[run[key] for key in keys] for run in result["load"]]
        print(table(head, [[round(c, 2) if isinstance(c, float) else c for c in row] for row in cells]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
