"""What a person reads of a fault: its sentences, then what explains them, each thing once."""

from collections.abc import Iterator

from corral.errors import BuildFailed, CorralError, LoadFailed


def lines_of(fault: CorralError) -> Iterator[str]:
    sentences = str(fault).splitlines() or [type(fault).__name__]
    explained: list[str] = []
    if isinstance(fault, LoadFailed):
        explained = fault.traceback.rstrip().splitlines()
    elif isinstance(fault, BuildFailed):
        sentences[0], explained = _installation(sentences[0], fault.output)
    yield from (f"corral: {line}" for line in sentences)
    yield from explained


def _installation(sentence: str, output: str) -> tuple[str, list[str]]:
    """A sentence may end with the installer's reason in one line; here it ends with the reason's first line, and what
    the installer wrote goes on from there. Of several functions each has its own reason, which stays."""
    lines = output.rstrip().splitlines()
    if sentence.startswith("functions."):
        return sentence, lines
    begins = [place for place, line in enumerate(lines) if line.startswith(("error:", "  × "))]
    if begins:
        reason = lines[begins[-1]].removeprefix("error:").removeprefix("  × ").strip()
        before, found, _ = sentence.partition(reason)
        if found:
            return before + found, lines[begins[-1] + 1 :]
    return sentence, lines
