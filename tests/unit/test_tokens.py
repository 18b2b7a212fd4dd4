"""Fencing tokens are for the code alone: no text that the package makes, for whomever, has one in it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import events

PACKAGE = Path(events.__file__).parent
# What they call a token is another thing: a secret of HTTP, and what a broker wants acknowledged.
OTHER_TOKENS = ("bridges",)
TOKENS = {"token", "tokens"}
LOGS = {"debug", "info", "warning", "error", "exception", "critical", "log", "warn"}
TEXTS = {"str", "repr", "format", "join", "print"}
VALUES_FOR_PEOPLE = {"Moment", "Happening", "Failure", "Finding", "Delivery"}


def texts_with_a_token(source: str) -> Iterator[int]:
    """The lines of code in which a token becomes text, a log's field, or a value that is shown."""
    tree = ast.parse(source)
    tokens = TOKENS - set(_texts_by_that_name(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) or _makes_text(node) or _is_for_people(node):
            yield from (one.lineno for one in ast.walk(node) if _is_one_of(tokens, one))


def _texts_by_that_name(tree: ast.AST) -> Iterator[str]:
    """Parameters such as `token: str`, which is a part of JSON."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and isinstance(node.annotation, ast.Name) and node.annotation.id == "str":
            yield node.arg


def _makes_text(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp):  # "%d" % token
        return isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant) and isinstance(node.left.value, str)
    return isinstance(node, ast.Call) and _name_of(node.func) in TEXTS


def _is_for_people(node: ast.AST) -> bool:
    """A log's line, an error, or the value of a timeline, a finding or the like."""
    if isinstance(node, ast.Raise):
        return True
    return isinstance(node, ast.Call) and _name_of(node.func) in LOGS | VALUES_FOR_PEOPLE


def _name_of(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _is_one_of(tokens: set[str], node: ast.AST) -> bool:
    return (node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")) in tokens


@pytest.mark.parametrize(
    "source",
    [
        'f"attempt {claim.token}"',
        'log.warning("attempt %d", claim.token)',
        'log.info("lost", extra={"attempt": claim.token})',
        'raise LeaseLost("attempt " + str(one.token))',
        '"attempt %d" % token',
        'Moment(at, "started", handler, detail=tokens[event_id])',
    ],
)
def test_it_is_seen_where_code_tells_a_token(source: str) -> None:
    assert list(texts_with_a_token(source))


def test_no_text_of_the_package_has_a_token() -> None:
    # When every module is looked through that knows deliveries
    files = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in OTHER_TOKENS]
    found = [f"{path.relative_to(PACKAGE)}:{line}" for path in files for line in texts_with_a_token(path.read_text())]
    # Then none makes a text of a token
    assert found == []


def test_no_page_has_a_token() -> None:
    pages = list(PACKAGE.rglob("*.html"))
    assert pages
    assert [page.name for page in pages if ".token" in page.read_text()] == []
