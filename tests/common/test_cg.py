import doctest
import importlib

import numpy as np
import pytest

from onpolicybaselines.common.cg import cg


def test_example():
    assert doctest.testmod(importlib.import_module('onpolicybaselines.common.cg')).failed == 0


def spd_matrix(n, dtype='float64', seed=0):
    """A symmetric positive definite matrix with eigenvalues 1 ... n in a random basis."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))
    return ((q * np.arange(1, n + 1)) @ q.T).astype(dtype)


def test_solves_and_leaves_b_alone():
    A, b = spd_matrix(12), np.arange(12.0)
    x = cg(A.dot, b, cg_iters=12)
    np.testing.assert_allclose(x, np.linalg.solve(A, b), rtol=1e-5)
    np.testing.assert_array_equal(b, np.arange(12.0))


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_works_in_the_dtype_of_b(dtype):
    seen = []

    def f_Ax(p):
        seen.append(p.dtype)
        return spd_matrix(8) @ p.astype('float64')  # float64 whatever comes in

    x = cg(f_Ax, np.ones(8, dtype))
    assert x.dtype == dtype and set(seen) == {np.dtype(dtype)}
    np.testing.assert_array_equal(x, cg(lambda p: f_Ax(p).astype(dtype), np.ones(8, dtype)))


def test_iterates_minimise_the_quadratic_over_krylov_spaces():
    """x_k minimises x'Ax/2 - b'x over span(b, Ab, ..., A^(k-1) b): the definition of CG, solved densely."""
    A, b = spd_matrix(8), np.random.default_rng(1).standard_normal(8)
    iterates = []
    cg(A.dot, b, cg_iters=4, callback=lambda x: iterates.append(x.copy()))
    assert len(iterates) == 5 and not iterates[0].any()
    for k in range(1, 5):
        basis, _ = np.linalg.qr(np.stack([np.linalg.matrix_power(A, i) @ b for i in range(k)], axis=1))
        best = basis @ np.linalg.solve(basis.T @ A @ basis, basis.T @ b)
        np.testing.assert_allclose(iterates[k], best, rtol=1e-9, atol=1e-12)


def test_tolerance_is_on_the_squared_residual_norm():
    A, b = spd_matrix(20), np.ones(20)
    residuals = []
    cg(A.dot, b, cg_iters=20, residual_tol=0.0, callback=lambda x: residuals.append(np.sum((b - A @ x) ** 2)))
    k = 6
    tol = np.sqrt(residuals[k] * residuals[k - 1])  # between two iterations
    assert residuals[k] < tol < min(residuals[:k])
    calls = []
    cg(lambda p: calls.append(1) or A @ p, b, cg_iters=20, residual_tol=tol)
    assert len(calls) == k


def test_one_product_per_distinct_eigenvalue():
    q, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((9, 9)))
    A = (q * np.repeat([1.0, 5.0, 30.0], 3)) @ q.T
    calls = []
    x = cg(lambda p: calls.append(1) or A @ p, np.ones(9), cg_iters=50)
    assert len(calls) == 3
    np.testing.assert_allclose(A @ x, np.ones(9), atol=1e-5)


def test_zero_right_hand_side():
    seen = []
    x = cg(lambda p: pytest.fail('no product is needed'), np.zeros(4, 'float32'), callback=seen.append)
    np.testing.assert_array_equal(x, np.zeros(4, 'float32'))
    assert x.dtype == 'float32' and len(seen) == 1


def test_exact_solution_before_the_last_iteration_with_zero_tolerance():
    np.testing.assert_array_equal(cg(lambda p: 2 * p, np.array([4.0, 8.0]), residual_tol=0.0), [2.0, 4.0])


def test_small_right_hand_side_still_takes_a_step():
    b = np.full(3, 1e-8)
    np.testing.assert_allclose(cg(lambda p: 4 * p, b), b / 4, rtol=1e-12)


def test_indefinite_system_goes_on():
    A, b = np.diag([3.0, -1.0, 2.0]), np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(cg(A.dot, b), np.linalg.solve(A, b), rtol=1e-10)


def test_no_iterations():
    np.testing.assert_array_equal(cg(lambda p: p, np.ones(2), cg_iters=0, verbose=True), np.zeros(2))


def test_verbose_prints_a_row_per_iterate(capsys):
    cg(spd_matrix(6).dot, np.ones(6), cg_iters=3, verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 4
    assert [int(line.split()[0]) for line in lines[1:]] == [0, 1, 2, 3]
    assert [float(x) for x in lines[1].split()[1:]] == [6.0, 0.0]


def test_rejects_a_matrix_for_b():
    with pytest.raises(ValueError, match=r'vector b, got shape \(2, 2\)'):
        cg(lambda p: p, np.eye(2))
