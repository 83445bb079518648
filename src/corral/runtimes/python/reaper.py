"""Pid 1 of a function's own zygote and all its instances: it collects those whose parent died, and does nothing else.
So the zygote may be killed at any time and no instance notices."""

import os
from typing import Any, Dict, NoReturn, Optional

from .. import kernel
from . import blas, dress, kept, words


def live(
    plan: Dict[str, Any], code: bytes, wardrobe: dress.Wardrobe, threads: "Optional[blas.Threads]" = None
) -> NoReturn:
    """Until its last child is gone."""
    status = 1
    try:
        # The zygote has the same user, and must not help itself to this process.
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        words.say(kept.KEEPER_FD, words.REAPER)
        dress.mount_own({}, wardrobe)
        if os.fork() == 0:
            kept.live(plan, code, wardrobe, threads)
        kernel.drop_bounding_set()
        kernel.drop_capabilities()
        if wardrobe.filter is not None:
            wardrobe.filter.install()
        kernel.close_from(0)
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        status = 0
    except BaseException as exc:
        text = "corral: the reaper of a zygote cannot go on: %s\n" % (exc or type(exc).__name__)
        os.write(2, text.encode("utf-8", "replace"))
    finally:
        os._exit(status)
