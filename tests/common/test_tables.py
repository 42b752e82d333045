"""Files of runs, whole and damaged in every way, as all readers see them: the right value, or the file's name."""
import gzip
import json

import numpy as np
import pytest

from onpolicybaselines import logger, results_plotter
from onpolicybaselines.bench import LoadMonitorResultsError, load_results
from onpolicybaselines.common import plot_util

HEADER = '# {"t_start": 10.0, "env_id": "Hopper-v5"}\n'
WHOLE = HEADER + 'r,l,t\n1.5,10,1.0\n2.5,20,2.0\n'
DAMAGED_TABLE = {
    'more fields': 'r,l,t\n1.5,10,1.0,True\n',
    'more fields in all rows': 'r,l,t\n1.5,10,1.0,True\n2.5,20,2.0,True\n',
    'fewer fields': 'r,l,t\n1.5,10,1.0\n2.5,20\n',
    'run together in the first line': 'r,l,t\n1.5,10,1.01.5,10,1.0\n2.5,20,2.0\n',
    'run together later': 'r,l,t\n1.5,10,1.0\n2.5,20,2.5,20,2.0\n',
    'concatenated': 'r,l,t\n1.5,10,1.0\n' + WHOLE,
    'no header': '1.5,10,1.0\n2.5,20,2.0\n',
    'a word': 'r,l,t\n1.5,10,1.0\noops,20,2.0\n',
    'a column twice': 'r,l,t,r\n1.5,10,1.0,2.5\n',
    'an open quote': 'r,l,t\n1.5,10,1.0\n"2.5,20,2.0\n',
    'a zero byte': 'r,l,t\n1.5,10,1.0\n2\0.5,20,2.0\n',
}
DAMAGED_MONITOR = {
    **{name: HEADER + text for name, text in DAMAGED_TABLE.items()},
    'no first line': 'r,l,t\n1.5,10,1.0\n',
    'no table': HEADER,
    'a first line that is no object': '# [1]\nr,l,t\n1.5,10,1.0\n',
    'a first line without end': '# ' + '[' * 100_000 + '\nr,l,t\n1.5,10,1.0\n',
    't_start null': '# {"t_start": null}\nr,l,t\n1.5,10,1.0\n',
    't_start a truth': '# {"t_start": true}\nr,l,t\n1.5,10,1.0\n',
    't_start a word': '# {"t_start": "10"}\nr,l,t\n1.5,10,1.0\n',
    't_start infinite': '# {"t_start": Infinity}\nr,l,t\n1.5,10,1.0\n',
    't_start of many digits': '# {"t_start": 1%s}\nr,l,t\n1.5,10,1.0\n' % ('0' * 400),
    'env_id a number': '# {"t_start": 1, "env_id": 3}\nr,l,t\n1.5,10,1.0\n',
    'words only': HEADER + 'r,l,t\noops,10,1.0\n',
    'an empty cell': HEADER + 'r,l,t\n,10,1.0\n2.5,20,2.0\n',
    'infinite': HEADER + 'r,l,t\ninf,10,1.0\n',
    'a length of 0': HEADER + 'r,l,t\n1.5,0,1.0\n',
    'half a step': HEADER + 'r,l,t\n1.5,9.5,1.0\n',
    'truth': HEADER + 'r,l,t\nTrue,10,1.0\n',
}


def write_damaged(path, text, how):
    """The text, or what no text can be, in the place of a file."""
    if how == 'binary':
        path.write_bytes(np.random.default_rng(0).bytes(2000))
    elif how == 'latin-1':
        path.write_bytes(text.encode() + 'é,1,1\n'.encode('latin-1'))
    elif how == 'utf-16':
        path.write_bytes(text.encode('utf-16'))
    elif how == 'folder':
        path.mkdir()
    else:
        path.write_text(text)


@pytest.mark.parametrize('how', [*DAMAGED_MONITOR, 'binary', 'latin-1', 'utf-16', 'folder'])
def test_one_damaged_monitor_file_is_named_and_left_out(how, tmp_path, capsys):
    run, bad = tmp_path / 'run', tmp_path / 'run' / '1.monitor.csv'
    run.mkdir()
    write_damaged(bad, DAMAGED_MONITOR.get(how, WHOLE), how)
    with pytest.raises(LoadMonitorResultsError) as e:
        load_results(str(run))
    assert str(bad) in str(e.value) and '\n' not in str(e.value)

    (run / '0.monitor.csv').write_text(WHOLE)
    df = load_results(str(run))
    assert df.r.tolist() == [1.5, 2.5] and df.l.tolist() == [10, 20] and df.t.tolist() == [1., 2.]
    out, err = capsys.readouterr()
    assert not out and err.count('\n') == 1 and str(bad) in err


@pytest.mark.parametrize('how', [*DAMAGED_MONITOR, 'binary', 'folder', 'empty'])
def test_one_damaged_run_stops_no_figure(how, tmp_path, capsys):
    for run in ('good', 'bad'):
        (tmp_path / run).mkdir()
    (tmp_path / 'good/0.monitor.csv').write_text(WHOLE)
    write_damaged(tmp_path / 'bad/0.monitor.csv', DAMAGED_MONITOR.get(how, ''), how)
    result, = plot_util.load_results(str(tmp_path))
    assert result.dirname == str(tmp_path / 'good')
    err = capsys.readouterr().err
    assert err.count('\n') == 1 and str(tmp_path / 'bad') in err


def test_the_figure_is_drawn_beside_damaged_runs(tmp_path, capsys):
    for i, text in enumerate([WHOLE, *DAMAGED_MONITOR.values()]):
        (tmp_path / f'run-{i}').mkdir()
        (tmp_path / f'run-{i}/0.monitor.csv').write_text(text)
        (tmp_path / f'run-{i}/config.json').write_text('["no object"]')
    assert results_plotter.main(['--dirs', str(tmp_path), '--save', str(tmp_path / 'curves.png')]) == 0
    assert (tmp_path / 'curves.png').stat().st_size > 1000
    err = capsys.readouterr().err.splitlines()
    for i in range(1, len(DAMAGED_MONITOR) + 1):
        assert sum(f'run-{i}/0.monitor.csv' in line for line in err) == 1


@pytest.mark.parametrize('cut', range(1, 11))
def test_a_cut_last_line_is_no_episode(cut, tmp_path):
    path = tmp_path / 'monitor.csv'
    path.write_text(WHOLE[:-cut])
    assert load_results(str(tmp_path)).r.tolist() == [1.5]
    (tmp_path / 'progress.csv').write_text('a,b\n1,"x"\n2,"y"\n'[:-min(cut, 6)])
    frame = logger.read_csv(str(tmp_path / 'progress.csv'))
    assert (frame.a.tolist(), frame.b.tolist()) == ([1], ['x'])
    (tmp_path / 'progress.json').write_text('{"a": 1}\n{"a": 25}\n'[:-1 - min(cut, 9)])
    assert logger.read_json(str(tmp_path / 'progress.json')).a.tolist() == [1]


def test_a_single_row_of_two_writers_is_no_text(tmp_path):
    path = tmp_path / 'progress.csv'
    for word in ('2.01.0', '-2.5-1.5', '1.5e+05-0.25'):
        path.write_text(f'a,b\n1,{word}\n')
        with pytest.raises(ValueError, match=f'progress.csv: line 2 has {word!r}'.replace('+', r'\+')):
            logger.read_csv(str(path))
    for word in ('word', '2026-11-30', 'v1.2'):
        path.write_text(f'a,b\n1,{word}\n')
        assert logger.read_csv(str(path)).b.tolist() == [word]


@pytest.mark.parametrize('read, name', [(logger.read_csv, 'progress.csv'), (logger.read_json, 'progress.json')])
@pytest.mark.parametrize('how', [*DAMAGED_TABLE, 'empty', 'binary', 'latin-1', 'utf-16', 'folder', 'nowhere'])
def test_a_damaged_progress_file_is_named(how, read, name, tmp_path):
    text = DAMAGED_TABLE.get(how, '')
    if name == 'progress.json' and how == 'a word':
        text = '{"a": 1.5}\n{"a": "oops"}\n'
    if how != 'nowhere' and not (name == 'progress.json' and how == 'empty'):
        write_damaged(tmp_path / name, text, how)
    with pytest.raises(ValueError) as e:
        read(str(tmp_path / name))
    assert str(tmp_path / name) in str(e.value) and '\n' not in str(e.value)


@pytest.mark.parametrize('line', ['[1]', '3', 'null', '"a"', '{"a": 1}{"a": 1}', '[' * 100_000])
def test_a_line_that_is_no_object_is_named(line, tmp_path):
    (tmp_path / 'progress.json').write_text('{"a": 1}\n' + line + '\n')
    with pytest.raises(ValueError, match='progress.json, line 2: '):
        logger.read_json(str(tmp_path / 'progress.json'))


def test_whole_files_of_other_writers_have_their_values(tmp_path):
    (tmp_path / '0.monitor.csv').write_bytes((HEADER + 'r,l,t,note\n0.1,10.0,1,"a,\nb"\n\n1e3,20,2,\n')
                                             .replace('\n', '\r\n').encode())
    (tmp_path / '1.monitor.csv.gz').write_bytes(gzip.compress(WHOLE.encode()))
    df = load_results(str(tmp_path))
    assert sorted(df.r) == [.1, 1.5, 2.5, 1000.] and df.l.dtype == np.int64
    (tmp_path / 'progress.csv').write_text('a,b,c,d\n0.1,,True,x\n1e-300,nan,False,\n')
    frame = logger.read_csv(str(tmp_path / 'progress.csv'))
    assert frame.a.tolist() == [.1, 1e-300] and frame.c.tolist() == [True, False] and np.isnan(frame.b).all()
    dumps = [{'a': None, 'b': [1, 2]}, {'a': 3, 'b': 'text'}]
    (tmp_path / 'progress.json').write_text('\n'.join(map(json.dumps, dumps)) + '\n')
    frame = logger.read_json(str(tmp_path / 'progress.json'))
    assert np.isnan(frame.a[0]) and frame.b.tolist() == [[1, 2], 'text']
