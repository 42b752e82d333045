"""Keyword arguments by signature: which function takes which, their values from text, and what they admit."""
from onpolicybaselines.common.keywords.choices import check_choice, nearest
from onpolicybaselines.common.keywords.declared import constant, declared, registered, table
from onpolicybaselines.common.keywords.ranges import (
    Components,
    Count,
    Finite,
    Fraction,
    Layers,
    LogStd,
    NonNegative,
    Normalized,
    Pairs,
    Passes,
    Positive,
    Range,
    Repeats,
    Total,
    Width,
    check_ranges,
)
from onpolicybaselines.common.keywords.signatures import keywords_of, sentences, split_keywords
from onpolicybaselines.common.keywords.values import (
    describe,
    first_difference,
    fits,
    is_expressible,
    is_switch,
    parse_int,
    parse_value,
)

__all__ = ['check_choice', 'nearest', 'constant', 'declared', 'registered', 'table', 'Components', 'Count', 'Finite',
           'Fraction', 'Layers', 'LogStd', 'NonNegative', 'Normalized', 'Pairs', 'Passes', 'Positive', 'Range',
           'Repeats', 'Total', 'Width', 'check_ranges', 'fits', 'keywords_of', 'sentences', 'split_keywords',
           'describe', 'first_difference', 'is_expressible', 'is_switch', 'parse_int', 'parse_value']
