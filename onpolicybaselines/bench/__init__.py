"""Episode records and benchmark tables. Source: openai/baselines `bench/__init__.py`."""
from onpolicybaselines.bench.benchmarks import (
    find_task_for_env_id_in_any_benchmark,
    get_benchmark,
    get_task,
    list_benchmarks,
    register_benchmark,
)
from onpolicybaselines.bench.monitor import (
    LoadMonitorResultsError,
    Monitor,
    ResultsWriter,
    get_monitor_files,
    load_results,
)

__all__ = [
    'LoadMonitorResultsError', 'Monitor', 'ResultsWriter', 'find_task_for_env_id_in_any_benchmark',
    'get_benchmark', 'get_monitor_files', 'get_task', 'list_benchmarks', 'load_results', 'register_benchmark',
]
