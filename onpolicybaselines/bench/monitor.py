"""Raw episode returns of an environment, in memory and in `<path>.monitor.csv`: what learning curves show.

Source: openai/baselines `bench/monitor.py`.
"""
import csv
import json
import os
import os.path as osp
import sys
import time
from collections.abc import Mapping, Sequence
from glob import escape, glob
from typing import Any, SupportsFloat, TYPE_CHECKING

import gymnasium

from onpolicybaselines.common.checks import check_columns
from onpolicybaselines.common.log_files import attempt, cut, open_log, position
from onpolicybaselines.common.extras import need
from onpolicybaselines.common.state import State
from onpolicybaselines.common.tables import read_episodes

if TYPE_CHECKING:
    import pandas

__all__ = ['Monitor', 'ResultsWriter', 'LoadMonitorResultsError', 'get_monitor_files', 'load_results']


class Monitor(gymnasium.Wrapper):
    """Records return, length and end time of every episode of a gymnasium environment.

    At an episode's end (terminated or truncated) `info['episode']` is {'r': return, 'l': steps, 't': seconds
    since the Monitor was made} and the keywords below, and the same is a new row of the file.

    filename: path of the file, completed by `ResultsWriter`; None writes no file.
    allow_early_resets: without it, `reset` before the episode's end is a RuntimeError.
    reset_keywords: names every `reset` must be given (in its `options` or as arguments); columns of the file.
    info_keywords: keys the last `info` of an episode must have; columns of the file.
    Raises UsageError for keywords that are one of the columns 'r', 'l', 't', or twice the same.
    """

    EXT = 'monitor.csv'

    def __init__(self, env: gymnasium.Env, filename: str | os.PathLike | None, allow_early_resets: bool = False,
                 reset_keywords: Sequence[str] = (), info_keywords: Sequence[str] = ()) -> None:
        super().__init__(env)
        check_columns(*reset_keywords, *info_keywords)
        self.tstart = time.time()
        if filename:
            self.results_writer = ResultsWriter(filename,
                header={'t_start': self.tstart, 'env_id': env.spec and env.spec.id},
                extra_keys=(*reset_keywords, *info_keywords)
            )
        else:
            self.results_writer = None
        self.reset_keywords = reset_keywords
        self.info_keywords = info_keywords
        self.allow_early_resets = allow_early_resets
        self.rewards: list[float] = []
        self.needs_reset = True
        self.episode_rewards: list[float] = []
        self.episode_lengths: list[int] = []
        self.episode_times: list[float] = []
        self.total_steps = 0
        self.current_reset_info: dict[str, Any] = {}  # the reset keywords of the current episode

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode. Raises RuntimeError inside one, and ValueError if a reset keyword is missing."""
        self.reset_state()
        given = {**(kwargs.get('options') or {}), **kwargs}
        for k in self.reset_keywords:
            if given.get(k) is None:
                raise ValueError(f'reset needs {k!r} (a reset keyword of this Monitor): '
                                 f'pass reset(options={{{k!r}: ...}})')
            self.current_reset_info[k] = given[k]
        return self.env.reset(**kwargs)

    def reset_state(self) -> None:
        """Forget the running episode. Raises RuntimeError if it has steps, unless early resets are allowed."""
        if not self.allow_early_resets and not self.needs_reset and self.rewards:
            raise RuntimeError('reset before the end of the episode: finish it, or allow this with '
                               'Monitor(env, path, allow_early_resets=True)')
        self.rewards = []
        self.needs_reset = False

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the environment. Raises RuntimeError if the episode is over."""
        if self.needs_reset:
            raise RuntimeError('step after the end of the episode: call reset() first')
        ob, rew, terminated, truncated, info = self.env.step(action)
        self.update(ob, rew, terminated or truncated, info)
        return ob, rew, terminated, truncated, info

    def update(self, ob: Any, rew: SupportsFloat, done: bool, info: dict[str, Any]) -> None:
        """Count one step; at the episode's end also record it and add it to `info`."""
        self.rewards.append(float(rew))  # NumPy would sum float32 rewards in float32
        if done:
            self.needs_reset = True
            eprew = sum(self.rewards)
            eplen = len(self.rewards)
            eptime = time.time() - self.tstart
            epinfo = {'r': eprew, 'l': eplen, 't': round(eptime, 6)}
            for k in self.info_keywords:
                if k not in info:
                    raise ValueError(f'the last info of the episode has no {k!r} (an info keyword of this '
                                     f'Monitor); it has {sorted(info)}')
                epinfo[k] = info[k]
            self.episode_rewards.append(eprew)
            self.episode_lengths.append(eplen)
            self.episode_times.append(eptime)
            epinfo.update(self.current_reset_info)
            if self.results_writer:
                attempt(self.results_writer.write_row, epinfo)
            info['episode'] = epinfo

        self.total_steps += 1

    def close(self) -> None:
        """Close the file and the environment."""
        if self.results_writer:
            self.results_writer.close()
        super().close()

    def get_total_steps(self) -> int:
        """Steps taken so far, those of an unfinished episode included."""
        return self.total_steps

    def get_episode_rewards(self) -> list[float]:
        """The return of every finished episode."""
        return self.episode_rewards

    def get_episode_lengths(self) -> list[int]:
        """The number of steps of every finished episode."""
        return self.episode_lengths

    def get_episode_times(self) -> list[float]:
        """The end of every finished episode, in seconds since the Monitor was made."""
        return self.episode_times


class LoadMonitorResultsError(Exception):
    """A folder without monitor files, or a monitor file that cannot be read."""


class ResultsWriter(object):
    """The file of a Monitor: '# ' and a JSON header on the first line, then a CSV table, one row an episode.

    filename: unless it ends in 'monitor.csv', completed to `<folder>/monitor.csv` or `<path>.monitor.csv`.
    header: dict to be written as JSON, with 't_start' (seconds since the epoch); or the raw first line.
    extra_keys: columns after 'r', 'l', 't'.
    Raises UsageError if the file cannot be written.
    """

    def __init__(self, filename: str | os.PathLike, header: Mapping[str, Any] | str = '',
                 extra_keys: Sequence[str] = ()) -> None:
        self.extra_keys = extra_keys
        filename = os.fspath(filename)
        if not filename.endswith(Monitor.EXT):
            if osp.isdir(filename):
                filename = osp.join(filename, Monitor.EXT)
            else:
                filename = filename + '.' + Monitor.EXT
        self.f = open_log(filename, 'cannot write episodes to {} ({}); '
                                    'give Monitor a path in an existing, writable folder')
        if isinstance(header, Mapping):
            header = '# {}\n'.format(json.dumps(header))
        self.logger = csv.DictWriter(self.f, fieldnames=('r', 'l', 't') + tuple(extra_keys), lineterminator='\n')
        if position(self.f) == 0:
            self.f.write(header)
            self.logger.writeheader()
            self.f.flush()

    def write_row(self, epinfo: Mapping[str, Any]) -> None:
        """Append one episode. Raises ValueError if `epinfo` has a key that is not a column."""
        self.logger.writerow(epinfo)
        self.f.flush()

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self.f.close()

    def state(self) -> State:
        """How far the file goes."""
        return {'size': position(self.f)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from there, in a file opened in `log_files.kept_logs`. Raises ValueError if it is shorter."""
        cut(self.f, state['size'])


def get_monitor_files(dir: str | os.PathLike) -> list[str]:
    """The monitor files directly in `dir`, sorted; also compressed ones, `*monitor.csv.gz`, but no file twice."""
    plain = glob(osp.join(escape(os.fspath(dir)), '*' + Monitor.EXT))
    packed = glob(osp.join(escape(os.fspath(dir)), f'*{Monitor.EXT}.gz'))
    return sorted(plain + [name for name in packed if name.removesuffix('.gz') not in plain])


def load_results(dir: str | os.PathLike) -> 'pandas.DataFrame':
    """All episodes recorded in `dir`, in the order they ended.

    Returns a frame with columns 'r', 'l', 't' (seconds since the first Monitor was made) and the files' extra
    keys; its `attrs['headers']` is the list of the files' headers (dicts). A damaged file is left out, with a line on
    stderr. Raises LoadMonitorResultsError if there is no file that can be read.
    """
    need('pandas')
    import pandas
    monitor_files = get_monitor_files(dir)
    if not monitor_files:
        raise LoadMonitorResultsError(f'no monitor files of the form *{Monitor.EXT} found in {dir}')
    dfs = []
    headers = []
    faults = []
    for fname in monitor_files:
        if osp.isfile(fname) and not osp.getsize(fname):  # only just opened
            continue
        try:
            header, df = read_episodes(fname)
        except ValueError as e:
            faults.append(str(e))
            continue
        headers.append(header)
        dfs.append(df.assign(t=df.t + header['t_start']))
    if not dfs:
        raise LoadMonitorResultsError('; '.join(faults) or f'all monitor files in {dir} are empty')
    for fault in faults:
        print(f'left out: {fault}', file=sys.stderr)
    df = pandas.concat([df for df in dfs if len(df)] or dfs[:1])
    df = df.sort_values('t', kind='stable', ignore_index=True)
    df['t'] -= min(header['t_start'] for header in headers)
    df.attrs['headers'] = headers
    return df
