"""Docs/threats.md, held: what somebody can't who reaches Flower. See also test_flower_access.py."""

from collections.abc import Iterator

import pytest

from support.flower import Flower
from support.night import EVIL, died, ledger
from support.store import Store

PASSWD = ("/static/../../../../../../etc/passwd", "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
          "/static//etc/passwd", "/events/../../../../etc/passwd", "/events/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
          "/dead-letters/..%5c..%5cetc%5cpasswd")  # fmt: skip


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Flower, Flower]]:
    """One with a login, and one without."""
    with ledger(tmp_path_factory.mktemp("flowers")) as (system, store):
        both = Flower(system), Flower(system, login="")
        for one in both:
            one.answers()
        yield store, *both


def test_no_path_leads_to_a_file(flowers: tuple[Store, Flower, Flower]) -> None:
    _, private, _ = flowers
    for path in PASSWD:
        answer = private.get(path)
        assert answer.status in (400, 403, 404), path
        assert "root:" not in answer.text


def test_without_a_login_nobody_ends_or_sends_anything(flowers: tuple[Store, Flower, Flower]) -> None:
    # Given a Flower without a login, whose pages everybody may see
    store, _, nobodys = flowers
    (event_id,) = died(store)
    assert "alert(1)" in nobodys.sees(f"/events/{event_id}")
    assert EVIL not in nobodys.sees(f"/events/{event_id}")
    # When Flower's own API is asked, then it is refused, and so is our Revoke
    for path in ("/api/workers", "/api/tasks", "/api/task/info/x"):
        assert nobodys.get(path).status == 401, path
    for path in ("/api/worker/shutdown/w", "/api/worker/pool/restart/w", "/api/task/async-apply/hear",
                 "/api/task/send-task/hear", "/api/worker/queue/cancel-consumer/w"):  # fmt: skip
        assert nobodys.post(path, {}).status == 401, path
    assert nobodys.post("/api/task/revoke/x", {"terminate": "true"}).status in (401, 403)


def test_no_other_site_ends_a_worker_by_whoever_is_logged_in(flowers: tuple[Store, Flower, Flower]) -> None:
    _, private, _ = flowers
    for path in ("/api/worker/shutdown/w", "/api/task/revoke/x"):
        for headers in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
            assert private.post(path, {}, **headers).status == 403, (path, headers)
