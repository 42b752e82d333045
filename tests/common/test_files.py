"""Files of arrays: whole or not there, and read without running anything."""
import io
import os
import pickle
import resource
import zipfile

import numpy as np
import pytest

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.files import check_fits, read_arrays, write_arrays
from onpolicybaselines.common.moments import moments_of_sums

ARRAYS = {'pi/w': np.arange(6.).reshape(2, 3), 'vf/b': np.float32([1.5]), 'ob_rms/count': np.array(3),
          'empty': np.zeros((0, 2))}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / 'model.npz')


def assert_holds(path, arrays, meta):
    found, found_meta = read_arrays(path)
    assert list(found) == list(arrays) and found_meta == meta
    for name, value in arrays.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)


def test_save_and_load_round_trip(path):
    meta = {'spec': {'network': 'mlp', 'num_layers': 2, 'name': 'Grüße'}}
    write_arrays(path, ARRAYS, meta)
    assert_holds(path, ARRAYS, meta)
    write_arrays(path, {'a': np.ones(2)})
    assert_holds(path, {'a': np.ones(2)}, {})
    assert os.listdir(os.path.dirname(path)) == ['model.npz']


def test_save_makes_folders_and_keeps_the_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path))
    for path in ('a/b/model', 'model', '~/home/model.bin'):
        write_arrays(path, ARRAYS)
        assert_holds(path, ARRAYS, {})
        assert os.path.isfile(os.path.expanduser(path))


@pytest.mark.parametrize('name', ['args', 'arr_0', '__meta__x', 'ä/ö', 'a.npy', 'a/b/c'])
def test_any_name_can_be_saved(path, name):
    write_arrays(path, {name: np.ones(2)})
    assert_holds(path, {name: np.ones(2)}, {})


def test_crash_in_the_middle_of_writing_leaves_the_old_file(path):
    """The disk is full: files may grow to 64 kB only."""
    write_arrays(path, ARRAYS, {'old': True})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, limits[1]))
    try:
        with pytest.raises(OSError):
            write_arrays(path, {'a': np.zeros(100), 'big': np.ones(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_holds(path, ARRAYS, {'old': True})
    assert os.listdir(os.path.dirname(path)) == ['model.npz']


@pytest.mark.parametrize('arrays, meta', [
    ({'a': np.ones(2), 'b': np.array([lambda: 0])}, {}),  # cannot be pickled either
    ({'a': np.ones(2), 'b': np.array([None, {}])}, {}),
    ({'a': np.ones(2), 'b': None}, {}),
    ({'a': np.ones(2)}, {'not': lambda: 'json'}),
])
def test_only_arrays_and_json_are_saved(path, arrays, meta):
    """Whatever load would refuse is refused when it is saved, and the old file stays."""
    write_arrays(path, ARRAYS, {'old': True})
    with pytest.raises((TypeError, ValueError, AttributeError, pickle.PicklingError)):
        write_arrays(path, arrays, meta)
    assert_holds(path, ARRAYS, {'old': True})
    assert os.listdir(os.path.dirname(path)) == ['model.npz']


def test_a_folder_in_the_way_is_an_error_and_leaves_no_scraps(tmp_path):
    (tmp_path / 'model.npz' / 'inside').mkdir(parents=True)
    with pytest.raises(OSError):
        write_arrays(str(tmp_path / 'model.npz'), ARRAYS)
    assert os.listdir(tmp_path) == ['model.npz']


def refused(path):
    with pytest.raises(UsageError) as error:
        read_arrays(path)
    message = str(error.value)
    assert repr(path) in message and '\n' not in message
    return message


def test_missing_file_is_refused(tmp_path):
    assert 'no model file' in refused(str(tmp_path / 'none.npz'))
    assert 'no model file' in refused(str(tmp_path))


class Evil:
    """Its pickle makes a folder when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickles_are_refused_and_not_run(tmp_path, path):
    evil, trace = np.array([Evil(tmp_path / 'ran')], dtype=object), tmp_path / 'ran'
    meta = np.array('{}')
    np.savez(path, a=np.ones(2), evil=evil, __meta__=meta)
    refused(path)
    np.savez(path, a=np.ones(2), __meta__=evil)
    refused(path)
    for content in (pickle.dumps(Evil(trace)), pickle.dumps(ARRAYS)):
        with open(path, 'wb') as fh:
            fh.write(content)
        refused(path)
    np.save(path, evil)
    os.replace(path + '.npy', path)
    refused(path)
    assert not trace.exists()
    np.load(path, allow_pickle=True)
    assert trace.exists()  # as it does where it is run


def _zip(path, **members):
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize('content', [
    b'', b'garbage', b'PK\x03\x04', b'\x93NUMPY', _npy(np.ones(3)), b'{"a": 1}', b'\x80\x04.',
    np.random.default_rng(0).bytes(1000)], ids=range(8))
def test_garbage_is_refused(path, content):
    with open(path, 'wb') as fh:
        fh.write(content)
    refused(path)


META = {'__meta__.npy': _npy(np.array('{}'))}


@pytest.mark.parametrize('members', [
    {}, {'a.npy': b'garbage'}, {'a.npy': _npy(np.ones(3))},  # the last has no __meta__
    {'__meta__.npy': _npy(np.array('{not json'))}, {'__meta__.npy': b'{}'},
    {'__meta__.npy': _npy(np.array(1.5))}, {'__meta__.npy': _npy(np.array('[1]'))},  # JSON, but no object
    {'a.npy': _npy(np.ones(3))[:-8], **META},
    {'a.txt': b'plain', **META},
    # a header larger than numpy reads, and one that asks for more memory than there is
    {'a.npy': b'\x93NUMPY\x02\x00' + (20000).to_bytes(4, 'little') + b' ' * 20000, **META},
    {'a.npy': _npy(np.ones(3)).replace(b'(3,), }' + b' ' * 15, b'(1000000000000000,), }'), **META},
])
def test_archives_of_something_else_are_refused(path, members):
    _zip(path, **members)
    refused(path)


def test_truncated_files_are_refused(path):
    write_arrays(path, ARRAYS, {'a': 1})
    with open(path, 'rb') as fh:
        whole = fh.read()
    for n in range(0, len(whole), 7):
        with open(path, 'wb') as fh:
            fh.write(whole[:n])
        refused(path)


def test_damaged_files_are_refused_or_read_right(path):
    """One byte after the other is changed: never an error that is not a UsageError, never other numbers."""
    write_arrays(path, {'a': np.arange(4.)}, {'b': 1})
    with open(path, 'rb') as fh:
        whole = fh.read()
    survived = 0
    for i in range(len(whole)):
        with open(path, 'wb') as fh:
            fh.write(whole[:i] + bytes([whole[i] ^ 0xff]) + whole[i + 1:])
        try:
            arrays, meta = read_arrays(path)
        except UsageError as e:
            assert '\n' not in str(e)
            continue
        survived += 1
        for value in arrays.values():
            np.testing.assert_array_equal(value, np.arange(4.))
        assert meta == {'b': 1}
    assert survived < len(whole) / 2


@pytest.mark.parametrize(('name', 'value', 'fault'), [
    ('pi/w', [1., np.nan], 'pi/w has numbers that are not finite'), ('pi/w', [1., -np.inf], 'not finite'),
    ('ob_rms/count', -1., 'ob_rms/count is negative'), ('obfilter/n', -3, 'obfilter/n is negative'),
    ('obfilter/S', [1., -2.], 'obfilter/S is negative'), ('ob_rms/var', [1., -2.], 'ob_rms/var is negative'),
    ('vec_normalize/ret_rms/var', -1e-9, 'vec_normalize/ret_rms/var is negative')])
def test_models_with_numbers_that_no_run_leaves_are_refused(name, value, fault):
    arrays = {'pi/w': np.ones(2), 'ob_rms/count': np.array(1.), name: np.array(value)}
    with pytest.raises(UsageError, match=f"^'model.npz' is damaged: .*{fault}"):
        check_fits('model.npz', {}, arrays, arrays)


def test_models_with_complex_numbers_are_refused():
    with pytest.raises(UsageError, match="^'model.npz' is damaged: pi/w has complex numbers"):
        check_fits('model.npz', {}, {'pi/w': np.ones(2, complex)}, {'pi/w': np.ones(2)})


def test_negative_sums_of_squares_of_earlier_revisions_are_refused():
    sums = {'ob_rms/sum': np.zeros(2), 'ob_rms/sumsq': np.array([1., -1.]), 'ob_rms/count': np.array(4.)}
    arrays = moments_of_sums(sums, 'ob_rms/')
    with pytest.raises(UsageError, match='ob_rms/var is negative'):
        check_fits('model.npz', {}, arrays, arrays)
