"""The port against recorded numbers of the TF1 originals: one test per trace, stage and iteration."""
import pytest
from harness import MissingArray


def test_stage(case, parity_results):
    trace, stage, label = case
    if label is None:
        pytest.skip(f'{trace.name}.npz has no array {stage.each!r}')
    try:
        result = stage.run(trace, label)
    except MissingArray as missing:
        if not label.startswith('skip'):
            raise
        pytest.skip(f'not recorded for a dropped segment: {missing.args[0]}')
    parity_results.append(result)
    print(result)
    assert result.passed, str(result)
