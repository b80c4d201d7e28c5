"""Which keys of the metadata filters can be expected to use, and how the numbers at a key are divided for ranges.

Knows nothing of indexes.
"""

from dataclasses import dataclass

from service.store.filters import usable_key
from service.store.postgres.filters import canonical, ordered
from service.store.postgres.schema import PgConnection, table

# So many items are looked at to find keys.
SAMPLED = 20_000
# A key whose numbers are as many may be used with ranges.
LEAST_NUMBERS = 16
# About so many items have numbers in one interval; ranges are divided if they have at least two, at most so many.
INTERVAL_ITEMS, MOST_INTERVALS = 10_000, 80


@dataclass(frozen=True, slots=True)
class FilterKey:
    """A key at the top level of the metadata that filters can be expected to use."""

    name: str
    values: int  # of the sample, those that are frequent
    has_ranges: bool  # many different numbers


def filter_keys(connection: PgConnection, number: int, count: int, least_share: float) -> list[FilterKey]:
    """Return the keys with frequent values or many numbers, those with the fewest frequent values first.

    `least_share`: of the items that have a value, for it to be frequent. A value that all items have is of no use.
    """
    percent = min(100.0, 100 * SAMPLED / max(count, 1))
    rows = connection.execute(
        f"WITH sample AS MATERIALIZED (SELECT fields FROM {table(number)} TABLESAMPLE BERNOULLI (%s) REPEATABLE (0)), "  # noqa: S608
        "total AS (SELECT count(*) AS items FROM sample), "
        "lists AS (SELECT key, CASE jsonb_typeof(value) WHEN 'array' THEN value ELSE jsonb_build_array(value) END AS list "
        "FROM sample, jsonb_each(CASE jsonb_typeof(fields) WHEN 'object' THEN fields ELSE '{}' END)), "
        "counts AS (SELECT key, value, jsonb_typeof(value) AS kind, count(*) AS times "
        "FROM lists, jsonb_array_elements(list) AS value GROUP BY key, value) "
        "SELECT key, count(*) FILTER (WHERE times >= %s * items AND times < items), "
        "count(*) FILTER (WHERE kind = 'number') FROM counts, total "
        "WHERE kind NOT IN ('object', 'array') GROUP BY key ORDER BY 2, key",
        (percent, least_share),
    )
    found = [FilterKey(key, values, numbers >= LEAST_NUMBERS) for key, values, numbers in rows if usable_key(key)]
    return [key for key in found if key.values or key.has_ranges]


def bounds(connection: PgConnection, number: int, key: str) -> list[float]:
    """Return numbers that divide those at a key into intervals of about as many items each; none if they are few."""
    compared, at = ordered(key, is_text=False)
    numbers = f"FROM (SELECT ({compared})::float8 AS found FROM {table(number)}) AS numbers WHERE found IS NOT NULL"  # noqa: S608
    row = connection.execute(f"SELECT count(*) {numbers}".encode(), at).fetchone()
    pieces = min((row[0] if row else 0) // INTERVAL_ITEMS, MOST_INTERVALS)
    if pieces < 2:
        return []
    shares = [piece / pieces for piece in range(1, pieces)]
    query = f"SELECT percentile_disc(%s::float8[]) WITHIN GROUP (ORDER BY found) {numbers}"
    [(values,)] = connection.execute(query.encode(), (shares, *at))
    return [canonical(value) for value in sorted(set(values))]


def most_within(connection: PgConnection, number: int, key: str, bounds: list[float]) -> int:
    """Return how many items the interval with the most has."""
    compared, at = ordered(key, is_text=False)
    rows = connection.execute(
        "SELECT count(*) FROM (SELECT width_bucket(found, %s::float8[]) AS place "  # noqa: S608
        f"FROM (SELECT ({compared})::float8 AS found FROM {table(number)}) AS numbers WHERE found IS NOT NULL) AS places "
        "GROUP BY place ORDER BY 1 DESC LIMIT 1",
        (list(map(float, bounds)), *at),
    ).fetchone()
    return rows[0] if rows else 0
