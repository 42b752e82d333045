"""Measurements in processes of their own, and the files that keep them."""
import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np
from tqdm import tqdm

from onpolicybaselines.common.files import replacing
from run.plots.tables import table

CACHE = os.path.join(tempfile.gettempdir(), 'onpolicybaselines-bench-xla')  # TensorFlow reads what is there


def measure(what: str, ranks: int = 0, pin: bool = True, cache: str = CACHE, **options) -> dict:
    """One of `measurements.MEASUREMENTS` in a fresh process: pinned to one core, or as so many MPI ranks.

    pin: False leaves it all cores, and numpy its threads; cache: folder of XLA's, if any.
    """
    alone = pin and not ranks
    command = [sys.executable, '-m', 'run.bench', '--measure', json.dumps({'what': what, 'pin': alone, **options})]
    if ranks:
        command = [shutil.which('mpirun', path=os.path.dirname(sys.executable)), '-np', str(ranks), *command]
    environment = {**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3', **({'OMP_NUM_THREADS': '1'} if alone or ranks else {})}
    if cache:
        environment['TF_XLA_FLAGS'] = f'--tf_xla_persistent_cache_directory={cache}'
    result = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    lines = [line for line in result.stdout.splitlines() if line.startswith('{"')]
    if result.returncode or not lines:
        raise RuntimeError(f'{" ".join(command)} failed:\n{result.stderr[-2000:]}')
    return json.loads(lines[0])


class Record:
    """JSON lines of one report: {"case": ..., "repeat": ..., results}; with args.again those there are."""

    def __init__(self, args: argparse.Namespace, name: str):
        os.makedirs(args.folder, exist_ok=True)
        self._base = os.path.join(args.folder, name)
        self.rows: list[dict] = []
        self._again = args.again
        if self._again:
            with open(self._base + '.jsonl', encoding='utf-8') as fh:
                self.rows = [json.loads(line) for line in fh]

    def measure_in_turn(self, cases: dict[str, dict], repeats: int) -> dict[str, dict[str, float]]:
        """Measure each case `repeats` times in turn; returns the median of each number by case."""
        turns = [] if self._again else list(itertools.product(range(repeats), cases.items()))
        for repeat, (case, options) in tqdm(turns, desc=self._base, disable=self._again):
            self.rows.append({'case': case, 'repeat': repeat, **measure(**options)})
            with replacing(self._base + '.jsonl', encoding='utf-8') as fh:
                fh.writelines(json.dumps(row) + '\n' for row in self.rows)
        return {case: {key: float(np.median([row[key] for row in self._of(case)]))
                       for key, value in self._of(case)[0].items()
                       if isinstance(value, (int, float)) and key != 'repeat'} for case in cases}

    def spread(self, case: str, key: str = 'steps_per_second') -> float:
        """(largest - smallest) / median over the repeats."""
        values = [row[key] for row in self._of(case)]
        return (max(values) - min(values)) / float(np.median(values))

    def last(self, case: str) -> dict:
        """All results of the last repeat."""
        return self._of(case)[-1]

    def _of(self, case):
        return [row for row in self.rows if row['case'] == case]

    def table(self, *rows: tuple) -> None:
        """Write and print the table; the first row is its head."""
        head, *rows = [[*map(str, row)] for row in rows]
        text = table(head, rows)
        with replacing(self._base + '.md', encoding='utf-8') as fh:
            fh.write(text)
        print(text, flush=True)
