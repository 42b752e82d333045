"""Default keywords of `trpo_mpi.learn` by type of environment (upstream trpo_mpi/defaults.py)."""


def atari() -> dict:
    """Atari games from pixels."""
    return dict(
        network='cnn_small',
        timesteps_per_batch=512,
        max_kl=0.001,
        cg_iters=10,
        cg_damping=1e-3,
        gamma=0.98,
        lam=1.0,
        vf_iters=3,
        vf_stepsize=1e-4,
        ent_coef=0.00,
    )

def mujoco() -> dict:
    """MuJoCo locomotion."""
    return dict(
        network='mlp',
        num_hidden=32,
        num_layers=2,
        timesteps_per_batch=1024,
        max_kl=0.01,
        cg_iters=10,
        cg_damping=0.1,
        gamma=0.99,
        lam=0.98,
        vf_iters=5,
        vf_stepsize=1e-3,
        normalize_observations=True,
    )

def rllab() -> dict:
    """rllab's locomotion, as MuJoCo's."""
    return mujoco()

def roboschool() -> dict:
    """Roboschool's locomotion, as MuJoCo's."""
    return mujoco()
