"""What a VecEnv hands over of a step, the last one of an episode too."""
import copy
from collections.abc import Callable
from typing import Any

import numpy as np

Obs = np.ndarray | dict[Any, np.ndarray]
Step = tuple[Obs, np.ndarray, np.ndarray, list[dict]]


def end_of_episode(info: dict, ob: Any, terminated: bool, truncated: bool) -> dict:
    """`info` of an episode's last step with the entries that VecEnv.step_wait promises."""
    # reset() may overwrite the arrays of the last observation, hence the copy
    return {**info, 'terminal_observation': copy.deepcopy(ob),
            'TimeLimit.truncated': bool(truncated) and not terminated}


def map_terminal_observation(fn: Callable[[int, Obs], Obs], infos: list[dict]) -> list[dict]:
    """`infos` with fn(i, observation) as the terminal observation of environment i, where it has one."""
    return [{**info, 'terminal_observation': fn(i, info['terminal_observation'])}
            if 'terminal_observation' in info else info for i, info in enumerate(infos)]


def process_terminal_observations(process: Callable[[Obs], Obs], infos: list[dict]) -> list[dict]:
    """`infos` with terminal observations that went through `process`, which is for batches."""
    def process_one(i, ob):
        batch = process({k: v[None] for k, v in ob.items()} if isinstance(ob, dict) else np.asarray(ob)[None])
        return {k: v[0] for k, v in batch.items()} if isinstance(batch, dict) else batch[0]
    return map_terminal_observation(process_one, infos)
