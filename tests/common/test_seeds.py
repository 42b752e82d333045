"""Seeds of environments."""
import itertools

import gymnasium as gym

from onpolicybaselines.common.seeds import environment_seed


def test_the_first_has_the_seed_of_the_run():
    assert environment_seed(7) == environment_seed(7, 0, 0) == 7
    assert environment_seed(None, 3, 2) is None


def test_all_differ_over_ranks_environments_and_neighbouring_runs():
    seeds = [environment_seed(seed, rank, i) for seed, rank, i in itertools.product(range(20), range(16), range(16))]
    assert len(set(seeds)) == len(seeds)
    assert all(type(seed) is int and 0 <= seed < 2**31 for seed in seeds)


def test_large_seeds_and_those_of_other_machines():
    assert environment_seed(2**63, 1, 1) != environment_seed(2**63 + 1, 1, 1)
    assert environment_seed(0, 1, 2) == 742202927 + 10002  # numpy promises that generators of seeds stay as they are
    gym.make('CartPole-v1').reset(seed=environment_seed(2**100, 10**5, 10**4 - 1))
