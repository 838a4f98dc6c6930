"""The size and shape of the code: `python -m benchmarks.house --out FILE.json`.

Nothing is imported from the tree that is measured: its files are parsed, so `--tree` can point to an older checkout.
Which folders belong to the package is read from `[tool.setuptools]` in its pyproject.toml.
"""

from __future__ import annotations

import ast
import io
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import tokenize
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.common import machine, parser_for, say, table, write_json

ROOT = "vidmem"
"""Name of the import package."""
OUTSIDE = ("tests", "lab", "benchmarks")
"""Folders of the checkout that are counted apart from the package."""
TARGETS = {"packages_and_top_modules": 22, "circles_of_modules": 0, "type_ignore": 9, "wheel_mb": 40}
"""What the design asks for, each an upper limit."""
_PROBED = re.compile(r"\b(text_)?encoder\b|\bmodule\b|_module\(|load_text\(|^(self\.)?_?(text|masks|real)$")
"""First arguments of hasattr and getattr that are an encoder, its text side, its masks, or a module."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Import:
    """One import statement: the modules it may name, most specific first, and where it stands."""

    names: tuple[tuple[str, ...], ...]
    in_function: bool


@dataclass(frozen=True)
class Module:
    """One parsed file of Python."""

    name: str
    path: Path
    is_package: bool
    text: str = field(repr=False)

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def lines(self) -> int:
        return len(self.text.splitlines())

    def comments(self) -> Iterator[str]:
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type == tokenize.COMMENT:
                yield token.string

    def imports(self) -> Iterator[Import]:
        """Every import statement except those under `if TYPE_CHECKING:`."""
        for node, in_function in _walk(self.tree, in_function=False):
            if isinstance(node, ast.Import):
                yield Import(tuple((alias.name,) for alias in node.names), in_function)
            elif isinstance(node, ast.ImportFrom):
                base = self._absolute(node)
                yield Import(tuple((f"{base}.{alias.name}", base) for alias in node.names), in_function)

    def _absolute(self, node: ast.ImportFrom) -> str:
        """The full name of what `from ... import` imports from."""
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        up = node.level - 1 if self.is_package else node.level
        return ".".join([*parts[: len(parts) - up], *([node.module] if node.module else [])])

    def functions(self) -> Iterator[tuple[Function, bool]]:
        """Functions and methods, not nested ones, and whether each is public."""
        private_file = any(part.startswith("_") and part != "__init__" for part in self.name.split("."))
        for node in self.tree.body:
            if isinstance(node, Function):
                yield node, not private_file and not node.name.startswith("_")
            elif isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, Function):
                        hidden = private_file or node.name.startswith("_") or inner.name.startswith("_")
                        yield inner, not hidden


def _walk(node: ast.AST, in_function: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from _walk(other, in_function)
            continue
        yield child, in_function
        yield from _walk(child, in_function or isinstance(child, Function))


def read(name: str, path: Path) -> Module:
    """Read one file."""
    return Module(name, path, path.name == "__init__.py", path.read_text("utf-8"))


def tracked(tree: Path) -> list[Path]:
    """The files of a checkout that git tracks and that exist."""
    listed = subprocess.run(["git", "-C", str(tree), "ls-files", "-z"], capture_output=True, check=True, text=True)
    return [tree / name for name in listed.stdout.split("\0") if name and (tree / name).is_file()]


def package_modules(tree: Path) -> dict[str, Module]:
    """The modules of the package by full name, found as setuptools finds them."""
    settings = tomllib.loads((tree / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    modules = {}
    for package in settings["packages"]:
        for path in sorted(_folder(tree, package, settings.get("package-dir", {})).glob("*.py")):
            name = package if path.stem == "__init__" else f"{package}.{path.stem}"
            modules[name] = read(name, path)
    return modules


def _folder(tree: Path, package: str, mapped: dict[str, str]) -> Path:
    parts = package.split(".")
    for count in range(len(parts), 0, -1):
        head = ".".join(parts[:count])
        if head in mapped:
            return tree.joinpath(mapped[head], *parts[count:])
    return tree.joinpath(*parts)


def import_graph(modules: dict[str, Module]) -> dict[str, set[str]]:
    """For each module the modules of the package that it imports, anywhere in the file."""
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for name, module in modules.items():
        for statement in module.imports():
            for candidates in statement.names:
                target = next((c for c in candidates if c in modules), None)
                if target is not None and target != name:
                    graph[name].add(target)
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of two and more nodes that reach each other (strongly connected components), largest first."""
    reach = {name: _reachable(graph, name) for name in graph}
    groups = {tuple(sorted(other for other in reach[name] if name in reach[other])) for name in graph}
    return sorted((list(group) for group in groups if len(group) > 1), key=lambda group: (-len(group), group))


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    """All nodes that can be reached from `start`; `start` itself only if it lies on a circle."""
    seen: set[str] = set()
    todo = [start]
    while todo:
        new = graph[todo.pop()] - seen
        seen |= new
        todo.extend(new)
    return seen


def top(name: str) -> str:
    """The part of a module's name directly below the root: vidmem.media.video is in "media"."""
    return ".".join(name.split(".")[1:2]) or ROOT


def top_graph(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The graph between the packages and modules directly below the root."""
    out: dict[str, set[str]] = {top(name): set() for name in graph}
    for name, targets in graph.items():
        out[top(name)] |= {top(target) for target in targets} - {top(name)}
    return out


def is_typed(function: Function) -> bool:
    """Return True if every argument (except self and cls) and the result have a type."""
    args = function.args
    given = [*args.posonlyargs, *args.args]
    if given and given[0].arg in ("self", "cls"):
        given = given[1:]
    given += [*args.kwonlyargs, *filter(None, (args.vararg, args.kwarg))]
    return function.returns is not None and all(arg.annotation is not None for arg in given)


def probes(module: Module) -> int:
    """Calls of hasattr and getattr on modules and encoders."""
    return sum(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("hasattr", "getattr")
        and bool(_PROBED.search(ast.unparse(node.args[0])))
        for node in ast.walk(module.tree)
    )


def wheel(tree: Path) -> dict[str, int]:
    """Build the wheel from a copy of the tracked files: its bytes, files and lines of Python."""
    with tempfile.TemporaryDirectory(prefix="vidmem-house-") as folder:
        copy = Path(folder, "tree")
        for path in tracked(tree):
            target = copy / path.relative_to(tree)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
        build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, str(copy)]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        (made,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(made) as archive:
            names = archive.namelist()
            lines = sum(len(archive.read(name).splitlines()) for name in names if name.endswith(".py"))
        return {"wheel_bytes": made.stat().st_size, "wheel_files": len(names), "wheel_lines": lines}


def measure(tree: Path) -> dict[str, Any]:
    """Everything about one checkout except its wheel."""
    modules = package_modules(tree)
    outside = {
        part: [read(part, p) for p in tracked(tree) if p.suffix == ".py" and p.relative_to(tree).parts[0] == part]
        for part in OUTSIDE
    }
    graph = import_graph(modules)
    lengths = {name: module.lines for name, module in modules.items()}
    functions = [pair for module in modules.values() for pair in module.functions()]
    public = [function for function, shown in functions if shown]
    inner = [s for module in modules.values() for s in module.imports() if s.in_function]
    own = [s for s in inner if any(c.split(".")[0] == ROOT for names in s.names for c in names)]
    everything = [*modules.values(), *(module for group in outside.values() for module in group)]
    packages = [name for name, module in modules.items() if module.is_package]
    top_modules = [n for n, m in modules.items() if n.count(".") == 1 and not m.is_package]
    by_top = circles(top_graph(graph))
    by_module = circles(graph)
    largest = max(lengths, key=lengths.__getitem__)
    return {
        "packages": len(packages),
        "top_modules": len(top_modules),
        "packages_and_top_modules": len(packages) - 1 + len(top_modules),
        "circles_of_packages": len(by_top),
        "circles_of_modules": len(by_module),
        "modules_on_circles": sum(map(len, by_module)),
        "files": len(modules),
        "lines": sum(lengths.values()),
        **{f"lines_{part}": sum(module.lines for module in group) for part, group in outside.items()},
        "median_module": statistics.median(lengths.values()),
        "largest_module": lengths[largest],
        "functions": len(functions),
        "typed": sum(is_typed(function) for function, _ in functions) / len(functions),
        "untyped_functions": sum(not is_typed(function) for function, _ in functions),
        "public_functions": len(public),
        "documented": sum(ast.get_docstring(function) is not None for function in public) / len(public),
        "type_ignore": sum("type: ignore" in c for module in modules.values() for c in module.comments()),
        "fmt_skip": sum("fmt: skip" in c for module in everything for c in module.comments()),
        "function_imports": len(inner),
        "function_imports_of_own": len(own),
        "probes": sum(map(probes, modules.values())),
        "named": {"largest_module": largest, "circles_of_packages": by_top, "circles_of_modules": by_module},
    }


LABELS = {
    "packages": "packages",
    "top_modules": "modules directly in vidmem",
    "packages_and_top_modules": "packages below vidmem, and these modules",
    "circles_of_packages": "circles between them",
    "circles_of_modules": "circles between modules",
    "modules_on_circles": "modules on a circle",
    "files": "files of the package",
    "lines": "lines of the package",
    "lines_tests": "lines of tests",
    "lines_lab": "lines of lab",
    "lines_benchmarks": "lines of benchmarks",
    "wheel_lines": "lines in the wheel",
    "median_module": "median module, lines",
    "largest_module": "largest module, lines",
    "functions": "functions and methods",
    "typed": "fully typed, share",
    "untyped_functions": "not fully typed",
    "public_functions": "public ones",
    "documented": "documented, share of public ones",
    "type_ignore": "type: ignore in the package",
    "fmt_skip": "fmt: skip in the checkout",
    "function_imports": "imports inside functions",
    "function_imports_of_own": "of the package's own modules",
    "probes": "hasattr and getattr on encoders and modules",
    "wheel_mb": "wheel, MB",
    "wheel_files": "files in the wheel",
}
"""The rows of the table, by key."""


def main() -> int:
    parser = parser_for(__doc__)
    parser.add_argument("--tree", type=Path, default=Path(), help="the checkout to measure (this one)")
    parser.add_argument("--no-wheel", action="store_true", help="do not build the wheel")
    args = parser.parse_args()
    tree = args.tree.resolve()
    figures = measure(tree)
    if not args.no_wheel:
        say("building the wheel")
        figures |= wheel(tree)
        figures["wheel_mb"] = figures["wheel_bytes"] / 1e6
    commit = subprocess.run(["git", "-C", str(tree), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    write_json(args.out, {"machine": machine(), "commit": commit.stdout.strip(), "wanted": TARGETS, **figures})
    print(table(("", "", "at most"), [(LABELS[k], figures.get(k), TARGETS.get(k)) for k in LABELS]))
    for group in figures["named"]["circles_of_modules"]:
        print("circle:", ", ".join(group))
    return 0


if __name__ == "__main__":
    sys.exit(main())
