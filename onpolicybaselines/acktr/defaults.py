"""Default keywords of `acktr.learn` by type of environment (upstream acktr/defaults.py)."""


def mujoco() -> dict:
    """MuJoCo locomotion."""
    return dict(
        nsteps=2500,
        value_network='copy'
    )


def rllab() -> dict:
    """rllab's locomotion, as MuJoCo's."""
    return mujoco()


def roboschool() -> dict:
    """Roboschool's locomotion, as MuJoCo's."""
    return mujoco()
