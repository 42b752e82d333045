import os
import re

from setuptools import find_packages, setup

HERE = os.path.dirname(os.path.abspath(__file__))


def read(*parts):
    with open(os.path.join(HERE, *parts), encoding='utf-8') as fh:
        return fh.read()


extras = {
    'mpi': ['mpi4py>=4', 'mpich'],
    'plots': ['matplotlib', 'pandas<3'],
    'fast': ['numba'],
    'video': ['imageio', 'imageio-ffmpeg', 'pygame'],
    'atari': ['ale-py', 'opencv-python-headless'],
    'diff': ['pygments'],
    'bench': ['sb3-contrib'],
    'figures': ['rliable'],
    'track': ['wandb'],
    'docs': ['mkdocs-material', 'mkdocstrings-python'],
}
extras['test'] = ['pytest', 'pytest-timeout', 'pytest-xdist', 'hypothesis', 'build', 'wheel', 'setuptools',
                  *(package for extra in ('mpi', 'plots', 'video', 'atari', 'diff', 'figures', 'docs', 'track')
                    for package in extras[extra])]
extras['dev'] = ['ruff', 'mypy', *extras['fast'], *extras['test']]

setup(
    name='onpolicybaselines',
    version=re.search(r"__version__ = '(.*)'", read('onpolicybaselines', 'version.py')).group(1),
    description="OpenAI Baselines' on-policy algorithms in TensorFlow 2, with expressive policies",
    long_description=read('README.md'),
    long_description_content_type='text/markdown',
    license='MIT',
    python_requires='>=3.11',
    packages=find_packages(include=['onpolicybaselines', 'onpolicybaselines.*']),
    install_requires=[
        'tensorflow>=2.16',
        'tensorflow-probability>=0.24',
        'tf-keras>=2.16',
        'gymnasium[mujoco]>=1.4',
        'mujoco>=3.17',
        'numpy',
        'cloudpickle',
        'tensorboard',
        'tqdm',
        'PyYAML',
    ],
    extras_require=extras,
    entry_points={'console_scripts': ['onpolicybaselines = onpolicybaselines.session.console:main']},
    package_data={'onpolicybaselines': ['py.typed']},
)
