"""What changed between two texts, as a unified diff. Asynchronous: one instance answers many calls at once.

curl -d '{"before": "a\\nb\\n", "after": "a\\nc\\n"}' http://127.0.0.1:8080/function/changes"""

import difflib


async def handler(event):
    before, after = (event.get(side, "").splitlines(keepends=True) for side in ("before", "after"))
    return "".join(difflib.unified_diff(before, after, "before", "after")) or "no changes\n"
