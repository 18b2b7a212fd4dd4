"""Indexes that are far larger than what is in them: B-trees whose pages emptied and were not given back."""

from events.diagnosis.findings import Finding, ok, warning
from events.diagnosis.upkeep import LIMITS, Limits, ours, rows
from events.pipeline import Pipeline
from events.text import plural

_GUESS = 32  # bytes of a value of which there are no statistics, or none that the role may see

# Entries and pages are those that the last VACUUM or ANALYZE counted, both at the same time. An entry has a header of 8
# bytes and a pointer of 4; a page has 40 bytes that entries can't have. Values that repeat take less than this says.
# Because of its LIMIT, the subquery looks up the few columns that are asked for, however many the database has.
_INDEXES = """
    SELECT index.oid::regclass::text AS name, index.relpages * size.page AS bytes, index.reltuples AS entries,
        index.reltuples * (12 + ceil(sum(coalesce(known.avg_width, nullif(at.attlen, -1), :guess)) / 8) * 8)
            * size.page / (size.page - 40) * 100 / coalesce((
                SELECT option_value::int FROM pg_catalog.pg_options_to_table(index.reloptions)
                WHERE option_name = 'fillfactor'), 90) AS needed
    FROM (SELECT current_setting('block_size')::float8 AS page) size, pg_catalog.pg_index i
    JOIN pg_catalog.pg_class index ON index.oid = i.indexrelid
    JOIN pg_catalog.pg_am am ON am.oid = index.relam AND am.amname = 'btree'
    JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute at ON at.attrelid = i.indexrelid
    LEFT JOIN pg_catalog.pg_attribute col ON col.attrelid = i.indrelid AND col.attnum = i.indkey[at.attnum - 1]
    LEFT JOIN LATERAL (
        SELECT avg_width FROM pg_catalog.pg_stats
        WHERE schemaname = n.nspname AND attname = coalesce(col.attname, at.attname) AND NOT inherited
            AND tablename = CASE WHEN col.attnum IS NULL THEN index.relname ELSE c.relname END
        LIMIT 1) known ON true
    WHERE i.indrelid = ANY (ARRAY[{ours}]::oid[]) AND i.indisvalid AND index.relkind = 'i' AND index.relpages > 0
        AND index.reltuples >= 0
    GROUP BY index.oid, index.relname, index.relpages, index.reltuples, index.reloptions, size.page
    ORDER BY index.relname"""


def index_bloat(pipeline: Pipeline, limits: Limits = LIMITS) -> list[Finding]:
    """Which indexes of our tables are several times larger than their entries need, by a rough estimate."""
    if pipeline.ledger.engine.dialect.name == "sqlite":
        return []
    found = rows(pipeline, _INDEXES.format(ours=ours()), guess=_GUESS)
    findings = []
    for index in found:
        if index.bytes - index.needed >= limits.wasted and index.bytes >= limits.bloat * index.needed:
            needs = f"{index.entries:,.0f} entries need about {_megabytes(index.needed)}"
            says = f"{index.name} has {_megabytes(index.bytes)}, where {needs}"
            findings.append(warning("index bloat", says, f"run: REINDEX INDEX CONCURRENTLY {index.name}"))
    whole = _megabytes(sum(index.bytes for index in found))
    return findings or [ok("index bloat", f"{plural(len(found), 'index', 'indexes')} of {whole}, none far too large")]


def _megabytes(size: float) -> str:
    return f"{size / 2**20:,.0f} MB"
