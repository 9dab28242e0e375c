"""The spaces S1 to S4 in which DARTS fails (Zela et al., 2020, section 3).

All have the shape of the DARTS cell; they differ in the candidate operations.
"""

from darts_jax.spaces.darts import darts_space

_SKIP = "skip_connect"
_MAX = "max_pool_3x3"
_AVG = "avg_pool_3x3"
_SEP3 = "sep_conv_3x3"
_DIL3 = "dil_conv_3x3"
_DIL5 = "dil_conv_5x5"

# The two strongest operations of every edge in an earlier search: (source, target).
_S1_NORMAL = {
    (0, 2): (_SKIP, _DIL3),
    (1, 2): (_SKIP, _DIL5),
    (0, 3): (_SKIP, _DIL5),
    (1, 3): (_SKIP, _SEP3),
    (2, 3): (_SKIP, _DIL3),
    (0, 4): (_MAX, _SKIP),
    (1, 4): (_SKIP, _SEP3),
    (2, 4): (_SKIP, _SEP3),
    (3, 4): (_SKIP, _DIL3),
    (0, 5): (_SKIP, _SEP3),
    (1, 5): (_MAX, _SKIP),
    (2, 5): (_SKIP, _DIL3),
    (3, 5): (_DIL3, _DIL5),
    (4, 5): (_DIL3, _DIL5),
}
_S1_REDUCE = {
    (0, 2): (_MAX, _AVG),
    (1, 2): (_MAX, _DIL3),
    (0, 3): (_MAX, _AVG),
    (1, 3): (_MAX, _AVG),
    (2, 3): (_SKIP, _DIL5),
    (0, 4): (_MAX, _AVG),
    (1, 4): (_MAX, _SEP3),
    (2, 4): (_SKIP, _DIL3),
    (3, 4): (_SKIP, _DIL5),
    (0, 5): (_MAX, _AVG),
    (1, 5): (_MAX, _AVG),
    (2, 5): (_SKIP, _DIL5),
    (3, 5): (_SKIP, _DIL5),
    (4, 5): (_SKIP, _DIL5),
}

S1 = darts_space("s1", _S1_NORMAL, _S1_REDUCE)
S2 = darts_space("s2", (_SKIP, _SEP3), (_SKIP, _SEP3))
S3 = darts_space("s3", ("none", _SKIP, _SEP3), ("none", _SKIP, _SEP3))
S4 = darts_space("s4", ("noise", _SEP3), ("noise", _SEP3))
