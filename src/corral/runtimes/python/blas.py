"""Libraries of linear algebra start a thread for each core when they are loaded, and threads can't be forked. In a
zygote they get one; each instance raises that to its share of the processors."""

import ctypes
import os
from typing import Any, List, MutableMapping

VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
_SETTERS = (
    "openblas_set_num_threads", "openblas_set_num_threads64_", "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads", "MKL_Set_Num_Threads", "bli_thread_set_num_threads",
)  # fmt: skip


class Threads:
    """From before the code is loaded."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self._environment = environment
        self._held = [name for name in VARIABLES if name not in environment]
        for name in self._held:
            environment[name] = "1"
        self._setters: List[Any] = []

    def look(self) -> None:
        """After it was loaded: find the libraries. What the function itself has set stays as it is."""
        if "OPENBLAS_NUM_THREADS" in self._held and "OMP_NUM_THREADS" in self._held:
            self._setters = [setter for path in _libraries() for setter in _setters(path)]

    def give_back(self, cores: int) -> None:
        """In a child: as many as it may use."""
        for name in self._held:
            self._environment.pop(name, None)
        if cores > 1:
            for setter in self._setters:
                setter(cores)


def _libraries() -> List[str]:
    with open("/proc/self/maps") as file:
        paths = {line.split(None, 5)[5].strip() for line in file if line.count("/")}
    wanted = ("openblas", "mkl_rt", "blis")
    return sorted(path for path in paths if any(word in os.path.basename(path) for word in wanted))


def _setters(path: str) -> List[Any]:
    try:
        library = ctypes.CDLL(path)
    except OSError:
        return []
    return [getattr(library, name) for name in _SETTERS if hasattr(library, name)]
