"""What a run needs before it trains: the algorithm's module, a quiet TensorFlow."""
import os
import sys
import tempfile

from onpolicybaselines import logger
from onpolicybaselines.common import caches
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.keywords import nearest
from onpolicybaselines.common.mpi_world import rank

ALGORITHMS = ('a2c', 'acktr', 'acktr_cont', 'ppo2', 'trpo_mpi')
TAKE_RECURRENT = ('a2c', 'ppo2')  # networks


def package_of(alg: str, submodule: str) -> str:
    """The package that has the `submodule` of an algorithm. Raises UsageError for an unknown algorithm."""
    if alg not in ALGORITHMS:
        raise UsageError(f'unknown algorithm {alg!r}{nearest(alg, ALGORITHMS)}')
    return 'acktr' if submodule == 'acktr_cont' else alg  # which leaves acktr_cont without acktr's defaults


def start_tensorflow(images: bool = False) -> None:
    """Import TensorFlow without the lines about its build that it prints, at every start, past all its settings, and
    with a cache of what XLA compiles; images: whether networks will see any, see `cores.use_threads`."""
    if 'tensorflow' in sys.modules:
        return
    caches.use_folder()
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # XLA's lines about its cache, later
    os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')  # tf_keras is loaded when asked for, Keras 3 at once: a second
    if rank() == 0:
        logger.log('Importing TensorFlow')
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as greeting:
        os.dup2(greeting.fileno(), 2)
        try:
            from onpolicybaselines.common import compiled, cores, tf_util
            cores.use_threads(images)
            compiled.to_numpy(tf_util.lrelu(0.))  # the first operation prints the rest of it
        except BaseException:
            greeting.seek(0)
            os.write(stderr, greeting.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
