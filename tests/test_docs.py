"""Every public name is documented and typed, and the documents say what is true."""
import doctest
import importlib
import inspect
import json
import pathlib
import pkgutil
import re
import subprocess

import pytest

import onpolicybaselines

ROOT = pathlib.Path(__file__).parents[1]
MODULES = ['onpolicybaselines', *(m.name for m in pkgutil.walk_packages(onpolicybaselines.__path__,
                                                                        'onpolicybaselines.'))]


def functions_of(owner, module):
    """(name, function) of public functions that `owner`, a module or class, defines; __init__ counts."""
    for name, value in vars(owner).items():
        value = inspect.unwrap(value.__func__ if isinstance(value, (staticmethod, classmethod)) else value)
        if isinstance(value, property):
            value = value.fget
        if inspect.isfunction(value) and value.__module__ == module and (name == '__init__' or name[0] != '_'):
            yield name, value


def public(module_name):
    """(qualified name, owner, function) for each public function and method of a module."""
    module = importlib.import_module(module_name)
    for name, value in functions_of(module, module_name):
        yield name, module, value
    for name, owner in vars(module).items():
        if inspect.isclass(owner) and owner.__module__ == module_name and not name.startswith('_'):
            yield from ((f'{name}.{method}', owner, f) for method, f in functions_of(owner, module_name))


@pytest.mark.parametrize('module', MODULES)
def test_public_names_have_docstrings(module):
    imported = importlib.import_module(module)
    if imported.__file__ and pathlib.Path(imported.__file__).read_text().strip():
        assert imported.__doc__, module
    missing = [name for name, owner, f in public(module)
               if not name.endswith('__init__') and not inspect.getdoc(f)
               and not (inspect.isclass(owner) and inspect.getdoc(getattr(owner, f.__name__, None)))]
    assert not missing


def is_typed(f):
    parameters = list(inspect.signature(f).parameters.values())
    if parameters and parameters[0].name in ('self', 'cls'):
        parameters = parameters[1:]
    named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    return all(p.annotation is not p.empty for p in named)


@pytest.mark.parametrize('module', MODULES)
def test_public_functions_have_type_hints(module):
    """A method may leave them to the base class that declares it."""
    def inherited(owner, name):
        return inspect.isclass(owner) and any(name in vars(base) for base in owner.__mro__[1:-1])
    missing = [name for name, owner, f in public(module) if not is_typed(f) and not inherited(owner, f.__name__)]
    assert not missing


@pytest.mark.parametrize('module', MODULES)
def test_examples_in_docstrings_are_true(module):
    failed, _ = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert not failed


def test_readme_names_real_targets_files_and_options():
    from onpolicybaselines import run
    from onpolicybaselines.common.distributions import POLICIES
    from onpolicybaselines.session import options
    from onpolicybaselines.session.start import ALGORITHMS
    readme = (ROOT / 'README.md').read_text()
    makefile = (ROOT / 'Makefile').read_text()
    for target in re.findall(r'\bmake ([a-z0-9-]+)', readme):
        assert re.search(rf'^{target}:', makefile, re.M), target
    for path in re.findall(r'`((?:onpolicybaselines|run|common|trpo_mpi|acktr|a2c)/[\w/.]+)`', readme):
        assert (ROOT / path).exists() or (ROOT / 'onpolicybaselines' / path).exists(), path
    flags = {a.dest for a in run.common_arg_parser()._actions} | {'dirs', 'save'}
    flags = flags.union(*(options.learn_keywords(run.get_learn_function(alg)) for alg in ALGORITHMS),
                        *map(options.policy_keywords, POLICIES))
    assert set(re.findall(r'--(\w+)[= `]', readme)) - {'no-deps'} <= flags | {'no', 'name'}


def test_readme_says_where_each_file_of_ours_is():
    """By its name, or by its folder, in the map; files that upstream has, too, are where upstream has them."""
    map_, = re.findall(r'^\| ours \| \|\n(.*?)\n\n', (ROOT / 'README.md').read_text(), re.M | re.S)
    named = {pathlib.PurePath(path).name for path in re.findall(r'`([\w/.]+)`', map_)}
    package = ROOT / 'onpolicybaselines'
    files = {path.relative_to(package) for path in package.rglob('*.py')}
    ours = {path for path in files if str(path) not in json.loads((ROOT / 'tests/upstream_names.json').read_text())}
    assert not [path for path in ours if path.name != '__init__.py' and named.isdisjoint(path.parts)]


@pytest.mark.parametrize('name', ['README.md', 'UPSTREAM.md', 'CHANGELOG.md', 'run/README.md'])
def test_tests_that_are_named_exist(name):
    files = [*(ROOT / 'tests').rglob('test_*.py')]
    known = {file.stem for file in files}.union(*(re.findall(r'def (test_\w+)', file.read_text()) for file in files))
    assert set(re.findall(r'\btest_\w+', (ROOT / name).read_text())) <= known


def test_make_help_lists_every_target():
    listed = subprocess.run(['make', 'help'], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    makefile = (ROOT / 'Makefile').read_text()
    figures = re.search(r'^FIGURES := (.*)$', makefile, re.M).group(1)
    phony = re.search(r'^\.PHONY: (.*)$', makefile, re.M).group(1).replace('$(FIGURES)', figures).split()
    assert set(re.findall(r'^  make ([a-z0-9-]+)', listed, re.M)) == set(phony)
