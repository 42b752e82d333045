"""The tables of measurements in the READMEs are those of results/."""
import re

import pytest

from run import readme
from run.plots.tables import Table, read_tables, table


def test_tables_are_those_of_results(capsys):
    assert readme.main(['--check']) == 0, capsys.readouterr().out


def test_every_table_stands_once():
    texts = [(readme.ROOT / file).read_text() for file in readme.FILES]
    names = [name for text in texts for name in re.findall('<!-- table: (.*) -->', text)]
    assert sorted(names) == sorted(readme.TABLES)


def test_a_changed_number_is_noticed_and_mended(tmp_path, monkeypatch, capsys):
    for name in readme.FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((readme.ROOT / name).read_text())
    before = (tmp_path / 'README.md').read_text()
    (tmp_path / 'README.md').write_text(re.sub(r'(?<=\| Hopper-v5 \| )\d+', '1', before, count=1))
    monkeypatch.setattr(readme, 'ROOT', tmp_path)
    assert readme.main(['--check']) == 1
    assert capsys.readouterr().out == 'README.md: tables are stale: make readme\n'
    assert readme.main([]) == 0 and (tmp_path / 'README.md').read_text() == before


def test_an_unknown_table_is_an_error():
    with pytest.raises(KeyError, match='no such'):
        readme.render('<!-- table: no such -->\n<!-- end -->\n')


def test_what_is_written_is_read_again(tmp_path):
    written = Table(('', 'a | b', 'c'), [('x', '1', ''), ('y', '2', '3')])
    (tmp_path / 'some.md').write_text(f'# Title\n\nText.\n\n{written}\n{table(["d"], [["4"]])}')
    found, other = read_tables(tmp_path / 'some.md')
    assert found == written and other == Table(('d',), [('4',)])
    assert found.columns('c', '') == Table(('c', ''), [('', 'x'), ('3', 'y')])
    assert found.without('a | b') == found.columns('', 'c')
    assert found.where('y'.__eq__).rows == [('y', '2', '3')]
    assert found.lookup('')['y',]['c'] == '3'
