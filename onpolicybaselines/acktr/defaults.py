"""Default keywords of `acktr.learn` by type of environment (upstream acktr/defaults.py)."""


def mujoco() -> dict:
    """MuJoCo locomotion."""
    return dict(
        nsteps=2500,
        value_network='copy'
    )
