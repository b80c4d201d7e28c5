"""A progress bar of tqdm. Without tqdm, or unless it is wanted, there is none."""

from types import TracebackType
from typing import Any, Self


class Progress:
    """Counts items on a bar."""

    def __init__(self, wanted: bool, what: str, total: int | None) -> None:
        self._wanted, self._what, self._total = wanted, what, total
        self._bar: Any = None

    def __enter__(self) -> Self:
        if self._wanted:
            try:
                from tqdm import tqdm
            except ImportError:
                return self
            self._bar = tqdm(desc=self._what, total=self._total, unit=" items")
        return self

    def add(self, count: int) -> None:
        """Count items that are done."""
        if self._bar is not None:
            self._bar.update(count)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()
