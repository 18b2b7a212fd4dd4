"""The documents of this project: which there are, what stands between two markers, and where their links lead."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = sorted(DOCS.rglob("*.md"))
# All that are read by people, in a git host or on a site that is built from docs/.
DOCUMENTS = sorted(
    {
        README,
        ROOT / "CHANGELOG.md",
        *PAGES,
        *(page for folder in ("tests", "scripts", "examples", "rigs") for page in (ROOT / folder).rglob("*.md")),
    }
)

_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`((?:(?!\n\n)[^`])+)`")  # within one paragraph
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def name_of(document: Path) -> str:
    """Its path, as a test's id."""
    return document.relative_to(ROOT).as_posix()


def between(document: Path, name: str) -> str:
    """What stands between `<!-- name: ... -->` and `<!-- end of name -->`."""
    found = re.search(rf"<!-- {name}: .*? -->\n(.*?)<!-- end of {name} -->", document.read_text(), re.DOTALL)
    assert found is not None, f"{name_of(document)} has no marker of {name}"
    return found[1].strip()


def prose(document: Path) -> str:
    """Its text without blocks of code and without words in backticks."""
    return _CODE.sub("", _FENCED.sub("", document.read_text()))


def links(document: Path) -> list[str]:
    """The targets of its links and pictures, as written."""
    return _LINK.findall(prose(document))


def anchors(document: Path) -> list[str]:
    """The anchors of its headings, as a git host makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", document.read_text()), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]


def quoted(document: Path) -> list[str]:
    """What it says in backticks outside of blocks, each in one line."""
    text = _FENCED.sub("", document.read_text())
    return [" ".join(words.split()) for words in _CODE.findall(text)]


def shown_lines(document: Path) -> list[str]:
    """The lines of its blocks of code."""
    return [line for block in _FENCED.findall(document.read_text()) for line in block.splitlines()[1:-1]]
