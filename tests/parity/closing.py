"""The closing table of the parity tests, in whichever processes they ran."""
import pathlib

import pytest

DEFAULT = pathlib.Path(__file__).parents[1] / 'golden'
PROPERTY = 'parity'  # of a test's report: [number of the case, fields of its Result]


def folder_of(config: pytest.Config) -> pathlib.Path:
    """The folder of traces of this run of pytest."""
    return pathlib.Path(config.getoption('golden') or DEFAULT)


class ClosingTable:
    """A plugin: gathers what reports of tests carry, those of pytest-xdist's workers too, and prints the table."""

    def __init__(self, config: pytest.Config):
        self._config = config
        self._found: dict[int, dict] = {}

    def pytest_runtest_logreport(self, report):
        if report.when == 'call':
            self._found.update(value for name, value in report.user_properties if name == PROPERTY)

    def pytest_terminal_summary(self, terminalreporter):
        if not self._found and self._config.getoption('golden') is None:
            return
        from harness import NOTE, Golden, Result, table, to_markdown, to_text
        results = [Result(**self._found[number]) for number in sorted(self._found)]
        terminalreporter.section('parity with the TF1 originals')
        for line in [*to_text(table(results)), '', NOTE]:
            terminalreporter.write_line(line)
        without_stages = Golden(folder_of(self._config)).without_stages
        if without_stages:
            terminalreporter.write_line(f'Traces without stages yet: {", ".join(without_stages)}')
        report = self._config.getoption('parity_report')
        if report:
            pathlib.Path(report).write_text(to_markdown(results))
