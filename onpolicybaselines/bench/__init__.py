"""Episode records and benchmark tables. Source: openai/baselines `bench/__init__.py`."""
# ruff: noqa: F403
from onpolicybaselines.bench.benchmarks import *
from onpolicybaselines.bench.monitor import *
