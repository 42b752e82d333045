import csv
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas
import pytest
from tqdm import tqdm

from onpolicybaselines import logger
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.mpi_world import LAUNCHER_VARIABLES
from onpolicybaselines.logger import Logger

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def fresh_logger(monkeypatch, tmp_path):
    """No logger, no launcher, no OPENAI_ variables; default run folders go to tmp_path."""
    monkeypatch.setattr(Logger, 'CURRENT', None)
    monkeypatch.setattr(Logger, 'DEFAULT', None)
    for var in ('OPENAI_LOGDIR', 'OPENAI_LOG_FORMAT', 'OPENAI_LOG_FORMAT_MPI', *dict(LAUNCHER_VARIABLES)):
        monkeypatch.delenv(var, raising=False)
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path / 'tempdir'))
    yield
    for current in (Logger.CURRENT, Logger.DEFAULT):
        if current is not None:
            current.close()


def strict_json(line):
    def refuse(constant):
        raise AssertionError(f'{constant} is not JSON')
    return json.loads(line, parse_constant=refuse)


# Output formats

def test_human_table():
    out = io.StringIO()
    logger.HumanOutputFormat(out).writekvs({'b': 2.5, 'A': 'word', 'c': np.float32(1234567)})
    assert out.getvalue() == ('----------------\n'
                              '| A | word     |\n'
                              '| b | 2.5      |\n'
                              '| c | 1.23e+06 |\n'
                              '----------------\n')


def test_human_keeps_keys_that_look_alike_once_cut_and_prints_arrays():
    out = io.StringIO()
    prefix = 'x' * 40
    logger.HumanOutputFormat(out).writekvs({prefix + '1': 1, prefix + '2': 2, 'arr': np.arange(3)})
    lines = out.getvalue().splitlines()
    assert len(lines) == 5 and len({len(line) for line in lines}) == 1
    assert '| [0, 1, 2] ' in lines[1]
    assert lines[2].split('|')[1] == lines[3].split('|')[1] == ' ' + 'x' * 27 + '... '


def test_human_messages_and_ownership(tmp_path):
    path = tmp_path / 'log.txt'
    fmt = logger.HumanOutputFormat(str(path))
    fmt.writeseq(['one', 'two'])
    assert path.read_text() == 'one two\n'  # flushed before close
    fmt.close()
    assert fmt.file.closed
    stream = io.StringIO()
    logger.HumanOutputFormat(stream).close()
    assert not stream.closed
    with pytest.raises(ValueError, match='file name or an open text file, got 3'):
        logger.HumanOutputFormat(3)


def test_human_moves_a_progress_bar_out_of_the_way():
    terminal = io.StringIO()
    with tqdm(total=10, file=terminal, mininterval=0, leave=False, position=0) as bar:  # whatever bars others left
        bar.update(3)
        before = len(terminal.getvalue())
        logger.HumanOutputFormat(terminal).writeseq(['message'])
        cleared, message, redrawn = terminal.getvalue()[before:].partition('message\n')
        assert message and cleared.endswith('\r') and cleared.strip() == ''
        assert '3/10' in redrawn


def test_json_is_strict_and_reads_back(tmp_path):
    path = tmp_path / 'progress.json'
    fmt = logger.JSONOutputFormat(str(path))
    kvs = {'f32': np.float32(.5), 'i64': np.int64(2**60), 'nan': float('nan'), 'inf': np.float64('inf'),
           'arr': np.array([1., np.nan]), 'text': 'a "quoted", word', 'flag': np.bool_(True), 'one': np.ones((1, 1)),
           'dict': {'x': np.nan}, 'path': Path('p')}
    original = dict(kvs)
    fmt.writekvs(kvs)
    fmt.writekvs({'nan': 3})
    fmt.writekvs({})
    assert all(kvs[k] is original[k] for k in original)
    lines = path.read_text().splitlines()
    assert [strict_json(line) for line in lines] == [
        {'f32': .5, 'i64': 2**60, 'nan': None, 'inf': None, 'arr': [1., None], 'text': 'a "quoted", word',
         'flag': True, 'one': 1., 'dict': {'x': None}, 'path': 'p'}, {'nan': 3}]
    fmt.close()
    frame = logger.read_json(str(path))
    assert frame.nan.dtype == np.float64 and np.isnan(frame.nan[0]) and frame.nan[1] == 3
    assert frame.i64[0] == 2**60


def test_read_json_names_the_damaged_line(tmp_path):
    path = tmp_path / 'progress.json'
    path.write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(ValueError, match=r'progress\.json, line 2: not valid JSON'):
        logger.read_json(str(path))


def test_csv_widens_and_quotes(tmp_path):
    path = tmp_path / 'progress.csv'
    fmt = logger.CSVOutputFormat(str(path))
    rows = [{'b': 1, 'a': 'x,"y"\nz'}, {'b': 2.5}, {}, {'key, with "quotes"': None, 'c': np.float32(.5)},
            {'a': 'é', 'key, with "quotes"': 7, 'd': np.nan}]
    for row in rows:
        fmt.writekvs(row)
        with open(path, encoding='utf-8', newline='') as fh:  # whole at every moment
            table = list(csv.reader(fh))
        assert len({len(cells) for cells in table}) == 1
    fmt.close()
    assert fmt.file.closed
    assert table == [['a', 'b', 'c', 'key, with "quotes"', 'd'],
                     ['x,"y"\nz', '1', '', '', ''],
                     ['', '2.5', '', '', ''],
                     ['', '', '0.5', '', ''],
                     ['é', '', '', '7', 'nan']]
    frame = logger.read_csv(str(path))
    assert list(frame.columns) == table[0] and len(frame) == 4
    assert frame.a[0] == 'x,"y"\nz' and frame.b[1] == 2.5 and frame['key, with "quotes"'][3] == 7
    assert os.listdir(tmp_path) == ['progress.csv']


def test_csv_keeps_doubles_exactly_and_rows_without_values(tmp_path):
    path = tmp_path / 'progress.csv'
    values = np.random.default_rng(0).normal(size=50) * 10.**np.arange(-25, 25)
    fmt = logger.CSVOutputFormat(str(path))
    fmt.writekvs({'v': None})
    for v in values:
        fmt.writekvs({'v': v})
    fmt.close()
    frame = pandas.read_csv(path, float_precision='round_trip')
    assert np.isnan(frame.v[0])
    np.testing.assert_array_equal(frame.v[1:], values)


@pytest.mark.parametrize('name', ['TimestepsSoFar', 'total_timesteps', 'misc/total_timesteps'])
def test_tensorboard_shows_scalars_by_time_steps(name, tmp_path):
    """Under the names that the algorithms have for them."""
    logger.configure(str(tmp_path), ['tensorboard'])
    for steps in (1024, 2048., np.float32(3072)):
        logger.logkvs({name: steps, 'EpRewMean': steps / 2})
        logger.dumpkvs()
    frame = logger.read_tb(str(tmp_path / 'tb'))
    assert list(frame.index) == [1024, 2048, 3072] and frame.EpRewMean.tolist() == [512, 1024, 1536]


def test_tensorboard_shows_scalars_by_dump(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    logger.configure(str(tmp_path), ['tensorboard'])
    for i in range(3):
        logger.logkvs({'EpRewMean': np.float64(10 + i), 'text': 'no scalar', 'arr': np.ones(3)})
        if i != 1:
            logger.logkv('sometimes', i)
        logger.dumpkvs()
        logger.dumpkvs()  # nothing logged: no step
    events = EventAccumulator(str(tmp_path / 'tb')).Reload()  # flushed before close
    assert set(events.Tags()['tensors']) == {'EpRewMean', 'sometimes'}
    assert events.SummaryMetadata('EpRewMean').plugin_data.plugin_name == 'scalars'
    assert [e.step for e in events.Tensors('EpRewMean')] == [1, 2, 3]
    assert [e.step for e in events.Tensors('sometimes')] == [1, 3]
    frame = logger.read_tb(str(tmp_path / 'tb'))
    assert list(frame.columns) == ['EpRewMean', 'sometimes']
    np.testing.assert_array_equal(frame.values, [[10, 0], [11, np.nan], [12, 2]])
    assert list(frame.index) == [1, 2, 3]
    event_file, = (tmp_path / 'tb').iterdir()
    assert logger.read_tb(str(event_file)).equals(frame)
    with pytest.raises(ValueError, match='neither a TensorBoard event file'):
        logger.read_tb(str(tmp_path))


def test_tensors_are_numbers_too(tmp_path):
    import tensorflow as tf
    logger.configure(str(tmp_path), ['csv', 'json', 'log'])
    logger.logkvs({'const': tf.constant(.5), 'var': tf.Variable([3.])})
    logger.dumpkvs()
    assert strict_json((tmp_path / 'progress.json').read_text()) == {'const': .5, 'var': 3.}
    assert (tmp_path / 'progress.csv').read_text() == 'const,var\n0.5,3.0\n'
    assert '| const | 0.5 ' in (tmp_path / 'log.txt').read_text()


def test_unknown_format_leaves_nothing_open(tmp_path):
    with pytest.raises(UsageError) as e:
        logger.configure(str(tmp_path), ['csv', 'cvs'])
    assert str(e.value) == "unknown log format 'cvs': use one of stdout, log, json, csv, tensorboard"
    assert Logger.CURRENT is None


def test_unwritable_folder_is_one_clear_line(tmp_path):
    (tmp_path / 'file').write_text('')
    for attempt in (lambda d: logger.configure(d, ['csv']), lambda d: logger.make_output_format('csv', d)):
        with pytest.raises(UsageError) as e:
            attempt(str(tmp_path / 'file' / 'run'))
        assert str(e.value) == (f'cannot write logs to {tmp_path}/file/run (Not a directory); choose another '
                                'folder with logger.configure(dir=...) or OPENAI_LOGDIR')
    (tmp_path / 'progress.csv').mkdir()
    with pytest.raises(UsageError, match=r'cannot write logs to .* \(Is a directory\)'):
        logger.configure(str(tmp_path), ['log', 'csv'])


# API

def test_default_formats_and_file_names(tmp_path, capsys):
    logger.configure(str(tmp_path / 'run'))
    logger.logkv('a', 3)
    assert logger.dumpkvs() == {'a': 3}
    assert sorted(os.listdir(tmp_path / 'run')) == ['log.txt', 'progress.csv']
    assert capsys.readouterr().out == (tmp_path / 'run' / 'log.txt').read_text() == (
        f'Logging to {tmp_path}/run\n----------------\n| a | 3        |\n----------------\n')
    assert logger.get_dir() == str(tmp_path / 'run')


def test_environment_variables(tmp_path, monkeypatch):
    monkeypatch.setenv('OPENAI_LOGDIR', str(tmp_path / 'run'))
    monkeypatch.setenv('OPENAI_LOG_FORMAT', 'json,csv,')
    monkeypatch.setenv('OPENAI_LOG_FORMAT_MPI', 'csv')
    logger.configure()
    monkeypatch.setenv('PMI_RANK', '2')
    logger.configure(log_suffix='-eval')
    assert sorted(os.listdir(tmp_path / 'run')) == ['progress-eval-rank002.csv', 'progress.csv', 'progress.json']
    monkeypatch.delenv('OPENAI_LOG_FORMAT_MPI')
    logger.configure()
    assert 'log-rank002.txt' in os.listdir(tmp_path / 'run')


def test_means_and_last_values(tmp_path):
    logger.configure(str(tmp_path), [])
    for v in (-22.5, -44.5, 7.):
        logger.logkv_mean('mean', v)
    logger.logkv('last', 1)
    logger.logkv('last', 2)
    logger.logkv('set then mean', np.nan)
    logger.logkv_mean('set then mean', 4)
    logger.logkv_mean('mean then set', 100.)
    logger.logkv('mean then set', 1.)
    logger.logkv_mean('mean then set', 5.)
    assert logger.getkvs()['last'] == 2
    assert logger.dump_tabular() == pytest.approx(
        {'mean': -20., 'last': 2, 'set then mean': 4, 'mean then set': 5.}, rel=1e-15)
    assert logger.dumpkvs() == {}
    logger.logkv_mean('mean', 1.)
    assert logger.dumpkvs() == {'mean': 1.}


def test_levels(tmp_path):
    logger.configure(str(tmp_path), ['log'])
    logger.debug('hidden')
    logger.info('shown', 1)
    logger.set_level(logger.DEBUG)
    logger.debug('debug')
    logger.set_level(logger.DISABLED)
    logger.error('hidden')
    assert (tmp_path / 'log.txt').read_text() == f'Logging to {tmp_path}\nshown 1\ndebug\n'


def test_profile_adds_up_within_a_dump(tmp_path):
    logger.configure(str(tmp_path), [])

    @logger.profile('nap')
    def nap(seconds):
        """Sleep."""
        time.sleep(seconds)
        return seconds

    assert nap(.02) == .02 and nap.__name__ == 'nap' and nap.__doc__ == 'Sleep.'
    with pytest.raises(TypeError):
        nap(None)
    with logger.profile_kv('nap'):
        time.sleep(.01)
    d = logger.dumpkvs()
    assert set(d) == {'wait_nap'} and .03 <= d['wait_nap'] < 3


# Which logger is current

def test_first_use_configures_the_default_logger(tmp_path):
    (tmp_path / 'tempdir').mkdir()
    logger.log('hello')
    assert Logger.CURRENT is Logger.DEFAULT
    run, = (tmp_path / 'tempdir').iterdir()
    assert logger.get_dir() == str(run) and run.name.startswith('openai-')


def test_reset_before_configure_does_nothing(tmp_path):
    logger.reset()
    assert Logger.CURRENT is None and os.listdir(tmp_path) == []


def test_reset_without_a_default_logger_makes_none(tmp_path):
    logger.configure(str(tmp_path / 'run'), ['csv'])
    configured = Logger.CURRENT
    logger.reset()
    assert configured.output_formats[0].file.closed
    assert Logger.CURRENT is None and os.listdir(tmp_path) == ['run']


def test_reset_returns_to_the_open_default(tmp_path):
    logger.log('makes the default')
    default = Logger.CURRENT
    logger.configure(str(tmp_path / 'run'), ['csv'])
    configured = Logger.CURRENT
    logger.reset()
    logger.reset()
    assert Logger.CURRENT is default and configured.output_formats[0].file.closed
    assert (Path(default.dir) / 'log.txt').read_text().splitlines()[1:] == ['makes the default', 'Reset logger']


def test_configure_closes_the_logger_it_replaces(tmp_path):
    logger.configure(str(tmp_path / 'a'), ['csv'])
    first = Logger.CURRENT
    logger.configure(str(tmp_path / 'b'), ['csv'])
    assert first.output_formats[0].file.closed and not Logger.CURRENT.output_formats[0].file.closed


def test_scoped_configure_restores_the_open_logger(tmp_path):
    logger.configure(str(tmp_path / 'outer'), ['log'])
    outer = Logger.CURRENT
    with pytest.raises(KeyError), logger.scoped_configure(str(tmp_path / 'inner'), ['log']):
        inner = Logger.CURRENT
        logger.configure(str(tmp_path / 'nested'), ['log'])
        nested = Logger.CURRENT
        raise KeyError
    assert Logger.CURRENT is outer
    assert inner.output_formats[0].file.closed and nested.output_formats[0].file.closed
    logger.log('back')
    assert (tmp_path / 'outer' / 'log.txt').read_text().endswith('back\n')


def test_scoped_configure_survives_reset_inside(tmp_path):
    with logger.scoped_configure(str(tmp_path / 'inner'), []):
        logger.reset()
        logger.log('makes the default')
        default = Logger.CURRENT
    assert Logger.CURRENT is None
    logger.log('uses it again')
    assert Logger.CURRENT is default
    assert (Path(default.dir) / 'log.txt').read_text().endswith('uses it again\n')


# Processes

def test_importing_is_light():
    code = ('import sys, onpolicybaselines.logger, onpolicybaselines.bench, onpolicybaselines.results_plotter\n'
            'print([m for m in ("tensorflow", "mpi4py", "tqdm") if m in sys.modules])')
    out = subprocess.run([sys.executable, '-W', 'error', '-c', code], cwd=ROOT, check=True, capture_output=True,
                         text=True)
    assert (out.stdout, out.stderr) == ('[]\n', '')


def test_dumps_are_weighted_means_over_ranks(tmp_path, monkeypatch, mpirun):
    monkeypatch.setenv('OPENAI_LOG_FORMAT', 'csv')
    monkeypatch.setenv('OPENAI_LOG_FORMAT_MPI', 'csv,log')
    out = mpirun(2, '''
        import sys
        from onpolicybaselines import logger
        from onpolicybaselines.common.mpi_world import get_comm
        logger.configure(sys.argv[1], comm=get_comm())
        rank = get_comm().rank
        logger.logkv('v', rank)
        for v in [1.] if rank == 0 else [2., 3., 4.]:
            logger.logkv_mean('m', v)
        d = logger.dumpkvs()
        assert d == ({'v': .5, 'm': 2.5} if rank == 0 else {}), (rank, d)
        ''', tmp_path / 'run')
    assert out.returncode == 0, out.stderr
    assert (tmp_path / 'run' / 'progress.csv').read_text() == 'm,v\n2.5,0.5\n'
    assert (tmp_path / 'run' / 'progress-rank001.csv').read_text() == ''
    assert (tmp_path / 'run' / 'log-rank001.txt').exists()
