"""Parts shared by the algorithms; importing this package does not import TensorFlow."""
from onpolicybaselines.common.console_util import (
    ccap,
    color2num,
    colorize,
    fmt_item,
    fmt_row,
    get_git_commit,
    get_git_commit_message,
    print_cmd,
    timed,
)
from onpolicybaselines.common.dataset import Dataset
from onpolicybaselines.common.math_util import (
    discount,
    discount_with_boundaries,
    explained_variance,
    explained_variance_2d,
    flatten_arrays,
    ncc,
    unflatten_vector,
)
from onpolicybaselines.common.misc_util import (
    RunningAvg,
    boolean_flag,
    get_wrapper_by_name,
    pretty_eta,
    set_global_seeds,
    zipsame,
)

__all__ = [
    'ccap', 'color2num', 'colorize', 'fmt_item', 'fmt_row', 'get_git_commit', 'get_git_commit_message',
    'print_cmd', 'timed',
    'Dataset',
    'discount', 'discount_with_boundaries', 'explained_variance', 'explained_variance_2d', 'flatten_arrays',
    'ncc', 'unflatten_vector',
    'RunningAvg', 'boolean_flag', 'get_wrapper_by_name', 'pretty_eta', 'set_global_seeds', 'zipsame',
]
