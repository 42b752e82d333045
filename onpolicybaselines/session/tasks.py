"""The environments that gymnasium knows, by type."""
import inspect
import re
from importlib import import_module

import gymnasium as gym

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.extras import how_to_install, is_installed
from onpolicybaselines.common.keywords import nearest
from onpolicybaselines.session.ending import one_line_errors


def type_of(spec: gym.envs.registration.EnvSpec) -> str:
    """'mujoco' of gymnasium.envs.mujoco.hopper_v5:HopperEnv; others by namespace or package."""
    entry_point = spec.entry_point or spec.vector_entry_point or ''
    entry_point = entry_point if isinstance(entry_point, str) else entry_point.__module__
    module = entry_point.split(':')[0].split('.')
    if module[:2] == ['gymnasium', 'envs'] and module[2:]:
        return module[2]
    return 'atari' if module[0] == 'ale_py' else spec.namespace or module[0]


def check_type(env_type: str) -> None:
    """Raise UsageError for a type that is none of an environment, nor one with defaults of its own."""
    types = {'atari', 'mujoco', *map(type_of, gym.registry.values())}
    if env_type not in types:
        raise UsageError(f'--env_type={env_type}: there are no environments of this type{nearest(env_type, types)}')


def find(env_id: str) -> str:
    """The registered id of 'id' or 'module:id', whose module is imported. Raises UsageError if there is none."""
    module, _, name = env_id.rpartition(':')
    if module:
        one_line_errors(import_module)(module)
    spec = gym.registry.get(name)
    if spec is None or _is_retired(spec):
        raise UsageError(f'gymnasium has no environment {name!r}{_id_hint(name) or _atari_hint(name)}')
    if spec.entry_point is None:
        raise UsageError(f'{name} can only be made as a vector environment, by gymnasium.make_vec: give that to learn, '
                         'see "Use as a library" in README.md')
    return name


def _is_retired(spec):
    """Registered by gymnasium only to say where the environment went."""
    return inspect.isfunction(spec.entry_point) and spec.entry_point.__module__.startswith('gymnasium.')


def _atari_hint(env_id):
    """How to install the games, if it may be one of them."""
    if is_installed('ale_py') or not re.fullmatch(r'(ALE/)?[A-Z][A-Za-z]*(-ram)?-v[045]', env_id):
        return ''
    return f'; if it is an Atari game, they need {how_to_install("ale_py")}'


def _id_hint(env_id):
    """The newest version of the same name, or the closest id."""
    name = re.sub(r'-v\d+$', '', env_id)
    versions = [spec for spec in gym.registry.values() if spec.id == f'{name}-v{spec.version}'
                and not _is_retired(spec)]
    if versions:
        return f'; use --env={max(versions, key=lambda spec: spec.version).id}'
    return nearest(env_id, [spec.id for spec in gym.registry.values() if not _is_retired(spec)]) \
        if len(name) > 2 else ''
