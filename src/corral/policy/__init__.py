"""The rules: pure functions of what was seen and of `now`.

Three seams, because engines decide in three places: Scaler (how many, per revision; scaler.py), Choose (which instance,
per call; balance.py) and Reserve (what is kept warm, per host; reserve.py, and stock.py for what belongs to no function
yet). A scaler is a file here and a row in scalers.py."""

from corral.policy.scaler import Decision, Scaler, Situation, Terms, Usage
from corral.policy.scalers import DEFAULT_ENGINE, SCALERS, Rule, read_scaling, scaling_problems
from corral.policy.settings import Settings
from corral.policy.stock import Kind, Stock, StockTerms, Supply

__all__ = [
    "DEFAULT_ENGINE",
    "SCALERS",
    "Decision",
    "Kind",
    "Rule",
    "Scaler",
    "Settings",
    "Situation",
    "Stock",
    "StockTerms",
    "Supply",
    "Terms",
    "Usage",
    "read_scaling",
    "scaling_problems",
]
