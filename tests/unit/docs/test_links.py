"""No link between documents is dead, in a git host or on a site that is built from docs/ alone."""

import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest

from support.documents import DOCS, DOCUMENTS, PAGES, ROOT, anchors, links, name_of, quoted

ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:")  # a URL


def dead(document: Path) -> list[str]:
    """Its links that lead nowhere: to no file, or to no heading that can be told from the others."""
    found = []
    for link in links(document):
        path, _, anchor = unquote(link).partition("#")
        if ELSEWHERE.match(link):
            continue
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and Counter(anchors(target))[anchor] != 1):
            found.append(link)
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_no_link_is_dead(document: Path) -> None:
    assert dead(document) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_link_leads_out_of_the_folder_of_which_a_site_is_built(page: Path) -> None:
    # Given where its links lead
    paths = [link.partition("#")[0] for link in links(page) if not ELSEWHERE.match(link)]
    targets = {path: (page.parent / path).resolve() for path in paths if path}
    # Then each is in docs/, and is a file: a folder would have to have a page of its own
    inside = [path for path, to in targets.items() if to.is_relative_to(DOCS)]
    assert list(targets) == inside
    assert [path for path, to in targets.items() if not to.is_file()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_anchors_are_the_same_on_a_git_host_and_on_a_site(document: Path) -> None:
    """They make the same of a heading, except where two hyphens or spaces would follow each other."""
    assert [link for link in links(document) if "--" in link.partition("#")[2]] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_file_that_it_names_exists(document: Path) -> None:
    """In backticks, as seen from the root: `events/relay/relay.py`."""
    path_in_here = re.compile(r"(?:events|tests|docs|examples|rigs)/[\w./-]*")
    named = [words for words in quoted(document) if path_in_here.fullmatch(words)]
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    # Given a document with two links that lead somewhere, one to no file, and one to no heading
    page = tmp_path / "page.md"
    page.write_text("# Here\n[a](page.md#here) [b](#here) [c](gone.md) [d](#nowhere) `[e](code.md)`\n")
    # Then the other two are found
    assert dead(page) == ["gone.md", "#nowhere"]


def test_the_table_of_contents_has_every_page_once() -> None:
    index = DOCS / "index.md"
    listed = Counter((DOCS / link).resolve() for link in links(index) if "#" not in link)
    assert sorted(listed) == [page for page in PAGES if page != index]
