"""The Roster: every revision's instances, who holds them and how many there should be. One, in the engine.
Pure: events in, actions out; `now` and the random source are given. Nothing ticks an idle revision."""

from corral.policy import DEFAULT_ENGINE, SCALERS, read_scaling, scaling_problems
from corral.roster.actions import (
    Action,
    Assign,
    Block,
    Decided,
    InstanceView,
    Release,
    Retire,
    Scaling,
    Start,
    Stop,
)
from corral.roster.roster import Roster

__all__ = [
    "DEFAULT_ENGINE",
    "SCALERS",
    "Action",
    "Assign",
    "Block",
    "Decided",
    "InstanceView",
    "Release",
    "Retire",
    "Roster",
    "Scaling",
    "Start",
    "Stop",
    "read_scaling",
    "scaling_problems",
]
