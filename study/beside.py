"""Work that goes on beside a pack's training, such as writing to a storage that takes its time."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Beside:
    """Does one thing at a time in a thread. What fails there is raised to whoever begins the next or waits."""

    def __init__(self) -> None:
        """Do nothing yet."""
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._work: Future[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether the last thing that was begun goes on."""
        return self._work is not None and not self._work.done()

    def begin(self, work: Callable[[], None]) -> None:
        """Begin something, once the last thing has ended."""
        self.wait()
        self._work = self._thread.submit(work)

    def wait(self) -> None:
        """Return when nothing goes on."""
        work, self._work = self._work, None
        if work:
            work.result()
