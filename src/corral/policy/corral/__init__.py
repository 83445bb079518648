"""The default engine: starts at once, and keeps what is worth its memory by what is known of idle times."""

from corral.policy.corral.habits import Habit, Habits
from corral.policy.corral.odds import Odds
from corral.policy.corral.scaler import Corral
from corral.policy.corral.settings import CorralSettings

__all__ = ["Corral", "CorralSettings", "Habit", "Habits", "Odds"]
