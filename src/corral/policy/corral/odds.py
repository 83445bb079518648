"""How often a call came, over all functions of the host, in situations that were alike."""

from collections.abc import Sequence

Context = tuple[str | int, ...]
"""What situations have in common that count as alike."""

FIRM = 4.0
"""So many trials in a narrow context weigh as much as what the wider one says. Between 2 and 8 the costs on the trace
of docs/scaling.md differ by less than 3 %."""
OWN_FIRM = 2.0
"""The same for a function's own trials."""
REMEMBERED = 400.0
"""Trials of one context; beyond, all of them fade, so that newer ones count."""
FADING = 0.7


class Odds:
    """One for all functions of a host. Constant time, and a few thousand contexts at most."""

    def __init__(self) -> None:
        self._seen: dict[Context, list[float]] = {}
        """Context -> [trials in which no call came, trials in which one came]."""

    def __len__(self) -> int:
        return len(self._seen)

    def chance(self, contexts: Sequence[Context], own: tuple[int, int], unseen: float) -> float:
        """Of a call in one trial, between 0 and 1. From the widest context to the narrowest, each corrects what those
        before it say by what was seen in it; after the first so do the function's own trials, `own`: those in which a
        call came, and all. They matter while the host knows little of the narrow ones. `unseen` is the chance where
        nothing at all is known."""
        wide, *narrow = contexts
        ended, all_own = own
        chance = (ended + OWN_FIRM * self._corrected(wide, unseen)) / (all_own + OWN_FIRM)
        for context in narrow:
            chance = self._corrected(context, chance)
        return chance

    def _corrected(self, context: Context, chance: float) -> float:
        seen = self._seen.get(context)
        return chance if seen is None else (seen[1] + FIRM * chance) / (seen[0] + seen[1] + FIRM)

    def learn(self, contexts: Sequence[Context], misses: int, hits: int) -> None:
        """So many trials, without a call and with one."""
        for context in contexts:
            seen = self._seen.get(context)
            if seen is None:
                seen = self._seen[context] = [0.0, 0.0]
            seen[0] += misses
            seen[1] += hits
            total = seen[0] + seen[1]
            if total > REMEMBERED:
                # A long idle time may bring hundreds of trials at once.
                fading = min(FADING, REMEMBERED / total)
                seen[0] *= fading
                seen[1] *= fading


def kind_of(trigger: str, number: int) -> str:
    """Functions of a kind have habits alike. All but the first instance are needed for calls at once."""
    if number:
        return "more"
    return trigger if trigger in ("timer", "http") else "other"
