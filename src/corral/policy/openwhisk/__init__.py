"""OpenWhisk's rules: containers for activations, and stem cells that stand ready for any action of their kind."""

from corral.policy.openwhisk.scaler import OpenWhisk
from corral.policy.openwhisk.settings import OpenWhiskSettings
from corral.policy.openwhisk.stem_cells import StemCells

__all__ = ["OpenWhisk", "OpenWhiskSettings", "StemCells"]
