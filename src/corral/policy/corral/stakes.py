"""Whether an instance is worth its memory for a while."""

import msgspec

MINUTE_S = 60.0
START_PART = 0.05
"""What the work of a start costs, of what it costs when a call waits for it."""


class Stakes(msgspec.Struct, frozen=True):
    """What an instance costs, and what it spares."""

    gib: float
    start_s: float
    """A call's wait without any instance."""
    service_s: float
    """Until one of several is free; 0.0: not known."""
    second_gib_min: float

    def spares_start(self, idle_s: float) -> bool:
        """Whether being idle for so long costs less than ending and starting again, though no call waits for it."""
        return self.gib * idle_s / MINUTE_S <= START_PART * self.start_s * self.second_gib_min

    def is_worth(self, chance: float, trial_s: float, number: int) -> bool:
        """Of instance `number`, counted from 0, for the time of a trial."""
        wait_s = min(self.start_s, self.service_s) if number and self.service_s else self.start_s
        # A call that comes, comes in the middle.
        idle_min = trial_s / MINUTE_S * (1 - chance / 2)
        return chance * wait_s * self.second_gib_min >= self.gib * idle_min
