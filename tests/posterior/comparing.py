"""Networks that are compared, and how far apart chance lets answers be."""

import numpy as np
from scipy import stats as st

FALSE_ALARM = 1e-6  # of each test that can fail by chance; all seeds are fixed

CLASSIFIER = ((20, 48, 32, 5), (0.0, 0.3, 0.5))
INPUT_DROPOUT = ((13, 50, 1), (0.05, 0.05))
DEEP = ((1, 40, 40, 40, 1), (0.0, 0.1, 0.1, 0.1))


def largest_z(got, want, error):
    live = error > 1e-12
    return np.abs((got - want)[live] / error[live]).max()


def threshold(count):
    return st.norm.isf(FALSE_ALARM / 2 / count)
