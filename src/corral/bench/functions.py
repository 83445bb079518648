"""The functions under measurement: as small as can be, so that the numbers are Corral's and not theirs."""

from collections.abc import Sequence

from corral.bench.manage import Function
from corral.model import FunctionSpec

HELLO = '''"""A function of its own: no other has this code."""
NAME = "{name}"


def main(args):
    return {{"name": NAME}}
'''

SLEEP = """import time


def main(args):
    time.sleep(0.010)
    return {"slept": 0.010}
"""

ECHO = """def main(args):
    return args
"""

ECHO_ASYNC = """async def main(args):
    return args
"""

VERSIONED = """VERSION = {version}


def main(args):
    return {{"version": VERSION}}
"""
PANDAS_IMPORTS = "import numpy\nimport pandas\n\n"
PANDAS_REQUIREMENTS = "numpy\npandas\n"


def distinct(prefix: str, count: int, spec: FunctionSpec) -> Sequence[Function]:
    """`count` functions, each with code, package and user of its own, answering with their name."""
    names = [f"{prefix}-{number}" for number in range(1, count + 1)]
    return [Function(name=name, source=HELLO.format(name=name), spec=spec) for name in names]
