"""The Roster: every revision's instances, who holds them and how many there should be. One, in the engine.
Pure: events in, actions out; `now` and the random source are given. Nothing ticks an idle revision."""

from corral.policy import DEFAULT_ENGINE, SCALERS, read_scaling, scaling_problems
from corral.roster.actions import (
    Action,
    Assign,
    Block,
    BudgetView,
    Decided,
    DropZygote,
    InstanceView,
    KeepZygote,
    Learned,
    MemoryView,
    Queued,
    Release,
    Retire,
    Scaling,
    Start,
    Stop,
)
from corral.roster.admission import Admission
from corral.roster.roster import Roster
from corral.roster.scalers import recalls
from corral.roster.zygotes import ZygoteTerms, ZygoteView

__all__ = [
    "DEFAULT_ENGINE",
    "SCALERS",
    "Action",
    "Admission",
    "Assign",
    "Block",
    "BudgetView",
    "Decided",
    "DropZygote",
    "InstanceView",
    "KeepZygote",
    "Learned",
    "MemoryView",
    "Queued",
    "Release",
    "Retire",
    "Roster",
    "Scaling",
    "Start",
    "Stop",
    "ZygoteTerms",
    "ZygoteView",
    "read_scaling",
    "recalls",
    "scaling_problems",
]
