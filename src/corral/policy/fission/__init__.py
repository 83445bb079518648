"""Fission's executors: instances from a pool as calls need them, or a deployment sized by cpu."""

from corral.policy.fission.generic_pool import GenericPool
from corral.policy.fission.scaler import Fission, choose
from corral.policy.fission.settings import FissionSettings

__all__ = ["Fission", "FissionSettings", "GenericPool", "choose"]
