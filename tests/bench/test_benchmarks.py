import gymnasium
import pytest

from onpolicybaselines import bench
from onpolicybaselines.bench import benchmarks


@pytest.fixture(autouse=True)
def own_list(monkeypatch):
    monkeypatch.setattr(benchmarks, '_BENCHMARKS', list(benchmarks._BENCHMARKS))


def test_names():
    assert bench.list_benchmarks() == [
        'Atari50M', 'Atari10M', 'Atari1Hr', 'AtariExploration10M', 'Mujoco1M', 'MujocoWalkers',
        'TangAgrawal2018', 'Atari50_10M']


@pytest.mark.parametrize('name', ['Mujoco1M', 'MujocoWalkers', 'TangAgrawal2018'])
def test_mujoco_tasks_exist(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo 3.17 warns about half_cheetah.xml in MUJOCO_LOG.TXT
    for task in bench.get_benchmark(name)['tasks']:
        env = gymnasium.make(task['env_id'])
        assert isinstance(env.action_space, gymnasium.spaces.Box)
        env.close()


@pytest.mark.parametrize('name', [n for n in bench.list_benchmarks() if n.startswith('Atari')])
def test_atari_tasks(name):
    tasks = bench.get_benchmark(name)['tasks']
    assert len(tasks) == {'Atari50_10M': 47}.get(name, 7)
    assert len({task['env_id'] for task in tasks}) == len(tasks)
    assert all(task['env_id'] == f'{task["desc"]}NoFrameskip-v4' for task in tasks)


def test_every_task_has_a_budget():
    for name in bench.list_benchmarks():
        for task in bench.get_benchmark(name)['tasks']:
            assert set(task) - {'num_timesteps', 'num_seconds'} == {'desc', 'env_id', 'trials'}
            assert task['trials'] > 0 and task.get('num_timesteps', task.get('num_seconds')) > 0


def test_the_papers_benchmark():
    tasks = bench.get_benchmark('TangAgrawal2018')['tasks']
    assert [task['desc'] for task in tasks] == ['Reacher', 'Hopper', 'HalfCheetah', 'Walker2d', 'Ant', 'Humanoid']
    assert {task['trials'] for task in tasks} == {5}
    assert bench.get_task(bench.get_benchmark('TangAgrawal2018'), 'Reacher-v5')['num_timesteps'] == 10**6


def test_register_and_find():
    mine = {'name': 'mine', 'description': '', 'tasks': [
        {'env_id': 'CartPole-v1', 'trials': 1, 'num_timesteps': 10},
        {'env_id': 'Acrobot-v1', 'desc': 'kept', 'trials': 1, 'num_timesteps': 10}]}
    bench.register_benchmark(mine)
    assert bench.get_benchmark('mine') is mine and bench.list_benchmarks()[-1] == 'mine'
    assert [task['desc'] for task in mine['tasks']] == ['CartPole', 'kept']
    assert bench.get_task(mine, 'Acrobot-v1') is mine['tasks'][1]
    assert bench.get_task(mine, 'Hopper-v5') is None
    assert bench.find_task_for_env_id_in_any_benchmark('CartPole-v1') == (mine, mine['tasks'][0])
    assert bench.find_task_for_env_id_in_any_benchmark('Hopper-v5')[0]['name'] == 'Mujoco1M'
    assert bench.find_task_for_env_id_in_any_benchmark('NoSuch-v0') == (None, None)


def test_bad_names():
    with pytest.raises(ValueError, match="there is already a benchmark named 'Mujoco1M'"):
        bench.register_benchmark({'name': 'Mujoco1M', 'description': '', 'tasks': []})
    with pytest.raises(ValueError, match="no benchmark named 'Mujoco2M': use one of Atari50M, .*Mujoco1M"):
        bench.get_benchmark('Mujoco2M')
