"""The tables of measurements in README.md and run/README.md, from results/: `python -m run.readme` writes them anew.

A table stands between the lines `<!-- table: NAME -->` and `<!-- end -->`; NAME is one of TABLES. With --check nothing
is written: exit status 1, and a line for each file that is stale.
"""
import argparse
import functools
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from onpolicybaselines.common.files import replacing
from run.plots.tables import Table, read_tables

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / 'results'
FILES = ('README.md', 'run/README.md')
REGION = re.compile(r'(?<=<!-- table: )(.*?)( -->\n).*?(?=<!-- end -->)', re.DOTALL)


def _read(path):
    return json.loads((RESULTS / path).read_text(encoding='utf-8'))


def _signed(cell):
    return re.sub(r'(?<!e)-(?=\d)', '−', cell)


def _uncounted(cell):
    """Without the number of runs."""
    return re.sub(r' \(\d+\)$', '', cell)


# ================================================================
# README.md
# ================================================================

def trpo() -> Table:
    """TRPO on Hopper: returns by seed, their mean, the share of updates given up."""
    data = _read('learning/trpo.json')
    return Table(('policy', *(f'seed {seed}' for seed in data['seeds']), 'mean', 'curvature <= 0'),
                 [(row['policy'], *map(str, row['returns']), f'{sum(row["returns"]) / len(row["returns"]):.0f}',
                   f'{row["given_up"]:.0%}') for row in data['rows']])


def acktr_cont() -> Table:
    """Continuous ACKTR: returns by seed and task."""
    rows = _read('learning/acktr_cont.json')['rows']
    tasks = list(rows[0]['returns'])
    return Table(('policy', *tasks),
                 [(row['policy'], *(' / '.join(map(str, row['returns'].get(task, []))) for task in tasks))
                  for row in rows])


def zoo() -> Table:
    """The models in results/zoo: how long they were trained, the returns of their evaluations."""
    rows = []
    for path in sorted((RESULTS / 'zoo').glob('*/*/config.json')):
        args = _read(path)['args']
        found = [_read(path.with_name(f'{name}.evaluation.json')) for name in ('best_model', 'deterministic')]
        rows.append((args['env'], args['policy'], f'{args["num_timesteps"]:,}',
                     *(f'{evaluation["mean"]:.0f} ± {evaluation["std"]:.0f}' for evaluation in found)))
    return Table(('task', 'policy', 'steps', 'actions drawn', 'deterministic actions'), rows)


def speed() -> Table:
    """Steps per second."""
    return _bench('speed').without('spread')


def profile() -> Table:
    """Milliseconds of an iteration by part, on two tasks."""
    return _bench('profile').where(lambda task: task.startswith(('Hopper', 'Reacher')))


def startup() -> Table:
    """First iteration against imports, and memory: a row for each policy."""
    measured = _bench('startup').lookup('policy')
    kinds = {'plain': 'without XLA', 'XLA, first': 'with it, first', 'XLA, later': 'later'}
    policies = dict.fromkeys(case.split(', ')[0] for case, in measured)
    memory = dict(zip(kinds, ('memory, MiB: without', 'with it, first', 'later'), strict=True))
    return Table(('policy', *kinds.values(), *memory.values()),
                 [(policy, *(measured[f'{policy}, {kind}',][column] for column in ('first iteration / imports',
                                                                                 'memory, MiB') for kind in kinds))
                  for policy in policies])


def ranks() -> Table:
    """Steps per second of MPI ranks."""
    return _bench('ranks').without('cores')


def mpi() -> Table:
    """Calls and bytes of MPI."""
    return _bench('mpi').without('first rank: calls', 'last rank: calls', 'iteration, ms')


def parity() -> Table:
    """Distances of the originals and of this package from the exact answers."""
    return read_tables(RESULTS / 'parity/report.md')[0]


def atari() -> Table:
    """Games from pixels against the emulator, and where an update's time goes."""
    return _bench('atari').without('spread')


def checkpoints() -> Table:
    """Time and bytes of a checkpoint."""
    return _bench('checkpoints')


def predict() -> Table:
    """Microseconds of one action."""
    return _bench('predict')


def _bench(report):
    found, = read_tables(RESULTS / 'bench' / f'{report}.md')
    return found


# ================================================================
# run/README.md
# ================================================================

def fig1() -> Table:
    """Spread: Gaussians by their medians, flows with the range of the seeds."""
    found, = read_tables(RESULTS / 'fig1/fig1.md')
    cells = found.lookup('held fixed', 'initial spread', 'distribution')
    measures = ('std', '99 % radius', '99.99 % radius')
    columns = [f'{measure}, {family}' for measure in measures for family in ('Gaussian', 'flow')]
    return Table(('held fixed', 'spread', *columns),
                 [(_signed(held), spread, *(cell for measure in measures for cell in (
                     cells[held, spread, 'gaussian'][measure].split(' (')[0], cells[held, spread, 'flow'][measure])))
                  for held, spread, family in cells if family == 'flow'])


def bandits() -> Table:
    """Bandits from the initialisation of training, a row for each policy."""
    cells = read_tables(RESULTS / 'fig2/fig2.md')[0].lookup('task', 'policy', 'initial spread')
    kl, both, correlation = 'KL to the optimum', 'seeds with 10 % in each mode', 'correlation'
    columns = {'(a) KL': ('correlated', kl), '(a) correlation (optimum 0.9)': ('correlated', correlation),
               '(b) KL': ('two modes', kl), '(b) seeds with ≥ 10 % in each mode': ('two modes', both),
               '(b) far apart: KL': ('two modes, far apart', kl),
               '(b) far apart: seeds with ≥ 10 % in each': ('two modes, far apart', both)}
    return Table(('policy', *columns),
                 [(policy, *(_signed(cells[task, policy, '0'][column]) for task, column in columns.values()))
                  for policy in dict.fromkeys(policy for _, policy, _ in cells)])


def ants() -> Table:
    """Where ants walk."""
    return read_tables(RESULTS / 'fig2/fig2.md')[1].cells(_signed)


def finals(name: str, *columns: str, folder: str | None = None) -> Table:
    """Final performance of an experiment; columns: those methods only."""
    found = _experiment(name, folder)[0].without('steps').cells(_uncounted).cells(_signed)
    return found.columns('task', *columns) if columns else found


def fig3_probabilities() -> Table:
    """That a run of one method ends above one of the other; the interval for all tasks together only."""
    found = _experiment('fig3')[1]
    rows = [(pair, *(re.sub(r' \[.*', '', cell) for cell in tasks), re.sub(r'\[(.*), (.*)\]', r'(\1 to \2)', last))
            for pair, *tasks, last in found.rows]
    return Table(found.head, rows)


def fig5() -> Table:
    """Final performance, and how probable it is that a flow ends above a Gaussian."""
    final, probability = finals('fig5'), _experiment('fig5')[1].lookup('')['flow over Gaussian',]
    return Table((*final.head, 'flow ends above Gaussian with probability'),
                 [(*row, probability[row[0]].split()[0]) for row in final.rows])


def fig7() -> Table:
    """Final performance of the sizes, with the number of runs."""
    (_, *cells), = _experiment('fig7')[0].without('steps').cells(_signed).rows
    names = [name for name in _experiment('fig7')[0].head[2:] if 'Gauss–Newton' not in name]
    return Table(('', *names), [('Hessian', *cells[::2]), ('Gauss–Newton', *cells[1::2])])


def _experiment(name, folder=None):
    return read_tables(RESULTS / (folder or name) / f'{name}.md')


def returns() -> Table:
    """Roboschool's own policies here and in its release: mean and standard deviation, how many ended early."""
    here, release = (_read('envs/returns.json')[side]['tasks'] for side in ('here', 'release'))

    def cells(returns, lengths):
        return (f'{np.mean(returns):.0f} ± {np.std(returns, ddof=1):.0f}',
                f'{sum(length < 1000 for length in lengths)} of {len(lengths)}')

    return Table(('task', 'here', 'ended early', 'release', 'ended early'),
                 [(task, *cells(**here[task]), *cells(**release[task])) for task in here])


def time_per_step(suite: str, title: str) -> Table:
    """Multiples of the time of gymnasium's task."""
    data = _read('envs/time_per_step.json')[suite]
    return Table((title, *data), [('', *map(str, data.values()))])


TABLES: dict[str, Callable[[], Table]] = {
    'TRPO on Hopper': trpo, 'continuous ACKTR': acktr_cont, 'speed': speed, 'profile': profile, 'startup': startup,
    'ranks': ranks, 'mpi': mpi, 'games': atari, 'checkpoints': checkpoints, 'predict': predict, 'parity': parity,
    'zoo': zoo, 'figure 1': fig1, 'figure 2, bandits': bandits, 'figure 2, ants': ants,
    'figure 3': functools.partial(finals, 'fig3'), 'figure 3, probabilities': fig3_probabilities,
    'ppo': lambda: _experiment('ppo')[1].cells(_signed),
    'the start': lambda: _experiment('why')[0].without('steps').cells(_signed), 'observation filter': functools.partial(
        finals, 'filter_update', 'Gaussian', 'Gaussian, filter after', 'flow, Gauss–Newton',
        'flow, Gauss–Newton, filter after', folder='fig3'),
    'figure 5': fig5, 'figure 7': fig7, 'Roboschool returns': returns,
    'rllab time': functools.partial(time_per_step, 'rllab', 'rllab'),
    'Roboschool time': functools.partial(time_per_step, 'roboschool', 'Roboschool'),
}


def render(text: str) -> str:
    """The text with its tables as results/ has them. Raises KeyError for a table that is none of TABLES."""
    return REGION.sub(lambda match: f'{match[1]}{match[2]}{TABLES[match[1]]()}', text)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 1 with --check if a file is stale."""
    parser = argparse.ArgumentParser(prog='python -m run.readme', description=__doc__.splitlines()[0])
    parser.add_argument('--check', action='store_true', help='write nothing, name the files that are stale')
    args = parser.parse_args(argv)
    stale = []
    for name in FILES:
        before = (ROOT / name).read_text(encoding='utf-8')
        after = render(before)
        if after != before:
            stale.append(name)
            if not args.check:
                with replacing(ROOT / name, encoding='utf-8') as fh:
                    fh.write(after)
    for name in stale:
        print(f'{name}: {"tables are stale: make readme" if args.check else "tables written"}')
    return int(args.check and bool(stale))


if __name__ == '__main__':
    sys.exit(main())
