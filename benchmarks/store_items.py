"""Items of the benchmark of large collections: made from a seed, and copied into PostgreSQL in its binary format.

The items lie around 100 places. Some keys of their metadata go with the place, others are random. Knows nothing of searches.
"""

from dataclasses import dataclass

import numpy as np
import psycopg

from service.store.interface import Floats
from service.store.postgres.schema import table

DIM, PLACES, BLOCK = 32, 100, 50_000
KEYS = "label", "region", "split", "n", "at"
# All rows have the same number of bytes.
JSON = '{"label":"l?","region":"r??","split":"?????","n":???????,"at":?????}'
# Shares in percent of the values of "split", which have names of equal length. The other items have rare values.
SPLITS = {"train": 50, "valid": 25, "tenth": 10, "fifth": 5, "fifty": 2, "cents": 1}
# The least numbers at "n", which are random, and at "at", which grow by so many from place to place.
N_LEAST, N_MOST, AT_LEAST, AT_STEP = 1_000_000, 2_000_000, 10_000, 100
COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)


@dataclass(frozen=True)
class Items:
    """What is in the collection, for the exact answers."""

    places: Floats  # (100, D): the middle of each place
    both: Floats  # (N, 2 D): mu and sigma
    place: np.ndarray  # (N,): the number of the place, 0 to 99
    split: np.ndarray  # (N,): random, the index of a value of SPLITS, or their number for a rare value
    n: np.ndarray  # (N,): random numbers
    at: np.ndarray  # (N,): numbers that grow with the place

    def near(self, rng: np.random.Generator, place: int) -> Floats:
        """Return a query near a place: mu and sigma."""
        query: Floats = _around(rng, self.places[[place]])[0]
        return query


def make_items(count: int) -> Items:
    """Make the items."""
    rng = np.random.default_rng(0)
    groups = rng.normal(0, 0.7, (10, DIM))
    places = (np.repeat(groups, 10, axis=0) + rng.normal(0, 0.4, (PLACES, DIM))).astype(np.float32)
    place, split = rng.integers(0, 100, (2, count))
    n, at = rng.integers(N_LEAST, N_MOST, count), AT_LEAST + AT_STEP * place + rng.integers(0, AT_STEP, count)
    split = np.searchsorted(np.cumsum(list(SPLITS.values())), split, "right")
    both = np.empty((count, 2 * DIM), np.float32)
    for start in range(0, count, BLOCK):
        both[start : start + BLOCK] = _around(rng, places[place[start : start + BLOCK]])
    return Items(places, both, place, split, n, at)


def _around(rng: np.random.Generator, middles: Floats) -> Floats:
    mu = middles + rng.normal(0, 0.59, middles.shape)
    return np.hstack([mu, rng.uniform(0.05, 0.3, middles.shape)]).astype(np.float32)


def copy_items(connection: psycopg.Connection[tuple[object, ...]], number: int, items: Items) -> None:
    """Copy the items into the table of an empty collection."""
    count = len(items.both)
    columns = "id, seq, mu, both_, has_sigma, metadata, fields"
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY {table(number)} ({columns}) FROM STDIN (FORMAT binary)".encode()) as copy:
            copy.write(COPY_HEAD)
            for start in range(0, count, BLOCK):
                copy.write(_rows(items, start, min(start + BLOCK, count)))
            copy.write(b"\xff\xff")
        cursor.execute("UPDATE vae_collections SET count = %s, seq = %s WHERE number = %s", (count, count, number))
        cursor.execute("INSERT INTO vae_keys SELECT %s, unnest(%s::text[])", (number, list(KEYS)))
        cursor.execute(f"VACUUM ANALYZE {table(number)}".encode())


def _rows(items: Items, start: int, stop: int) -> bytes:
    """Return rows of the binary format: the number of columns, then the length and the bytes of each."""
    numbers = np.arange(start, stop)
    some = slice(start, stop)
    both = items.both[some]
    json = _metadata(items, numbers)
    kinds: dict[str, np.ndarray] = {
        "id": _digits(numbers, 9),
        "seq": (numbers + 1).astype(">i8")[:, None].view(np.uint8),
        "mu": _vectors(both[:, :DIM]),
        "both_": _vectors(both),
        "has_sigma": np.ones((len(numbers), 1), np.uint8),
        "metadata": json,
        "fields": np.hstack([np.ones((len(numbers), 1), np.uint8), json]),  # the version of jsonb
    }
    parts = [np.full(len(numbers), len(kinds), ">i2")[:, None].view(np.uint8)]
    for values in kinds.values():
        parts += [np.full(len(numbers), values.shape[1], ">i4")[:, None].view(np.uint8), values]
    return np.hstack(parts).tobytes()


def _vectors(numbers: Floats) -> np.ndarray:
    head = np.tile(np.array([numbers.shape[1], 0], ">i2").view(np.uint8), (len(numbers), 1))
    return np.hstack([head, np.ascontiguousarray(numbers.astype(">f4")).view(np.uint8)])


def _metadata(items: Items, numbers: np.ndarray) -> np.ndarray:
    rows = np.tile(np.frombuffer(JSON.encode(), np.uint8), (len(numbers), 1))
    place = items.place[numbers]
    values = {
        "label": _digits(place // 10, 1),
        "region": _digits(place, 2),
        "split": _named(items.split[numbers], numbers),
        "n": _digits(items.n[numbers], 7),
        "at": _digits(items.at[numbers], 5),
    }
    for key, value in values.items():
        at = JSON.index("?", JSON.index(f'"{key}":'))
        rows[:, at : at + value.shape[1]] = value
    return rows


def _named(split: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return the names of frequent values, and rare ones for the others."""
    names = _digits(numbers % 100_000, 5)
    for index, name in enumerate(SPLITS):
        names[split == index] = np.frombuffer(name.encode(), np.uint8)
    return names


def _digits(numbers: np.ndarray, count: int) -> np.ndarray:
    return (numbers[:, None] // 10 ** np.arange(count - 1, -1, -1) % 10 + ord("0")).astype(np.uint8)
