"""Triggers for what SQLite doesn't do by itself and foreign programs rely on: one form of ids, columns of one type."""


def bare(id_: str) -> str:
    """SQL: an id without its hyphens."""
    return f"replace({id_}, '-', '')"


def is_no_uuid(id_: str) -> str:
    """SQL: whether the id has no canonical form."""
    return f"length({bare(id_)}) <> 32 OR {bare(id_)} GLOB '*[^0-9a-fA-F]*'"


def canonical(id_: str) -> str:
    """SQL: the id in lower case, with its hyphens."""
    parts = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
    return "lower(" + " || '-' || ".join(f"substr({bare(id_)}, {start}, {length})" for start, length in parts) + ")"


# Programs write ids with or without hyphens, in either case. The ledger compares text, so it needs one form.
# The same event again, in another spelling, is left out; another event of that id breaks the primary key, or what else
# the INSERT says of that. What is no UUID at all is refused at once.
_CANONICAL = canonical("NEW.id")
CANONICAL_ID = f"""
CREATE TRIGGER event_store_canonical_id AFTER INSERT ON event_store
WHEN NEW.id IS NOT {_CANONICAL}
BEGIN
    SELECT RAISE(ABORT, 'event_store.id is no UUID') WHERE {is_no_uuid("NEW.id")};
    DELETE FROM event_store
    WHERE rowid = NEW.rowid AND EXISTS (
        SELECT 1 FROM event_store AS known
        WHERE known.id = {_CANONICAL} AND known.event_type IS NEW.event_type AND known.event_data IS NEW.event_data
            AND ifnull(known.aggregate_id, '') = ifnull(NEW.aggregate_id, '')
    );
    UPDATE event_store SET id = {_CANONICAL} WHERE rowid = NEW.rowid;
    DELETE FROM event_store WHERE rowid = NEW.rowid AND id IS NEW.id;
END
"""

# SQLite stores any value. A `processed` that isn't true becomes false, so that the relay finds the event; text is text.
_PLAIN = """
UPDATE event_store SET
    processed = CASE WHEN processed IS 1 THEN 1 ELSE 0 END,
    event_type = CAST(event_type AS TEXT),
    aggregate_id = CAST(aggregate_id AS TEXT)
WHERE rowid = NEW.rowid;
"""
_ISNT_PLAIN = """
(NEW.processed IS NOT 0 AND NEW.processed IS NOT 1)
OR typeof(NEW.event_type) = 'blob' OR typeof(NEW.aggregate_id) = 'blob'
"""
PLAIN_ROWS = tuple(
    f"CREATE TRIGGER event_store_plain_{name} AFTER {what} ON event_store WHEN {_ISNT_PLAIN} BEGIN {_PLAIN} END"
    for name, what in (("insert", "INSERT"), ("update", "UPDATE OF processed, event_type, aggregate_id"))
)
