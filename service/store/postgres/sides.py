"""The readers and the writers of a store in PostgreSQL: how many there may be, and their threads.

Knows nothing of connections.
"""

from service.store.daemon_threads import DaemonThreads
from service.store.postgres.slots import Slots


class Side:
    """Slots and threads of the readers or of the writers. There is a thread for each slot, so no request waits for one.

    `unchanged` and `in_doubt` end the error messages for writers. They are empty for readers.
    """

    def __init__(self, most: int, most_of_one: int, patience: float, name: str, writes: bool) -> None:
        self.writes = writes
        self.unchanged = "; nothing was changed" if writes else ""
        self.in_doubt = "; the change may or may not have been made" if writes else ""
        self.slots = Slots(most, most_of_one, patience)
        self.threads = DaemonThreads(most, name)
