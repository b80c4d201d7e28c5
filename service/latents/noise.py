"""Counter-based noise: (seed, item index) -> standard normal eps, the same on every machine and in every version.

Raw words of Philox 4x64-10 (Salmon et al. 2011, doi:10.1145/2063384.2063405) under the key (seed, item), counters 1, 2,
3, ...; the upper 52 bits of a word, centred, are a uniform number in (0, 1); its inverse normal CDF in float64, rounded to
float32, is the noise. The noise of pixels has counters of its own, which differ in their fourth word: 1 instead of 0,
that of the steps of sequences, 2, and that of labels, 3. Knows nothing of models or requests.
"""

import secrets
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_SEED = 2**53 - 1  # the largest whole number that every JSON reader keeps exact
Coefficients = tuple[float, ...]
LATENTS, PIXELS, STEPS, LABELS = 0, 1, 2, 3  # the fourth words of the counters


def draw_seed() -> int:
    """Return a random seed for a request without one."""
    return secrets.randbelow(MAX_SEED + 1)


def standard_normal(seed: int, items: int, dim: int, first: int = 0) -> NDArray[np.float32]:
    """Return eps of items `first` to `first + items - 1`, float32 (items, dim). A row depends on seed and index alone."""
    return inverse_normal_cdf(_uniform(_words(seed, items, dim, first))).astype(np.float32)


def normal_and_uniform(seed: int, items: int, dim: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the same eps, and a uniform number from the next word of each item: float32 (items, dim), float64 (items,)."""
    uniform = _uniform(_words(seed, items, dim + 1, 0))
    return inverse_normal_cdf(uniform[:, :dim]).astype(np.float32), uniform[:, dim]


def pixel_uniform(seed: int, item: int, count: int) -> NDArray[np.float64]:
    """Return uniform numbers in (0, 1) for the pixels of one item, (count,). They share no word with eps of the same seed."""
    return _uniform(_words(seed, 1, count, item, PIXELS)[0])


def label_uniform(seed: int, items: int) -> NDArray[np.float64]:
    """Return a uniform number in (0, 1) for the label of each item, (items,). They share no word with eps of the same seed."""
    return _uniform(_words(seed, items, 1, 0, LABELS)[:, 0])


def step_uniform(seed: int, items: NDArray[np.int64], first: int, steps: int, count: int) -> NDArray[np.float32]:
    """Return uniform numbers in [0, 1] for steps `first` to `first + steps - 1` of some items, (n, steps, count).

    Each step has counters of its own, with four words each, so that it depends on seed, item and step alone.
    """
    philox, state = _philox(seed, STEPS)
    key, counter = state["state"]["key"], state["state"]["counter"]
    counters = -(-count // 4)
    words = np.empty((len(items), steps, 4 * counters), np.uint64)
    for row, item in enumerate(items.tolist()):
        key[1], counter[0] = item, first * counters
        philox.state = state
        words[row] = philox.random_raw(4 * counters * steps).reshape(steps, -1)
    return _uniform(words[..., :count]).astype(np.float32)


def _words(seed: int, items: int, dim: int, first: int, stream: int = LATENTS) -> NDArray[np.uint64]:
    """Return 64-bit words, (items, dim). One generator is reset for each item: a new one per row takes 20 times as long."""
    philox, state = _philox(seed, stream)
    key = state["state"]["key"]
    words = np.empty((items, dim), np.uint64)
    for i in range(items):
        key[1] = first + i
        philox.state = state
        words[i] = philox.random_raw(dim)
    return words


def _philox(seed: int, stream: int) -> tuple[np.random.Philox, Any]:
    """Return a generator, and the state that begins a stream of a seed."""
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"a seed is 0 to {MAX_SEED}, not {seed}")
    philox = np.random.Philox(key=np.array([seed, 0], np.uint64))
    state = philox.state
    state["state"]["counter"][3] = stream
    return philox, state


def _uniform(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return numbers in the open interval (0, 1): (top 52 bits + 1/2) / 2^52, exact in float64. With 53, one rounds to 1."""
    return ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def _by_power(numerator: Coefficients, denominator: Coefficients) -> NDArray[np.float64]:
    """Return both coefficients of each power side by side, (powers, 2, 1)."""
    return np.array([numerator, denominator]).T[:, :, None]


# Rational approximations of Wichura 1988, algorithm AS 241 (PPND16), Applied Statistics 37(3): coefficients of numerator
# and denominator by falling power, for the middle, the tails, and the far tails.
_MIDDLE = _by_power(
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
     1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
     5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0),
)  # fmt: skip
_TAIL = _by_power(
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0,
     3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0, 1.42343711074968357734e0),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0),
)  # fmt: skip
_FAR = _by_power(
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
     2.96560571828504891230e-1, 1.78482653991729133580e0, 5.46378491116411436990e0, 6.65790464350110377720e0),
    (2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
     1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0),
)  # fmt: skip


def inverse_normal_cdf(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Phi^-1(p) for p in (0, 1), to about 16 digits (AS 241)."""
    flat = p.ravel()
    q = flat - 0.5
    result = q * _ratio(_MIDDLE, 0.180625 - q * q)
    tails = np.flatnonzero(np.abs(q) > 0.425)
    if len(tails):
        outer = flat[tails]
        distance = np.sqrt(-np.log(np.minimum(outer, 1 - outer)))
        size = _ratio(_TAIL, distance - 1.6)
        far = distance > 5
        if far.any():
            size[far] = _ratio(_FAR, distance[far] - 5)
        result[tails] = np.copysign(size, q[tails])
    return result.reshape(p.shape)


def _ratio(coefficients: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return numerator / denominator at x, (n,); both are evaluated together."""
    both = coefficients[0] * x  # (2, n)
    both += coefficients[1]
    for power in coefficients[2:]:
        both *= x
        both += power
    ratio: NDArray[np.float64] = both[0] / both[1]
    return ratio
