"""Hybrid histogram: how long to keep, and when to load again, from how long the function was idle before.

Source: Shahrad et al., Serverless in the Wild, ATC 2020, as DSLab's simulator reads it (the coefficient of variation is
that of the bins' counts; while they are not representative an instance stays for the whole range); a mean of the last
idle times stands for the ARIMA forecast, and a function for the paper's application."""

from corral.policy.hybrid.idle import IdleTimes
from corral.policy.hybrid.scaler import Hybrid
from corral.policy.hybrid.settings import HybridSettings
from corral.policy.hybrid.windows import Windows, foresee

__all__ = ["Hybrid", "HybridSettings", "IdleTimes", "Windows", "foresee"]
