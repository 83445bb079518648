"""Waiting longer after each failure in a row."""


class Backoff:
    """`until` is the moment before which nothing should be tried; it lies in the past when nothing failed."""

    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s, self._most_s = first_s, most_s
        self._next_s = first_s
        self.until = float("-inf")

    def failed(self, now: float) -> None:
        """Failures of things tried before the wait began say nothing new: they do not lengthen it."""
        if now < self.until:
            return
        self.until = now + self._next_s
        self._next_s = min(2 * self._next_s, self._most_s)

    def reset(self) -> None:
        self._next_s = self._first_s
        self.until = float("-inf")

    def is_waiting(self, now: float) -> bool:
        return now < self.until
