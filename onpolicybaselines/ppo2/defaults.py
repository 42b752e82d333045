"""Default keywords of `ppo2.learn` by type of environment (upstream ppo2/defaults.py)."""


def mujoco() -> dict:
    """MuJoCo locomotion."""
    return dict(
        nsteps=2048,
        nminibatches=32,
        lam=0.95,
        gamma=0.99,
        noptepochs=10,
        log_interval=1,
        ent_coef=0.0,
        lr=3e-4,
        lrschedule='linear',
        cliprange=0.2,
        value_network='copy'
    )

def atari() -> dict:
    """Atari games from pixels."""
    return dict(
        nsteps=128, nminibatches=4,
        lam=0.95, gamma=0.99, noptepochs=4, log_interval=1,
        ent_coef=.01,
        lr=2.5e-4,
        lrschedule='linear',
        cliprange=0.1,
    )

def retro() -> dict:
    """Games from pixels of other makers, as Atari's."""
    return atari()

def rllab() -> dict:
    """rllab's locomotion, as MuJoCo's."""
    return mujoco()

def roboschool() -> dict:
    """Roboschool's locomotion, as MuJoCo's."""
    return mujoco()
