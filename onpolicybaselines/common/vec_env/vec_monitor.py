"""Returns and lengths of episodes, measured outside the environments."""
import time
from collections import deque
from collections.abc import Sequence

import numpy as np

from onpolicybaselines.bench.monitor import ResultsWriter
from onpolicybaselines.common.checks import check_columns
from onpolicybaselines.common.log_files import attempt
from onpolicybaselines.common.vec_env.steps import Obs, Step
from onpolicybaselines.common.vec_env.vec_env import VecEnv, VecEnvWrapper


class VecMonitor(VecEnvWrapper):
    """Adds 'episode' = {'r': return, 'l': length, 't': seconds since the start} to the info at an episode's end.

    filename: also write these rows to this monitor file. keep_buf: keep the last so many returns and lengths in
    epret_buf and eplen_buf. info_keywords: entries of the info to add to 'episode'; UsageError for r, l and t.
    Source: openai/baselines `common/vec_env/vec_monitor.py`.
    """

    def __init__(self, venv: VecEnv, filename: str | None = None, keep_buf: int = 0,
                 info_keywords: Sequence[str] = ()) -> None:
        VecEnvWrapper.__init__(self, venv)
        check_columns(*info_keywords)
        self.eprets = None
        self.eplens = None
        self.epcount = 0
        self.tstart = time.time()
        if filename:
            self.results_writer = ResultsWriter(filename, header={'t_start': self.tstart},
                extra_keys=info_keywords)
        else:
            self.results_writer = None
        self.info_keywords = info_keywords
        self.keep_buf = keep_buf
        if self.keep_buf:
            self.epret_buf = deque([], maxlen=keep_buf)
            self.eplen_buf = deque([], maxlen=keep_buf)

    def reset(self) -> Obs:
        """Reset, and count from zero."""
        obs = self.venv.reset()
        self.eprets = np.zeros(self.num_envs)
        self.eplens = np.zeros(self.num_envs, int)
        return obs

    def step_wait(self) -> Step:
        """Finish the step, with 'episode' in the infos of ended episodes."""
        obs, rews, dones, infos = self.venv.step_wait()
        self.eprets += rews
        self.eplens += 1

        newinfos = list(infos[:])
        for i in range(len(dones)):
            if dones[i]:
                info = infos[i].copy()
                ret = float(self.eprets[i])
                eplen = int(self.eplens[i])
                epinfo = {'r': ret, 'l': eplen, 't': round(time.time() - self.tstart, 6)}
                for k in self.info_keywords:
                    epinfo[k] = info[k]
                info['episode'] = epinfo
                if self.keep_buf:
                    self.epret_buf.append(ret)
                    self.eplen_buf.append(eplen)
                self.epcount += 1
                self.eprets[i] = 0
                self.eplens[i] = 0
                if self.results_writer:
                    attempt(self.results_writer.write_row, epinfo)
                newinfos[i] = info
        return obs, rews, dones, newinfos

    def close_extras(self) -> None:
        """Close the monitor file and the environments."""
        if self.results_writer:
            self.results_writer.close()
        VecEnvWrapper.close_extras(self)
