"""What was made and may be needed again, but no more of it than so much."""

import collections
import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Made = TypeVar("Made")


class RecentlyUsed(Generic[Made]):
    """Keeps what was made for some keys, those that were asked for last.

    Threads may share it; for each key one of them makes what all of them get.

    Args:
        most: How many to keep, an int.

    Example:
        ```python
        from keras_encdec.backend.recently_used import RecentlyUsed

        squares = RecentlyUsed(most=2)
        print(squares.get(3, lambda: 3**2), len(squares))
        ```
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._made: collections.OrderedDict[Hashable, Made] = collections.OrderedDict()
        self._lock = threading.RLock()

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Returns what was made for a key, or makes it, which should be quick."""
        with self._lock:
            if key not in self._made:
                self._made[key] = make()
                if len(self._made) > self._most:
                    self._made.popitem(last=False)
            self._made.move_to_end(key)
            return self._made[key]

    def values(self) -> list[Made]:
        """Returns all that is kept, a list."""
        with self._lock:
            return list(self._made.values())

    def clear(self) -> None:
        """Lets everything go."""
        with self._lock:
            self._made.clear()

    def __len__(self) -> int:
        return len(self._made)
