"""Machine code: what is said before it is made, and that processes make it one at a time."""
import os
import subprocess
import sys

import pytest

pytest.importorskip('numba')

CODE = """
import numpy as np
from onpolicybaselines import logger
from onpolicybaselines.common.machine_code import function
def one(x):
    return np.empty(x).size  # of which numba makes a function of its own
logger.configure(format_strs=['stdout'])
print(function(one, 'int64(int64)')(3))
"""


def start(folder):
    """A process that compiles a function, or finds it in numba's cache in the folder."""
    module = folder / 'in_a_file.py'
    if not module.exists():  # another process may be reading it
        module.write_text(CODE)
    environment = {**os.environ, **dict.fromkeys(['PYTHONPATH', 'NUMBA_CACHE_DIR', 'OPENAI_LOGDIR'], str(folder))}
    return subprocess.Popen([sys.executable, '-c', 'import in_a_file'], stdout=subprocess.PIPE, text=True,
                            env=environment)


def test_a_line_before_what_is_not_in_the_cache(tmp_path):
    outputs = [start(tmp_path).communicate()[0].splitlines() for _ in range(2)]
    line, = [line for line in outputs[0] if line.startswith('Compiling one')]
    assert outputs[0].index(line) < outputs[0].index('3')
    assert '3' in outputs[1] and not any(line.startswith('Compiling') for line in outputs[1])


def test_of_processes_that_start_together_one_compiles(tmp_path):
    outputs = [process.communicate()[0] for process in [start(tmp_path) for _ in range(3)]]
    assert all(output.endswith('3\n') for output in outputs)
    assert sum('Compiling one' in output for output in outputs) == 1
