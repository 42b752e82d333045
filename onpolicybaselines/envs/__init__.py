"""The paper's tasks that gymnasium does not ship, registered as `rllab/Hopper-v0`, `roboschool/Humanoid-v0`, ..."""
import gymnasium

RLLAB = ('Swimmer', 'Hopper', 'Walker2D', 'HalfCheetah', 'Ant', 'SimpleHumanoid', 'Humanoid')
ROBOSCHOOL = ('Hopper', 'Walker2d', 'HalfCheetah', 'Ant', 'Humanoid', 'HumanoidFlagrun', 'HumanoidFlagrunHarder')

for family, tasks, horizon in [('rllab', RLLAB, 500), ('roboschool', ROBOSCHOOL, 1000)]:
    for task in tasks:
        gymnasium.register(f'{family}/{task}-v0', f'onpolicybaselines.envs.{family}:{task}Env',
                           max_episode_steps=horizon)
