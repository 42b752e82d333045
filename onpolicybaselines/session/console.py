"""The console script: `onpolicybaselines --env=Hopper-v5`, the same as `python -m onpolicybaselines.run`."""
import sys

from onpolicybaselines import run


def main() -> None:
    """Run the command line."""
    run.main(sys.argv)
