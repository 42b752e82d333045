"""The package beside the Baselines that it mirrors: pages that say what was changed, and why (`python -m run.diff`)."""
