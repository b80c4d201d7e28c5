"""The command line of `python -m service.store`. Knows nothing of what the subcommands do."""

import argparse
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import get_args

from models.preprocess import Background, Invert
from models.program import add_version_flag, program
from service.latents.distances import MAX_SIGMA_WEIGHT, METRICS

# Of `index`: the flags for making indexes, and their defaults. PostgreSQL allows 1024 processes beside the first one.
MAKING = ("numbers", "filter_key", "range_key", "no_keys", "memory", "workers")
MEMORY, WORKERS, MOST_WORKERS = "1GB", 2, 1025
# Of `load`: the default of --rows-per-file, and the flags that are for one output only.
ROWS_PER_FILE = 65536
FOR_FILES: tuple[str, ...] = ("rows_per_file",)
FOR_COLLECTIONS = ("store", "metric", "sigma_weight", "replace", "unreadable")
NEW = "OUT must be new, empty or an earlier {0}; it may not be this store, nor another one in use. Links are followed."


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(program("service.store"), description="Load, dump and back up the latent store.")
    add_version_flag(parser)
    # The flag may stand before or after the subcommand.
    store, sqlite, postgres = (argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS) for _ in range(3))
    for one in (parser, store):
        one.add_argument("--store", help="path of a sqlite file, or postgresql://... (default: VAE_STORE)")
    sqlite.add_argument("--store", help="path of a sqlite file (default: VAE_STORE)")
    postgres.add_argument("--store", help="postgresql://..., the address of a database (default: VAE_STORE)")
    commands = parser.add_subparsers(dest="command", required=True)
    loading = commands.add_parser(
        "load",
        parents=[store],
        help="encode pictures, rows, drawings or texts into a collection, which is created if needed",
        description="Encode pictures, or what the model is about, and add them to a collection, which is created if needed.",
    )
    into = loading.add_mutually_exclusive_group(required=True)
    into.add_argument("--collection", help="name of the collection")
    into.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="instead of a collection, write Parquet files into this directory: id, mu, sigma, metadata",
    )
    loading.add_argument(
        "--model", help="model that encodes them (default: that of the collection; for a new one VAE_DEFAULT_MODEL)"
    )
    loading.add_argument(
        "--models-dir",
        type=Path,
        help="directory that contains a checkpoint directory for each model (default: VAE_MODELS_DIR)",
    )
    loading.add_argument(
        "--metric",
        choices=list(METRICS),
        help="distance by which a new collection is searched (default: the one that was chosen for the model, see /models)",
    )
    loading.add_argument(
        "--sigma-weight",
        type=_weight,
        metavar="W",
        help="weight of sigma in the metric w2, above 0, at most 1000 (default: 1 with --metric w2, else the one that was "
        "chosen for the model)",
    )
    loading.add_argument(
        "--prefix",
        action="store_true",
        help="begin each id with the name of the picture's folder, for paths that have the same ids",
    )
    loading.add_argument(
        "--id-column",
        metavar="COLUMN",
        help="column of a table that has the ids (default: ids are the name of the file and the number of the row)",
    )
    loading.add_argument(
        "--metadata-columns",
        type=_columns,
        default=(),
        metavar="COLUMNS",
        help="columns of a table that become metadata, separated by commas; '*' for all that the model does not take",
    )
    loading.add_argument(
        "--picture-column", metavar="COLUMN", help="column of Parquet files that has the pictures (default: the only one)"
    )
    loading.add_argument(
        "--rows-per-file",
        type=_count,
        metavar="N",
        help="items of each Parquet file of --out; what is not in a file yet is encoded again after a kill (default: "
        f"{ROWS_PER_FILE})",
    )
    loading.add_argument(
        "--unreadable", type=Path, metavar="FILE", help="write the items that cannot be read to this file, as lines of JSON"
    )
    loading.add_argument(
        "--engine",
        choices=["ray"],
        help="encode on the machines of the Ray cluster of RAY_ADDRESS, which must have the files and the models under the "
        "same paths (default: on this machine)",
    )
    loading.add_argument(
        "--workers",
        type=_count,
        metavar="N",
        help="encoders, each a process with VAE_THREADS threads, or one (default: from 20,000 items on one for each CPU, at "
        "most 16, or 4 with a GPU; for fewer items one in this process; with Ray as many as there is room for)",
    )
    loading.add_argument(
        "--replace", action="store_true", help="encode again what is already there, and store it if it has changed"
    )
    loading.add_argument(
        "--background", choices=get_args(Background), help="what transparent pictures are put on; see /encode"
    )
    loading.add_argument(
        "--invert", choices=get_args(Invert), help="swap dark and light: of all pictures, or by their borders"
    )
    loading.add_argument(
        "--max-corrupt",
        type=_share,
        default=0.01,
        metavar="SHARE",
        help="share of unreadable items above which the exit status is 1; one item is always allowed (default: 0.01)",
    )
    loading.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="picture, folder of pictures, Parquet file with pictures or folder of such files, npz or npy file, or IDX file "
        "(the format of MNIST); for models of tables CSV or Parquet, of drawings npz, ndjson or a folder of SVG, of texts a "
        "file of lines, a folder of texts, or ABC tunes",
    )
    dumping = commands.add_parser(
        "dump",
        parents=[store],
        help="write a collection to OUT.npz and OUT.jsonl",
        description=f"Write a collection to OUT.npz and OUT.jsonl. {NEW.format('dump')}",
    )
    dumping.add_argument("--collection", required=True, help="name of the collection")
    dumping.add_argument("out", type=Path, metavar="OUT", help="path without .npz and .jsonl, which are added")
    backing = commands.add_parser(
        "backup",
        parents=[sqlite],
        help="copy the sqlite file to OUT",
        description=f"Copy the sqlite file to OUT. The store may be in use. {NEW.format('backup')}",
    )
    backing.add_argument("out", type=Path, metavar="OUT", help="path of the copy")
    indexing = commands.add_parser(
        "index",
        parents=[postgres],
        help="make the indexes of a large collection in PostgreSQL",
        description="Make the indexes of a large collection in PostgreSQL, while it is used. If the command is ended, run it "
        "again: what is finished stays.",
    )
    indexing.add_argument("--collection", required=True, help="name of the collection")
    indexing.add_argument(
        "--numbers",
        choices=("float32", "float16"),
        help="numbers in the HNSW indexes; float16 takes half the space (default: those of the index that is there)",
    )
    indexing.add_argument(
        "--filter-key",
        action="append",
        default=[],
        metavar="KEY",
        help="key of the metadata that filters use with single values, such as label; may be repeated. Vector indexes "
        "over values of other keys are then dropped, all others stay (default: keys with frequent values, which are printed)",
    )
    indexing.add_argument(
        "--range-key",
        action="append",
        default=[],
        metavar="KEY",
        help="key of the metadata whose numbers filters compare with gt, gte, lt or lte, such as year; may be repeated "
        "(default: if no key is given, those with many different numbers)",
    )
    indexing.add_argument(
        "--no-keys", action="store_true", help="make only the index over all items; those for keys that are there stay"
    )
    indexing.add_argument(
        "--memory", help=f"memory for making an index, with its unit, such as 4GB (maintenance_work_mem; default: {MEMORY})"
    )
    indexing.add_argument(
        "--workers", type=_workers, help=f"processes that make an index, 1 to {MOST_WORKERS} (default: {WORKERS})"
    )
    indexing.add_argument(
        "--drop", action="store_true", help="drop the vector indexes, as before a bulk load; searches are exact then"
    )
    options = parser.parse_args(arguments)
    if options.command == "load":
        _check_output(loading, options)
    if options.command == "index":
        _check_indexing(indexing, options)
    return options


def _check_output(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End the program if flags are for the other output; set the one that has a default."""
    if options.out is None:
        reason, only = "only for --out, not with --collection", FOR_FILES
    else:
        reason, only = "only for collections, not with --out", FOR_COLLECTIONS
    if wrong := [f"--{name.replace('_', '-')}" for name in only if getattr(options, name, None)]:
        parser.error(f"{', '.join(wrong)}: {reason}")
    options.rows_per_file = options.rows_per_file or ROWS_PER_FILE


def _check_indexing(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End the program if flags contradict each other; set those that have a default."""
    if options.drop and (useless := [f"--{name.replace('_', '-')}" for name in MAKING if getattr(options, name)]):
        parser.error(f"--drop makes no indexes, so it cannot be combined with {', '.join(useless)}; leave one of them out")
    if options.no_keys and (options.filter_key or options.range_key):
        parser.error("--no-keys cannot be combined with --filter-key and --range-key; leave one of them out")
    options.memory, options.workers = options.memory or MEMORY, options.workers or WORKERS


def _workers(text: str) -> int:
    with suppress(ValueError):
        if 1 <= (count := int(text)) <= MOST_WORKERS:
            return count
    raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {MOST_WORKERS}, not {text!r}")


def _share(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (share := float(text)) <= 1:
            return share
    raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, not {text!r}")


def _count(text: str) -> int:
    with suppress(ValueError):
        if (count := int(text)) > 0:
            return count
    raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")


def _columns(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _weight(text: str) -> float:
    with suppress(ValueError):
        if 0 < (weight := float(text)) <= MAX_SIGMA_WEIGHT:
            return weight
    raise argparse.ArgumentTypeError(f"must be a number above 0 and at most {MAX_SIGMA_WEIGHT:g}, not {text!r}")
