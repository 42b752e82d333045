"""Ranks that fail, are killed, stop, hang or leave: how all end, what they say, and that no process is left."""
import pathlib
import re
import time

import pytest

# Every process says its number; what befalls the first environment of rank 1 in its step 40 says when. The tests of
# learning take this for the environment, as `faulty:raise-v0` and so on.
FAULTY = """
import os
import signal
import time
import gymnasium as gym
from onpolicybaselines.common.mpi_world import rank


def say(text):
    os.write(1, f'{text};\\n'.encode())


class FaultyEnv(gym.Wrapper):
    left = 40

    def __init__(self, fault):
        super().__init__(gym.make('CartPole-v1'))
        self.fault, self.faulty = fault, os.environ.get('FAULTY_PROCESS') in map(str, (os.getpid(), os.getppid()))
        say(f'process {os.getpid()}')

    def step(self, action):
        self.left -= self.faulty
        if self.left == 0:
            say(f'fault {time.time()}')
            if self.fault == 'raise':
                raise ValueError('bad weather')
            if self.fault == 'kill':
                os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(1000)
        return self.env.step(action)


for fault in ('raise', 'kill', 'hang'):
    gym.register(f'{fault}-v0', FaultyEnv, kwargs=dict(fault=fault))
"""

START = """
import os
import signal
import sys
import time
from faulty import gym, say
from onpolicybaselines.common import mpi_watch
from onpolicybaselines.common.mpi_world import allgather, allmean, get_comm, rank
say(f'process {os.getpid()}')
"""

LEARN = START + """
from onpolicybaselines.a2c import a2c
from onpolicybaselines.common.vec_env.subproc_vec_env import SubprocVecEnv


def callback(*_):
    if fault == 'callback' and rank() == 1:
        say(f'fault {time.time()}')
        raise KeyError('bad news')


if __name__ == '__main__':
    fault, processes = sys.argv[1], int(sys.argv[2])
    os.environ['FAULTY_PROCESS'] = str(os.getpid()) if rank() == 1 else ''
    fns = [lambda: gym.make('faulty:hang-v0' if fault == 'callback' else f'faulty:{fault}-v0')] * 2
    env = SubprocVecEnv(fns) if processes else fns[0]()
    a2c.learn(network='mlp', env=env, total_timesteps=1_000_000, callback=callback)
    print('not reached')
"""


by_the_clock = pytest.mark.slow  # a busy machine may fail them, which is no fault


@pytest.fixture(scope='module')
def job(mpirun, tmp_path_factory):
    """job(nranks, code, *args, fails=True, seconds=10): the result of ranks that run the code. They fail or not, at
    most `seconds` after what they call a fault, and leave no process."""
    folder = tmp_path_factory.mktemp('watch')
    (folder / 'faulty.py').write_text(FAULTY)

    def run(nranks, code, *args, fails=True, seconds=10):
        script = folder / 'script.py'
        script.write_text(code)
        result = mpirun(nranks, script, *args, timeout=100)
        end = time.time()
        faults = [float(when) for when in re.findall(r'fault ([\d.]+);', result.stdout)]
        processes = {int(number) for number in re.findall(r'process (\d+);', result.stdout)}
        while any(map(is_left, processes)) and time.time() < end + 3:
            time.sleep(0.1)
        assert len(processes) >= nranks and not any(map(is_left, processes)), result.stderr
        assert (result.returncode != 0) is fails, result.stderr
        assert 'not reached' not in result.stdout
        if fails:
            assert end - min(faults) < seconds, result.stderr
        return result
    return run


def is_left(process):
    """Whether a process is there and has not ended."""
    try:
        return pathlib.Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


@pytest.mark.parametrize(('fault', 'processes', 'error'), [
    pytest.param('callback', 0, "KeyError: 'bad news'", marks=pytest.mark.slow),
    pytest.param('raise', 0, 'ValueError: bad weather', marks=pytest.mark.slow),
    ('raise', 1, 'RuntimeError: environment 0 failed in its process:')])
def test_exception_of_one_rank_in_a_users_script(job, fault, processes, error):
    result = job(2, LEARN, fault, processes)
    assert result.returncode == 1
    assert error in result.stderr and 'rank 1 failed: ending all 2 ranks' in result.stderr
    assert 'rank 0 failed' not in result.stderr


@pytest.mark.slow
def test_rank_that_is_killed_while_its_environment_hangs(job):
    job(3, LEARN, 'kill', 1)


@by_the_clock
def test_hung_environment_of_the_command_line(job, tmp_path):
    result = job(2, START + """
from onpolicybaselines import run
if __name__ == '__main__':
    os.environ['FAULTY_PROCESS'] = str(os.getpid()) if rank() == 1 else ''
    run.main(['', '--env=faulty:hang-v0', '--alg=a2c', '--num_env=2', '--rank_timeout=6', f'--log_path={sys.argv[1]}'])
""", tmp_path, seconds=16)
    said = re.findall(r'^rank 0 has waited (\d) s for rank 1 \(process \d+ on \S+\)(.*)$', result.stderr, re.M)
    assert said == [('3', ''), ('6', ': ending all 2 ranks after the time of --rank_timeout')]


STOPPED = START + """
mpi_watch.set_rank_timeout(8)
allmean(0.)
if rank() == 1:
    say(f'fault {time.time()}')
    if sys.argv[1] == 'waits':  # in a call that rank 2 comes to later
        import threading
        threading.Timer(2, os.kill, (os.getpid(), signal.SIGSTOP)).start()
    else:
        os.kill(os.getpid(), signal.SIGSTOP)
if rank() == 2:
    time.sleep(4)
for _ in range(100_000_000):
    allmean(0.)
print('not reached')
"""


@by_the_clock
@pytest.mark.parametrize('where', ['works', 'waits'])
def test_stopped_rank(job, where):
    result = job(3, STOPPED, where, seconds=20)
    *said, last = re.findall(r'^rank (\d) has waited (\d+) s for rank (\d) \(process \d+ on [^,]*(.*)$', result.stderr,
                             re.M)
    assert last[2] == '1' and last[3].startswith(', no sign of life): ending all 3 ranks after the time of --rank_t')
    assert 8 <= int(last[1]) <= 10 and last[0] in '02'


@by_the_clock
def test_only_the_rank_that_the_others_wait_for_is_named(job):
    """Rank 2 waits, too: in its pair, for rank 3."""
    result = job(4, START + """
mpi_watch.set_rank_timeout(5)
pair = get_comm().Split(rank() // 2, rank())
if rank() == 3:
    say(f'fault {time.time()}')
    time.sleep(1000)
pair.allgather(rank())
allmean(0.)
""", seconds=15)
    waits = re.findall(r'rank (\d) has waited \d s for (.*?) \(', result.stderr)
    assert waits == [('0', 'rank 3'), ('0', 'rank 3')]


def test_rank_that_leaves_the_others(job):
    """By sys.exit(0) of its environment, say, which is no exception for Python."""
    result = job(3, START + """
allmean(0.)
if rank() == 1:
    say(f'fault {time.time()}')
    sys.exit(0)
allmean(0.)
print('not reached')
""")
    assert 'rank 0 waits for rank 1, which has ended: ending all 3 ranks' in result.stderr


@by_the_clock
def test_rank_that_has_ended_is_not_missed(job):
    """It has made its part of the last call, in which the first waits for another."""
    result = job(3, START + """
if rank() == 2:
    time.sleep(6)
get_comm().gather(rank())
""", fails=False)
    assert 'rank' not in result.stderr


@by_the_clock
def test_rank_that_comes_late(job):
    result = job(3, START + """
mpi_watch.PATIENCE = 2
allmean(0.)
if rank() > 0:
    time.sleep(7)
allmean(0.)
time.sleep(2)
""", fails=False)
    first, second, on = re.findall(r'^rank 0 .*$', result.stderr, re.M)
    assert re.fullmatch(r'rank 0 has waited 2 s for rank 1 \(.*\) and rank 2 \(process \d+ on .*\)', first)
    assert second.startswith('rank 0 has waited 4 s') and re.fullmatch('rank 0 goes on after [678] s', on)


@by_the_clock
def test_suspended_jobs_have_not_waited(job):
    result = job(2, START + """
import subprocess
mpi_watch.set_rank_timeout(8)
processes = ' '.join(map(str, allgather(os.getpid())))
if rank() == 0:
    subprocess.Popen(f'sleep 1; kill -STOP {processes}; sleep 10; kill -CONT {processes}', shell=True)
else:
    time.sleep(14)
allmean(0.)
""", fails=False)
    assert 'ending' not in result.stderr


def test_users_own_hook_and_forks(job):
    """Hooks for uncaught exceptions are called as before; an exception in a fork is no end of its rank."""
    result = job(2, START + """
sys.excepthook = lambda *error: say(f'hook {error[0].__name__}')
allmean(0.)
if rank() == 1:
    if os.fork() == 0:
        sys.excepthook(KeyError, KeyError(), None)
        os._exit(0)
    os.wait()
allmean(0.)
say(f'fault {time.time()}')
if rank() == 1:
    raise ValueError
allmean(0.)
print('not reached')
""")
    assert sorted(re.findall(r'hook (\w+);', result.stdout)) == ['KeyError', 'ValueError']
    assert 'rank 1 failed: ending all 2 ranks' in result.stderr


def test_a_rank_that_leaves_by_the_back_door(job):
    """In a fork it is the way out."""
    result = job(2, START + """
allmean(0.)
if rank() == 1:
    if os.fork() == 0:
        os._exit(0)
    os.wait()
    say(f'fault {time.time()}')
    os._exit(0)
allmean(0.)
print('not reached')
""")
    assert 'rank 1 was ended by os._exit(0): ending all 2 ranks' in result.stderr


def test_one_rank_is_left_alone(job):
    """No thread, no hook."""
    result = job(1, START + """
import threading
from mpi4py import MPI
assert get_comm() is MPI.COMM_WORLD
assert sys.excepthook is sys.__excepthook__ and threading.active_count() == 1
""", fails=False)
    assert result.stderr == ''
