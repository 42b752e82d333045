"""The port against recorded numbers of the TF1 originals: one test per trace, stage and iteration."""
from dataclasses import asdict

import pytest
from closing import PROPERTY
from harness import MissingArray


def test_stage(case, record_property):
    number, trace, stage, label = case
    if label is None:
        pytest.skip(f'{trace.name}.npz has no array {stage.each!r}')
    try:
        result = stage.run(trace, label)
    except MissingArray as missing:
        if not label.startswith('skip'):
            raise
        pytest.skip(f'not recorded for a dropped segment: {missing.args[0]}')
    record_property(PROPERTY, [number, asdict(result)])
    print(result)
    assert result.passed, str(result)
