"""MuJoCo's errors end a run, not the process."""
import subprocess
import sys

import mujoco
import pytest

from onpolicybaselines.common.cmd_util import make_env
from onpolicybaselines.native import NativeVecEnv, known

MODEL = """<mujoco>
  <size memory="2K"/>
  <worldbody>
    <geom type="plane" size="5 5 1"/>
    <body pos="0 0 1">
      <joint name="x" type="slide" axis="1 0 0"/>
      <joint type="slide" axis="0 0 1"/>
      <joint type="hinge" axis="0 1 0"/>
      <geom size="0.3" mass="1"/>
    </body>
  </worldbody>
  <actuator><motor joint="x" ctrllimited="true" ctrlrange="-1 1"/></actuator>
</mujoco>"""


@pytest.mark.parametrize('num_env, failing', [(1, 0), (3, 1)])
def test_an_error_is_raised_as_by_python(pair, num_env, failing):
    """Also again, and steps go on afterwards."""
    both = pair('HalfCheetah-v5', num_env)
    both.reset()
    for _ in range(3):
        both.step(both.actions())
    models = [venv.envs[failing].unwrapped.model for venv in (both.theirs, both.ours)]
    before = models[0].opt.integrator
    for _ in range(3):
        for model in models:
            model.opt.integrator = 77
        messages = []
        for venv in (both.theirs, both.ours):
            with pytest.raises(mujoco.FatalError) as error:
                venv.step(both.actions())
            messages.append(str(error.value))
        assert messages == ['mj_step: invalid integrator'] * 2
        for model in models:
            model.opt.integrator = before
    both.reset()
    for _ in range(3):
        both.step(both.actions())


@pytest.fixture
def small(tmp_path):
    """The keyword of an environment with too little memory for the ball's first contact, in step 37."""
    path = tmp_path / 'model.xml'
    path.write_text(MODEL)
    return {'xml_file': str(path)}


def test_no_memory_left(pair, small, monkeypatch):
    """An error deep inside a step."""
    monkeypatch.setattr(known, 'STEPS_COMPARED', 10)
    both = pair('HalfCheetah-v5', **small, reset_noise_scale=0.)
    both.reset()
    for _ in range(37):
        both.step(both.actions())
    for venv in (both.theirs, both.ours):
        with pytest.raises(mujoco.FatalError, match='mj_stackAlloc: out of memory'):
            venv.step(both.actions())


def test_an_error_in_the_comparison(small):
    """Is left to come again."""
    with pytest.raises(known.NotNative, match='its step fails: FatalError.*out of memory'):
        NativeVecEnv([make_env('HalfCheetah-v5', 'mujoco', env_kwargs=small)])


def test_bindings_keep_their_own_handling(pair):
    """Python's calls fail as ever beside native steps."""
    both = pair('Hopper-v5')
    both.reset()
    for _ in range(3):
        both.step(both.actions())
    model = mujoco.MjModel.from_xml_string('<mujoco/>')
    model.opt.integrator = 77
    with pytest.raises(mujoco.FatalError, match='invalid integrator'):
        mujoco.mj_step(model, mujoco.MjData(model))
    both.step(both.actions())


def run(*words):
    """A run of the command line on the ball."""
    return subprocess.run([sys.executable, '-c', """if True:
        import sys
        import gymnasium as gym
        from onpolicybaselines import run
        from onpolicybaselines.native import known
        known.STEPS_COMPARED = 10
        gym.register('Ball-v0', 'gymnasium.envs.mujoco.half_cheetah_v5:HalfCheetahEnv', max_episode_steps=100,
                     kwargs={'xml_file': sys.argv[1]})
        run.main(['run', '--env=Ball-v0', '--num_timesteps=400', '--timesteps_per_batch=200', '--seed=0',
                  '--num_hidden=8', *sys.argv[2:]])
        """, *words], capture_output=True, text=True)


def test_an_error_ends_a_run_as_ever(small, tmp_path):
    """With Python's traceback, and the environments closed."""
    ends = []
    for native in (True, False):
        folder = tmp_path / str(native)
        done = run(small['xml_file'], f'--native={native}', f'--log_path={folder}')
        ends.append((done.returncode, [line for line in done.stderr.splitlines() if 'mujoco.FatalError' in line]))
        assert ('itself' in done.stdout) is False
    assert ends[0] == ends[1] and ends[0][0] == 1 and len(ends[0][1]) == 1
