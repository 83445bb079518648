"""`corral bench`: the numbers Corral promises, measured from outside, over HTTP. How to read them: docs/bench.md."""
