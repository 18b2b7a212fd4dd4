"""`events doctor` and indexes that are far larger than what is in them."""

from dataclasses import replace

from events.diagnosis.findings import Level
from events.diagnosis.index_bloat import index_bloat
from events.diagnosis.upkeep import LIMITS
from events.pipeline import Pipeline
from support.upkeep import FEW, OWN, Say, fill


def test_a_bloated_index_is_named_and_built_anew(pipeline: Pipeline, say: Say) -> None:
    # Given indexes of random keys, of which every twentieth is left
    fill(say, 60_000)
    say(f"VACUUM ANALYZE {OWN}")
    assert [one.level for one in index_bloat(pipeline, FEW)] == [Level.OK]
    say(f"DELETE FROM {OWN} WHERE hashtext(id::text) % 20 <> 0")
    say(f"VACUUM {OWN}")
    # Then both are named
    found = index_bloat(pipeline, FEW)
    assert [one.found.partition(" ")[0] for one in found] == ["ledger.event_actions_event", "ledger.event_actions_pkey"]
    assert all(one.level is Level.WARNING for one in found)
    # But not as long as they are small
    assert [one.level for one in index_bloat(pipeline)] == [Level.OK]
    # And the cure gives the room back
    for one in found:
        say(one.cure.removeprefix("run: "))
    assert [one.level for one in index_bloat(pipeline, FEW)] == [Level.OK]


def test_a_new_index_is_as_large_as_it_needs_to_be(pipeline: Pipeline, say: Say) -> None:
    # Given indexes of all kinds: of expressions, partial ones, of one value many times, long, with room to grow
    say("CREATE INDEX roomy ON ledger.event_store (aggregate_id, version) WITH (fillfactor = 20)")
    say("INSERT INTO ledger.event_store (id, aggregate_id, event_type, event_data, processed, metadata) "
        "SELECT gen_random_uuid(), repeat('x', 80) || i, 'OrderPlaced', '{}', i % 2 = 0, "
        "json_build_object('causation_id', gen_random_uuid(), 'correlation_id', gen_random_uuid())::jsonb "
        "FROM generate_series(1, 30000) i")  # fmt: skip
    say("REINDEX TABLE ledger.event_store")
    say("ANALYZE ledger.event_store")
    # Then none is taken for more than twice of what it needs
    assert [one.level for one in index_bloat(pipeline, replace(LIMITS, bloat=2, wasted=2**18))] == [Level.OK]
