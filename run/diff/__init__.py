"""The package beside the Baselines that it mirrors: pages that say what was changed, and why (`python -m run.diff`)."""
from onpolicybaselines.common.extras import needed_by_module

try:
    import pygments  # noqa: F401
except ImportError:
    needed_by_module('pygments')
