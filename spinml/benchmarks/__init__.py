"""How fast SpinML's parts are on this machine: what ``jobs/benchmark.py`` measures.

A benchmark is a function that takes :class:`~spinml.benchmarks.bench.Bench` and gives
:class:`~spinml.benchmarks.bench.Row` s. Compared speeds are measured in turns, so that another busy
process hits both.
"""
