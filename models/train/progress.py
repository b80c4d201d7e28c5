"""Tell the user how far a run is: a bar on a terminal, otherwise a line every so often; and how long it will take.

Knows nothing of models or pictures. It only looks at the clock, so it never changes the result of a run.
"""

import sys
import time
from collections.abc import Callable

from tqdm import tqdm

# The estimate is made after so many steps or seconds, without the first step, which is slower.
TRIAL_STEPS, TRIAL_SECONDS = 10, 3.0
# Without a terminal, the first line comes after 10 s, and later ones after twice the pause before, up to 60 s.
FIRST_PAUSE, LONGEST_PAUSE = 10.0, 60.0


class Reporter:
    """Reports the progress of a run with `steps` steps, `per_epoch` in an epoch, from step `done` on."""

    def __init__(
        self, steps: int, per_epoch: int, done: int, quiet: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._steps, self._per_epoch, self._done, self._clock = steps, per_epoch, done, clock
        self._estimated = quiet
        self._first: tuple[int, float] | None = None  # the step and the time from which the speed is measured
        self._pause, self._last = FIRST_PAUSE, clock()
        self.bar = tqdm(total=steps, initial=done, unit="step", disable=None, dynamic_ncols=True)

    def step(self) -> None:
        """Count one step, and report if it is time to."""
        self._done += 1
        self.bar.update()
        now = self._clock()
        if self._first is None:
            self._first = self._done, now
            return
        if not self._estimated and (self._done - self._first[0] >= TRIAL_STEPS or now - self._first[1] >= TRIAL_SECONDS):
            self._estimated = True
            tqdm.write(f"time: {duration(self._left(self._steps))} for {self._steps - self._done} more steps, "
                       f"{1000 * self._pace():.0f} ms each, without validation")  # fmt: skip
        if self.bar.disable and now - self._last >= self._pause:
            self._last, self._pause = now, min(2 * self._pause, LONGEST_PAUSE)
            tqdm.write(self.line(), file=sys.stderr)

    def line(self) -> str:
        """Return where the run stands: epoch, steps of the epoch, and the time left in the epoch and in the run."""
        epoch, position = divmod(max(0, self._done - 1), self._per_epoch)
        epochs = -(-self._steps // self._per_epoch)
        end = min(self._steps, (epoch + 1) * self._per_epoch)
        return (
            f"epoch {epoch + 1} of {epochs}: {position + 1} of {end - epoch * self._per_epoch} steps, "
            f"{duration(self._left(end))} left in the epoch, {duration(self._left(self._steps))} left in the run"
        )

    def describe(self, terms: str) -> None:
        """Show terms of the loss, and the time left in the epoch, beside the bar."""
        if not self.bar.disable:
            end = min(self._steps, -(-self._done // self._per_epoch) * self._per_epoch)
            self.bar.set_postfix_str(f"{terms}, {duration(self._left(end))} left in the epoch")

    def close(self) -> None:
        """Close the bar."""
        self.bar.close()

    def _pace(self) -> float:
        """Return the seconds of a step, all pauses between steps included."""
        if self._first is None or self._done == self._first[0]:
            return 0.0
        return (self._clock() - self._first[1]) / (self._done - self._first[0])

    def _left(self, end: int) -> float:
        return (end - self._done) * self._pace()


def duration(seconds: float) -> str:
    """Return a rounded duration for people: "8 s", "5 min", "2 h 10 min"."""
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
