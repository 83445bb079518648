"""The rules: pure functions of what was seen and of `now`.

Three seams, because engines decide in three places: Scaler (how many, per revision; scaler.py), Choose (which instance,
per call; balance.py) and Reserve (what is kept warm, per host; reserve.py). A scaler is a file here and a row in
scalers.py."""

from corral.policy.scaler import Decision, Scaler, Situation, Terms, Usage
from corral.policy.scalers import DEFAULT_ENGINE, SCALERS, Rule, read_scaling, scaling_problems
from corral.policy.settings import Settings

__all__ = [
    "DEFAULT_ENGINE",
    "SCALERS",
    "Decision",
    "Rule",
    "Scaler",
    "Settings",
    "Situation",
    "Terms",
    "Usage",
    "read_scaling",
    "scaling_problems",
]
