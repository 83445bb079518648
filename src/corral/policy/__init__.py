"""The rules: pure functions of what was seen and of `now`.

Three seams, because engines decide in three places: Scaler (how many, per revision; scaler.py), Choose (which instance,
per call; balance.py) and Reserve (what is kept warm, per host; reserve.py). A scaler is a file here and a row below."""

from collections.abc import Callable, Mapping

from corral.policy.corral import Corral
from corral.policy.scaler import Decision, Scaler, Situation, Terms

SCALERS: Mapping[str, Callable[[Terms], Scaler]] = {
    "corral": Corral,
}

__all__ = ["SCALERS", "Decision", "Scaler", "Situation", "Terms"]
