"""OpenWhisk's rules: containers for activations, and stem cells that stand ready for any action of their kind."""

from corral.policy.openwhisk.stem_cells import StemCells

__all__ = ["StemCells"]
