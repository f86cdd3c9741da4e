"""No file, function, class or constructor grows past its ceiling, and no file has a name that says nothing."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = ("throng", "edge", "group_svc", "router_svc", "unread_svc")
FILE_LINES, FUNCTION_LINES, CLASS_LINES, CONSTRUCTOR_ARGUMENTS, TEST_FILE_LINES = 500, 60, 350, 8, 800
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def product_files() -> list[pathlib.Path]:
    found = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return [path for path in found if ROOT / "throng" / "api" not in path.parents]


def nodes(path: pathlib.Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> int:
    body = node.body
    first = body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    if is_docstring and not isinstance(node, ast.ClassDef):
        body = body[1:]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def too_long(limit: int, kinds: tuple[type, ...]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {body_lines(node)} lines"
        for path in product_files()
        for node in nodes(path)
        if isinstance(node, kinds) and body_lines(node) > limit
    ]


def test_there_is_product_code_to_count() -> None:
    assert len(product_files()) > 50


def test_files_are_short() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in product_files()}
    assert [f"{path.relative_to(ROOT)}: {lines}" for path, lines in lengths.items() if lines > FILE_LINES] == []


def test_functions_are_short() -> None:
    assert too_long(FUNCTION_LINES, (ast.FunctionDef, ast.AsyncFunctionDef)) == []


def test_classes_are_short() -> None:
    assert too_long(CLASS_LINES, (ast.ClassDef,)) == []


def test_constructors_take_few_arguments() -> None:
    many = []
    for path in product_files():
        for node in nodes(path):
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                count = len(node.args.posonlyargs) + len(node.args.args) + len(node.args.kwonlyargs) - 1
                if count > CONSTRUCTOR_ARGUMENTS:
                    many.append(f"{path.relative_to(ROOT)}:{node.lineno}: {count}")
    assert many == []


def test_test_files_are_short() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "tests").rglob("*.py")}
    assert [f"{path.relative_to(ROOT)}: {lines}" for path, lines in lengths.items() if lines > TEST_FILE_LINES] == []


def test_names_say_what_a_file_is_for() -> None:
    assert [str(path.relative_to(ROOT)) for path in product_files() if path.stem in NAMES_THAT_SAY_NOTHING] == []


def test_every_module_says_what_it_is() -> None:
    silent = [path for path in product_files() if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert [str(path.relative_to(ROOT)) for path in silent] == []


def test_every_package_maps_its_files() -> None:
    """A package's docstring names each of its modules."""
    unnamed = []
    for init in product_files():
        if init.name != "__init__.py":
            continue
        text = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) or ""
        unnamed += [
            f"{init.parent.relative_to(ROOT)}: {module.name}"
            for module in init.parent.glob("*.py")
            if not module.name.startswith("__") and module.name not in text
        ]
    assert unnamed == []


@pytest.mark.parametrize("service", ["edge", "group_svc", "router_svc", "unread_svc"])
def test_every_service_has_the_same_files(service: str) -> None:
    expected = {"app.py", "settings.py", "metrics.py", "ports.py", "servicer.py", "__main__.py", "core", "adapters"}
    assert expected - {path.name for path in (ROOT / service).iterdir()} == set()


def test_public_names_have_docstrings() -> None:
    silent = []
    for path in product_files():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_")
            if named and not ast.get_docstring(node):
                silent.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert silent == []
