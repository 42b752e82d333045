import numpy as np
import pytest

from onpolicybaselines.common.dataset import Dataset, iterbatches


def make_dataset(n=10, **kwargs):
    data_map = {'x': np.arange(n), 'y': np.arange(n)[:, None] * 10}
    return Dataset(data_map, np_random=np.random.default_rng(0), **kwargs)


def rows(batches):
    return [batch['x'].tolist() for batch in batches]


def test_shuffles_all_arrays_alike():
    dataset = make_dataset(50)
    assert sorted(dataset.data_map['x']) == list(range(50))
    assert dataset.data_map['x'].tolist() != list(range(50))  # chance 1/50!
    np.testing.assert_array_equal(dataset.data_map['y'][:, 0], 10 * dataset.data_map['x'])


def test_leaves_the_given_arrays_and_mapping_alone():
    data_map = {'x': np.arange(50)}
    Dataset(data_map)
    np.testing.assert_array_equal(data_map['x'], np.arange(50))


@pytest.mark.parametrize('kwargs', [dict(deterministic=True), dict(shuffle=False)])
def test_kept_order_starts_over_at_the_end(kwargs):
    dataset = make_dataset(5, **kwargs)
    assert rows(dataset.next_batch(2) for _ in range(4)) == [[0, 1], [2, 3], [4], [0, 1]]


@pytest.mark.parametrize('deterministic', [True, False])
def test_shuffle_starts_at_the_first_row(deterministic):
    dataset = make_dataset(6, deterministic=deterministic)
    dataset.next_batch(4)
    dataset.shuffle()
    assert dataset.next_batch(6)['x'].tolist() == dataset.data_map['x'].tolist()


def test_next_batch_reshuffles_at_the_end():
    dataset = make_dataset(40)
    first, second = dataset.next_batch(40)['x'], dataset.next_batch(40)['x']
    assert sorted(first) == sorted(second) == list(range(40))
    assert first.tolist() != second.tolist()  # chance 1/40!


def test_iterate_once_drops_the_partial_batch():
    batches = rows(make_dataset(10).iterate_once(3))
    assert [len(batch) for batch in batches] == [3, 3, 3]
    assert len(set(sum(batches, []))) == 9


def test_iterate_once_starts_at_the_first_row_after_an_abandoned_pass():
    dataset = make_dataset(6, deterministic=True)
    next(dataset.iterate_once(2))
    assert rows(dataset.iterate_once(2)) == [[0, 1], [2, 3], [4, 5]]


def test_subset():
    dataset = make_dataset(6, deterministic=True)
    subset = dataset.subset(4)
    assert subset.n == 4 and rows(subset.iterate_once(2)) == [[0, 1], [2, 3]]


def test_bad_data():
    with pytest.raises(ValueError, match=r"one length, got \{'x': 3, 'y': 2\}"):
        Dataset({'x': np.zeros(3), 'y': np.zeros(2)})
    with pytest.raises(ValueError, match='one length'):
        Dataset({})
    with pytest.raises(ValueError, match='batch_size must be at least 1, got 0'):
        make_dataset().next_batch(0)


@pytest.mark.parametrize('make', [
    lambda np_random: rows(Dataset({'x': np.arange(30)}, np_random=np_random).iterate_once(7)),
    lambda np_random: [x.tolist() for (x,) in iterbatches([np.arange(30)], batch_size=7, np_random=np_random)]
])
def test_order_follows_the_given_generator_or_else_the_global_one(make):
    assert make(np.random.default_rng(3)) == make(np.random.default_rng(3))
    assert make(np.random.default_rng(3)) != make(np.random.default_rng(4))  # chance about 1/30!
    np.random.seed(5)
    before = make(None)
    make(np.random.default_rng(3))  # must not touch the global generator
    assert before != make(None)
    np.random.seed(5)
    assert before == make(None)


def test_iterbatches_by_batch_size():
    batches = list(iterbatches([np.arange(10), np.arange(10) * 2], batch_size=4))
    assert [len(x) for (x, _) in batches] == [4, 4, 2]
    assert sorted(np.concatenate([x for (x, _) in batches])) == list(range(10))
    assert all((y == 2 * x).all() for (x, y) in batches)
    full = iterbatches([np.arange(10)], batch_size=4, include_final_partial_batch=False)
    assert [len(x) for (x,) in full] == [4, 4]


@pytest.mark.parametrize('include_final_partial_batch', [True, False])
def test_iterbatches_by_number(include_final_partial_batch):
    batches = list(iterbatches([np.arange(10)], num_batches=3, shuffle=False,
                               include_final_partial_batch=include_final_partial_batch))
    assert [x.tolist() for (x,) in batches] == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]


@pytest.mark.parametrize('kwargs, fault', [
    (dict(), 'Provide num_batches or batch_size'),
    (dict(num_batches=2, batch_size=2), 'Provide num_batches or batch_size'),
    (dict(batch_size=0), 'batch_size must be at least 1'),
    (dict(num_batches=-1), 'num_batches must be at least 1')])
def test_iterbatches_bad_arguments(kwargs, fault):
    with pytest.raises(ValueError, match=fault):
        next(iterbatches([np.arange(4)], **kwargs))


def test_iterbatches_unequal_lengths():
    with pytest.raises(ValueError, match=r'\[4, 3\]'):
        next(iterbatches([np.arange(4), np.arange(3)], batch_size=2))
