"""What constrained decoding of masks costs and gains: `python -m benchmarks.vlm_grammar --out FILE.json`.

Milliseconds a token for the state machine of vidmem.vlm.grammar, at vocabularies of three sizes. The vocabularies are
made up: all bytes, numbers, pieces of the labels and signs that tokenizers join, filled up with random words. `--peer`
adds llguidance, with the same masks written out as a grammar (`pip install llguidance`). Then models answer the same
questions free and constrained: tiny random ones of four layouts, or those of `--model FOLDER`.
"""

from __future__ import annotations

import argparse
import importlib
import random
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .common import parser_for, say, table, timed, timing_options, write_json

Clock = Callable[[], float]
SIZES = (1_000, 32_000, 150_000)
GRIDS = (16, 32)
NAMES = ("cup", "red kettle", "person on the left", "café table", "plant", "the dog that looks at the camera", "tram")
WAYS = {"free": False, "constrained": True}
ANSWERS = 3
"""Random answers that are walked through for each figure."""
TARGETS = {"valid, constrained": 1.0, "ms a token at 150,000 tokens": 5.0}


def main() -> int:
    parser = parser_for(__doc__)
    timing_options(parser)
    parser.add_argument("--peer", action="store_true", help="also llguidance")
    parser.add_argument("--model", action="append", metavar="FOLDER", help="a model instead of the tiny random ones")
    parser.add_argument("--device", help="cuda, mps or cpu for the models")
    parser.add_argument("--pictures", type=Path, help="a folder of photos for the models; default: noise")
    parser.add_argument("--phrase", action="append", help=f"a thing to ask for; default: {', '.join(NAMES[:4])}")
    parser.add_argument("--grid", type=int, default=16, help="cells on a side for the models; default 16")
    parser.add_argument("--quick", action="store_true", help="only check that it runs")
    args = parser.parse_args()
    clock, result = timed(args, targets=TARGETS)
    sizes = SIZES[:1] if args.quick else SIZES
    result["masks"] = [
        cost(size, side, count, args.peer, clock) for size in sizes for side in GRIDS for count in (1, len(NAMES))
    ]
    result["models"] = list(models(args))
    write_json(args.out, result)
    report(result)
    return 0


def made_up(size: int) -> list[bytes]:
    """A vocabulary of `size` tokens; the first is the end token, which has no text."""
    rng = random.Random(size)
    tokens = {bytes((byte,)): None for byte in range(256)}
    joined = [b" *", b"| ", b"\n ", b"<seg>", b"</seg>", b"\n</seg>", b"*1", b" *1", b"|\n", b"  ", b"\n\n", b"others"]
    numbers = [str(n).encode() for n in range(100)]
    pieces = [
        piece.encode()
        for name in (*NAMES, "others")
        for word in name.split()
        for end in range(2, len(word) + 1)
        for piece in (word[:end], " " + word[:end])
    ]
    tokens.update(dict.fromkeys([*joined, *numbers, *pieces]))
    while len(tokens) < size - 1:
        word = "".join(rng.choices("etaoinshrdlucmfwypvbgkjqxz", k=rng.randint(2, 9)))
        tokens[(" " * rng.randint(0, 1) + word).encode()] = None
    return [b"", *list(tokens)[: size - 1]]


def cost(size: int, side: int, labels: int, peer: bool, clock: Clock) -> dict[str, Any]:
    """Milliseconds for a vocabulary, a grid and a number of labels."""
    import torch

    from vidmem.vlm.constrained import MaskLogits
    from vidmem.vlm.grammar import MaskGrammar
    from vidmem.vlm.vocabulary import Vocabulary

    tokens = made_up(size)
    begun = clock()
    vocabulary = Vocabulary(tokens)
    sorted_ms = 1000 * (clock() - begun)
    begun = clock()
    grammar = MaskGrammar((side, side), NAMES[:labels])
    processor = MaskLogits(vocabulary, grammar, 0, [0])
    start_ms = 1000 * (clock() - begun)
    rng, walks = random.Random(0), list[list[int]]()
    first, again = list[float](), list[float]()
    scores = torch.zeros(1, size)
    for _ in range(ANSWERS):
        ids: list[int] = []
        while True:
            given = torch.tensor([ids], dtype=torch.long).reshape(1, -1)
            for times in (first, again):
                begun = clock()
                out = processor(given, scores)
                times.append(1000 * (clock() - begun))
            allowed = torch.isfinite(out[0]).nonzero().ravel().tolist()
            ids.append(rng.choice(allowed))
            if ids[-1] == 0:
                break
        if not grammar.accepts(b"".join(tokens[i] for i in ids).decode()):
            raise AssertionError("an answer is no mask")
        walks.append(ids)
    found: dict[str, Any] = {
        "vocabulary": size,
        "grid": side,
        "labels": labels,
        "tokens": sum(map(len, walks)),
        "sort_ms": round(sorted_ms, 1),
        "start_ms": round(start_ms, 2),
        "ms": round(statistics.mean(first), 3),
        "ms_p95": round(statistics.quantiles(first, n=20)[-1], 3),
        "ms_again": round(statistics.mean(again), 3),
    }
    return found | (peer_cost(tokens, side, NAMES[:labels], walks, clock) if peer else {})


def written_out(side: int, names: Sequence[str]) -> str:
    """The masks of a grid as a grammar: a rule for each width that is left and each label before it."""
    from vidmem.export.textmask import escape

    words = ["others", *map(escape, names)]
    rows = f'" "? "<seg>" r{side}_x ' + f'"\\n " r{side}_x ' * (side - 1) + '"\\n</seg>"'
    rules = [f"start: {rows}"]
    for left in range(side, 0, -1):
        for before in ["x", *range(len(words))] if left == side else range(len(words)):
            options = []
            for index, word in enumerate(words):
                if index != before:
                    options.append(f'"{word} *{left}"')
                    options += [f'"{word} *{count}| " r{left - count}_{index}' for count in range(1, left)]
            rules.append(f"r{left}_{before}: " + " | ".join(options))
    return "\n".join(rules)


def peer_cost(
    tokens: list[bytes], side: int, names: Sequence[str], walks: list[list[int]], clock: Clock
) -> dict[str, Any]:
    """The same answers with llguidance."""
    peer: Any = importlib.import_module("llguidance")

    class Tokens:
        """What llguidance wants of a tokenizer. It writes text byte by byte, which only forced text would need."""

        def __init__(self) -> None:
            self.eos_token_id, self.bos_token_id = 0, None
            self.tokens = [b"<end>", *tokens[1:]]
            self.special_token_ids = [0]

        def __call__(self, text: str | bytes) -> list[int]:
            return [1 + byte for byte in (text.encode() if isinstance(text, str) else text)]

    wrapped = peer.LLTokenizer(peer.TokenizerWrapper(Tokens()))
    grammar = written_out(side, names)
    begun = clock()
    matcher = peer.LLMatcher(wrapped, peer.LLMatcher.grammar_from_lark(grammar), limits=None)
    if error := matcher.get_error():
        return {"peer": str(error).splitlines()[0][:200], "peer_rules": grammar.count("\n") + 1}
    start_ms = 1000 * (clock() - begun)
    times = []
    for ids in walks:
        for token in ids[:-1]:
            begun = clock()
            matcher.compute_bitmask()
            times.append(1000 * (clock() - begun))
            if not matcher.consume_token(token):
                return {"peer": "it refuses a valid token"}
        matcher.reset()
    return {
        "peer_rules": grammar.count("\n") + 1,
        "peer_start_ms": round(start_ms, 1),
        "peer_ms": round(statistics.mean(times), 3),
    }


def models(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Shares of valid answers and tokens a second of each model, free and constrained."""
    if args.model:
        for folder in args.model:
            yield answers(Path(folder).name, Path(folder), args)
        return
    sys.path.insert(0, "tests")  # its tiny models are no part of any package
    tiny: Any = importlib.import_module("vlm.tiny_models")
    tiny.required()
    for layout in tiny.LAYOUTS[: 1 if args.quick else None]:
        for tokenizer in ("bytes", "digits"):
            with tempfile.TemporaryDirectory() as folder:
                yield answers(
                    f"random {layout}, {tokenizer}", tiny.build(layout, Path(folder), tokenizer=tokenizer), args
                )


def answers(name: str, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The answers of one model to each phrase about each picture."""
    from vidmem.vlm.ask import ask_mask
    from vidmem.vlm.generate import LocalAsker

    asker = LocalAsker.open(str(folder), args.device)
    out: dict[str, Any] = {"model": name, "device": str(asker.local.device)}
    phrases = args.phrase or NAMES[: 1 if args.quick else 4]
    for way, constrained in WAYS.items():
        asked = []
        for image in pictures(args.pictures):
            for phrase in phrases:
                asked.append(
                    ask_mask(asker, image, phrase, grid=(args.grid, args.grid), constrained=constrained, max_tokens=600)
                )
        whole = [one for one in asked if not one.answer.cut]
        seconds = sum(one.answer.seconds for one in asked)
        out[way] = {
            "answers": len(asked),
            "valid": round(sum(not one.reading.problems for one in asked) / len(asked), 4),
            "valid_of_uncut": round(sum(not o.reading.problems for o in whole) / len(whole), 4) if whole else None,
            "cut": round(sum(one.answer.cut for one in asked) / len(asked), 4),
            "tokens": sum(one.answer.tokens or 0 for one in asked),
            "tokens_s": round(sum(one.answer.tokens or 0 for one in asked) / seconds, 1),
            "seconds_an_answer": round(seconds / len(asked), 3),
        }
    return out


def pictures(folder: Path | None) -> Iterator[Any]:
    """The photos of a folder, or one picture of noise."""
    if folder is None:
        yield np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
        return
    from PIL import Image

    for path in sorted(folder.iterdir()):
        yield np.asarray(Image.open(path).convert("RGB"))


def report(result: dict[str, Any]) -> None:
    """Print the figures."""
    keys = ("vocabulary", "grid", "labels", "sort_ms", "ms", "ms_p95", "ms_again", "peer_start_ms", "peer_ms")
    say(table(keys, [[row.get(key, row.get("peer")) for key in keys] for row in result["masks"]]))
    columns = ("valid", "valid_of_uncut", "cut", "tokens_s", "seconds_an_answer")
    rows = [[model["model"], way, *(model[way][c] for c in columns)] for model in result["models"] for way in WAYS]
    say("\n" + table(("model", "way", *columns), rows))


if __name__ == "__main__":
    raise SystemExit(main())
