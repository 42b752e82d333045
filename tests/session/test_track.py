"""What TensorBoard and Weights & Biases get of a run; nothing leaves the machine."""
import json
import struct

import pytest

from onpolicybaselines import logger
from onpolicybaselines.common.cmd_util import common_arg_parser
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.session.track import tracking

CONFIG = {'command': ['python', '-m', 'onpolicybaselines.run'], 'ranks': 1, 'versions': {}, 'started': 'now',
          'args': {'alg': 'a2c', 'env': 'CartPole-v1', 'seed': 3, 'num_timesteps': 200, 'num_env': 1,
                   'reward_scale': 1.0, 'save_path': None},
          'options': {}, 'alg_kwargs': {'lr': 1e-3, 'policy': None, 'layer_norm': True, 'convs': [[1, 2, 3]]}}


@pytest.fixture
def run_of(tmp_path):
    """A function that logs two rows in a run folder, with these words of the command line and formats."""
    def run(*words, formats=()):
        (tmp_path / 'config.json').write_text(json.dumps(CONFIG))
        with logger.scoped_configure(str(tmp_path), formats):
            with tracking(common_arg_parser().parse_args(words)):
                for steps in (100, 200):
                    logger.logkvs({'total_timesteps': steps, 'eprewmean': steps / 10, 'text': 'no number'})
                    logger.dumpkvs()
            outputs = logger.get_current().output_formats
        assert len(outputs) == len(formats)
        return tmp_path
    return run


def test_hyperparameters_in_tensorboard(run_of):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2
    folder = run_of(formats=['tensorboard'])
    events = EventAccumulator(str(folder / 'tb')).Reload()
    metadata = events.SummaryMetadata('_hparams_/session_start_info').plugin_data
    assert metadata.plugin_name == 'hparams'
    found = plugin_data_pb2.HParamsPluginData.FromString(metadata.content).session_start_info.hparams
    assert found['lr'].number_value == 1e-3 and found['layer_norm'].bool_value is True
    assert found['env'].string_value == 'CartPole-v1' and found['convs'].string_value == '[[1, 2, 3]]'
    text, = events.Tensors('parameters')
    assert '| lr | 0.001 |' in text.tensor_proto.string_val[0].decode() and text.step == 0
    frame = logger.read_tb(str(folder / 'tb'))
    assert frame.eprewmean.to_dict() == {100: 10, 200: 20} and list(frame.columns) == ['eprewmean', 'total_timesteps']


@pytest.fixture
def wandb(monkeypatch):
    wandb = pytest.importorskip('wandb', reason="pip install 'onpolicybaselines[track]'")
    monkeypatch.setenv('WANDB_SILENT', 'true')
    yield wandb
    wandb.teardown()  # which forgets the environment


def test_weights_and_biases_offline(run_of, monkeypatch, wandb):
    monkeypatch.setenv('WANDB_MODE', 'offline')
    folder = run_of('--track')
    assert wandb.run is None
    wandb.teardown()  # whose process may not have written all yet
    record, = (folder / 'wandb').glob('offline-run-*/*.wandb')
    rows, config = read_wandb(record)
    assert [(row['_step'], row['eprewmean']) for row in rows] == [(100, 10), (200, 20)] and 'text' not in rows[0]
    assert config['lr'] == 1e-3 and config['env'] == 'CartPole-v1' and config['convs'] == [[1, 2, 3]]


def test_what_goes_on_in_a_folder_is_the_same_run_there(run_of, monkeypatch, wandb):
    monkeypatch.setenv('WANDB_MODE', 'offline')
    for _ in range(2):
        folder = run_of('--track')
        wandb.teardown()
    first, second = (folder / 'wandb').glob('offline-run-*')
    assert first.name.split('-')[3] == second.name.split('-')[3]  # offline-run-<time>-<run>, perhaps with a number


def read_wandb(path):
    """(rows of the history, config) of a record."""
    from wandb.proto import wandb_internal_pb2
    rows, config = [], {}
    for data in entries(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(data)
        if record.WhichOneof('record_type') == 'history':
            rows.append({item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item})
        for item in (*record.run.config.update, *record.config.update):
            config[item.key or item.nested_key[0]] = json.loads(item.value_json)
    return rows, config


def entries(content, header=7, block=32768):
    """Those of a log file as LevelDB has them: checksum, length, kind (whole, first, middle, last part) and bytes."""
    place, parts = header, b''
    while place + 7 <= len(content):
        if block - place % block < 7:  # no room for the head of another
            place += block - place % block
            continue
        _, length, kind = struct.unpack_from('<IHB', content, place)
        parts += content[place + 7:place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield parts
            parts = b''


def test_where_nobody_is_logged_in_a_line_says_what_to_do(run_of, monkeypatch, tmp_path, wandb):
    """Without a question, which a run in a queue would wait at."""
    for name in ('WANDB_API_KEY', 'WANDB_MODE'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('NETRC', str(tmp_path / 'netrc'))
    monkeypatch.setenv('WANDB_BASE_URL', 'http://127.0.0.1:9')  # where nobody listens
    with pytest.raises(UsageError, match='WANDB_MODE=offline') as e:
        run_of('--track')
    assert '\n' not in str(e.value)
