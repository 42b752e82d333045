"""Is it the shape of a flow that gains? All policies from the same standard deviation at the start. Ours."""
import sys

from run.experiments.experiment import FLOW, GAUSSIAN, GMM5, STATE, Experiment, Method, with_both_fishers
from run.reproduce import draw_curves, main

LOGSTDS = {'1': 0, '0.61': -0.5, '0.37': -1, '0.14': -2}  # by the standard deviation, as in names and legends
_GAUSS_NEWTON = with_both_fishers({'gmm5': GMM5, 'flow': FLOW})
FAMILIES = {'gaussian': (GAUSSIAN, 'init_logstd'), 'gaussian-state': (STATE, 'init_logstd'),
            'gmm5-gn': (_GAUSS_NEWTON['gmm5-gn'], 'init_logstd'),
            'flow-gn': (_GAUSS_NEWTON['flow-gn'], 'flow_base_logstd')}


def starting_at(std: str) -> dict[str, Method]:
    """The families with that standard deviation at the start; 1 is what they have without an option."""
    if std == '1':
        return {name: method for name, (method, _) in FAMILIES.items()}
    return {f'{name}-{std}': method.plus(f'--{option}={LOGSTDS[std]}', f', std {std}')
            for name, (method, option) in FAMILIES.items()}


STARTS = {std: starting_at(std) for std in LOGSTDS}

EXPERIMENT = Experiment(
    name='why',
    title='TRPO, policies that start with the same standard deviation',
    tasks=dict.fromkeys(('Ant-v5', 'Humanoid-v5', 'HalfCheetah-v5'), 1_000_000),
    methods={name: method for methods in STARTS.values() for name, method in methods.items()},
    seeds=5,
    panels={f'std {std} at the start': tuple(methods) for std, methods in STARTS.items()},
    comparisons=tuple((flow, other) for *others, flow in STARTS.values() for other in others),
)


def draw(experiment: Experiment, folder: str) -> None:
    """Curves and tables; final returns against the standard deviation at the start."""
    draw_curves(experiment, folder)
    from run.plots import starts
    starts.draw(experiment, folder, {std: dict(zip(FAMILIES, names, strict=True)) for std, names in STARTS.items()})


if __name__ == '__main__':
    sys.exit(main(EXPERIMENT, draw=draw))
