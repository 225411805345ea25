"""The library's rooms: what imports what, in one direction."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[1] / "r21d_lib"
# From the bottom up: a room imports those before it, whether at the top of a module or in a function.
ROOMS = (
    "models",
    "data",
    "checkpoints",
    "evaluation",
    "training",
    "plots",
    "prediction",
    "suite",
    "live",
    "publish",
    "cli",
)
MODULES = sorted(LIBRARY.rglob("*.py"))


def room_of(parts):
    """The room that a dotted name's parts lie in; None for errors, files and the package itself."""
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else None


def imports(tree):
    """The library's modules that a module imports, but for its type checker."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("r21d_lib"):
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                yield inner if inner in KNOWN else node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith("r21d_lib"))


def module_name(file):
    parts = ("r21d_lib", *file.relative_to(LIBRARY).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


KNOWN = {module_name(file) for file in MODULES}


def test_the_library_has_these_rooms_and_nothing_else_beside_them():
    assert {path.parent.name for path in LIBRARY.glob("*/__init__.py")} == set(ROOMS)
    assert {path.name for path in LIBRARY.glob("*.py")} == {
        "__init__.py",
        "__main__.py",
        "errors.py",
        "files.py",
    }


@pytest.mark.parametrize("file", MODULES, ids=module_name)
def test_no_room_imports_one_above_it(file):
    here = room_of(module_name(file).split("."))
    if here is None:
        return  # the package's own lazy names, and errors and files, which the next test looks at
    for name in imports(ast.parse(file.read_text())):
        there = room_of(name.split("."))
        assert there is None or ROOMS.index(there) <= ROOMS.index(here), f"{here} imports {name}"


def test_errors_and_files_import_no_room():
    for name in ("errors.py", "files.py"):
        assert all(
            room_of(n.split(".")) is None for n in imports(ast.parse((LIBRARY / name).read_text()))
        )


def test_modules_import_each_other_in_no_circle():
    graph = {module_name(file): set(imports(ast.parse(file.read_text()))) for file in MODULES}
    done, path = set(), []

    def visit(module):
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done:
            return
        path.append(module)
        for name in sorted(graph[module]):
            visit(name)
        path.pop()
        done.add(module)

    for module in sorted(graph):
        visit(module)


def test_the_package_offers_its_names_and_imports_torch_for_none_before_it_is_asked():
    code = (
        "import sys, r21d_lib\n"
        "assert 'torch' not in sys.modules\n"
        "for name in r21d_lib.__all__: getattr(r21d_lib, name)\n"
        "assert set(r21d_lib.__all__) == {*r21d_lib._HOMES, '__version__'}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


_DECODES = {"probe", "timed", "stream", "decode", "sound"}
# These know how: the guarded process, what runs in it, and cameras, which have a limit of their own.
_GUARDED = {"data.video", "data.containers", "data.safe_decoder", "live.sources"}


@pytest.mark.parametrize("file", MODULES, ids=module_name)
def test_files_of_others_are_decoded_under_guard_only(file):
    if module_name(file).removeprefix("r21d_lib.") in _GUARDED:
        return
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute) and node.attr in _DECODES:
            assert ast.unparse(node.value) not in ("video", "videos"), ast.unparse(node)
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in ("av.open", "open_video"), ast.unparse(node)
        if isinstance(node, ast.ImportFrom) and node.module == "r21d_lib.data.video":
            assert not _DECODES & {name.name for name in node.names}, ast.unparse(node)


def test_what_a_student_is_told_to_read_is_there_and_as_short_as_said():
    page = (LIBRARY.parent / "docs" / "student.md").read_text(encoding="utf-8")
    section = page.split("## Reading the code\n")[1].split("\n## ")[0]
    modules = re.findall(r"`(\w+/\w+\.py)`", section)
    assert len(set(modules)) == 14
    assert "fourteen modules of fewer than 2,500 lines" in section
    assert sum(len((LIBRARY / module).read_text().splitlines()) for module in modules) < 2500
