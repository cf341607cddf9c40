"""Passes and statistics on a GPU: what `fused` launches.

Knows masks, products, softmax and sums over passes, on tiles that never leave the chip. Refuses to
know networks, and where memory comes from. Arrays of rows are (..., C, B), rows innermost; widths
are padded to powers of two with zeros.

`evaluate` holds the weights of all layers in shared memory and a block of rows in registers, runs
pass after pass over them, and writes only sums by group of passes. Products are of bfloat16, or of
float32 as three products of the matrix units' 19-bit format: as exact as float32, and several times
as fast as a GPU's float32 units. `finish` makes statistics of sums, in float64, by the formulas of
`sums`.
"""

# mypy: ignore-errors
# (kernels only look like Python: names are bound to types, and tuples grow by addition)
# ruff: noqa: RUF005

import triton
import triton.language as tl

__all__ = ["evaluate", "finish", "tl"]


@triton.jit
def _own(seed, layer, t, row, width: tl.constexpr, least: tl.constexpr):
    """Whether rows with masks of their own keep units, as `plain_masks` draws: (B, width)."""
    four = tl.arange(0, width // 4)[None, :].to(tl.uint32)
    row = row[:, None].to(tl.uint32) + four * 0  # (B, width / 4)
    zero = row * 0
    a, b, c, d = tl.philox(seed, four + zero, t.to(tl.uint32) + zero, row, zero + layer)
    return tl.interleave(tl.interleave(a, c), tl.interleave(b, d)) >= least


@triton.jit
def _softmax(logits, bits, there, scale):
    """Probabilities (B, C), and their divergences from ``bits`` (B,); as `Tally`."""
    y = tl.where(there, logits * scale, float("-inf"))
    y -= tl.max(y, 1)[:, None]
    p = tl.exp2(y)
    total = tl.sum(p, 1)
    p /= total[:, None]
    ratio = tl.sum(tl.where(p > 0.0, p * (y - bits), 0.0), 1)
    return p, (ratio - tl.log2(total)) * 0.6931471805599453


# One compilation (seconds) serves any numbers of rows and passes, wherever arrays begin.
@triton.jit(
    do_not_specialize=["rows", "place", "first", "count", "size", "seed"],
    do_not_specialize_on_alignment=["hidden", "value", "log", "deviation", "square", "divergence"],
)
def evaluate(
    hidden, weights, biases, masks, value, log,
    deviation, square, divergence,
    rows, place, first, count, size, seed: tl.uint64, scale,
    widths: tl.constexpr, inputs: tl.constexpr, outputs: tl.constexpr, drops: tl.constexpr,
    least: tl.constexpr, words: tl.constexpr, own: tl.constexpr, classes: tl.constexpr,
    dtype: tl.constexpr, word: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Sum passes up in groups: a program for each block of rows and share of the groups.

    Args:
        hidden: (B, inputs) float32, what the trunk made of the rows.
        weights: (I, O) of each layer, divided by its rate of keeping.
        biases: (O,) of each layer, float32.
        masks: (count, words), of all layers that drop any: all bits 1 where a unit is kept.
        value: (C, B), what deviations are taken from.
        log: (C, B), its logarithm to base 2, floored; unused in a regression.
        deviation: (G, C, B), sums to be written.
        square: (G, C, B), likewise, of squares.
        divergence: (G, B), likewise.
        rows: B.
        place: of the first row among those that have masks of their own.
        first: number of the first pass.
        count: passes.
        size: passes a group.
        seed: key of masks.
        scale: multiplies logits, so that powers of 2 are meant.
        widths: of the layers' inputs and of the outputs, padded.
        inputs: units that enter the first layer.
        outputs: C.
        drops: index of the dropout before each layer, or -1.
        least: of each, the least drawn word that keeps a unit.
        words: units of all layers that drop any, padded.
        own: whether each row has masks of its own; ``masks`` is unused then.
        classes: whether outputs are logits.
        dtype: what is multiplied.
        word: integers of as many bits.
        block: rows a program.
    """
    last: tl.constexpr = len(widths) - 2
    padded: tl.constexpr = widths[last + 1]
    row = tl.program_id(0) * block + tl.arange(0, block)
    here = row < rows
    unit = tl.arange(0, widths[0])
    entering = here[:, None] & (unit < inputs)
    start = tl.load(hidden + row[:, None] * inputs + unit, mask=entering, other=0.0).to(dtype)
    output = tl.arange(0, padded)
    there = here[:, None] & (output < outputs)
    at = output * rows + row[:, None]
    center = tl.load(value + at, mask=there, other=0.0)
    bits = tl.load(log + at, mask=there, other=0.0)
    weight = ()
    bias = ()
    for j in tl.static_range(last + 1):
        leaving = tl.arange(0, widths[j + 1])
        enters = tl.arange(0, widths[j])[:, None] * widths[j + 1]
        weight = weight + (tl.load(weights + enters + leaving),)
        bias = bias + (tl.load(biases + leaving),)
        weights += widths[j] * widths[j + 1]
        biases += widths[j + 1]
    for group in range(tl.program_id(1), tl.cdiv(count, size), tl.num_programs(1)):
        d = tl.zeros((block, padded), tl.float32)
        s = tl.zeros((block, padded), tl.float32)
        k = tl.zeros((block,), tl.float32)
        for t in range(group * size, tl.minimum(group * size + size, count)):
            state = start
            mask = masks + t * words
            for j in tl.static_range(last + 1):
                if drops[j] >= 0 and own:
                    keep = _own(seed, drops[j], first + t, place + row, widths[j], least[j])
                    state = tl.where(keep, state, 0.0).to(dtype)
                elif drops[j] >= 0:
                    keep = tl.load(mask + tl.arange(0, widths[j]))[None, :]
                    state = (state.to(word, bitcast=True) & keep).to(dtype, bitcast=True)
                    mask += widths[j]
                y = tl.dot(state, weight[j], input_precision="tf32x3") + bias[j][None, :]
                if j < last:
                    state = tl.maximum(y, 0.0, propagate_nan=tl.PropagateNan.ALL).to(dtype)
                else:
                    if classes:
                        y, divergences = _softmax(y, bits, there | ~here[:, None], scale)
                        k += divergences
                    y -= center
                    d += y
                    s += y * y
        to = group * outputs * rows + at
        tl.store(deviation + to, d, mask=there)
        tl.store(square + to, s, mask=there)
        tl.store(divergence + group * rows + row, k, mask=here)


@triton.jit
def _sum(parts, start, stop, step, at, there):
    """Sum of some groups' parts, in float64."""
    total = tl.zeros(at.shape, tl.float64)
    for g in range(start, stop):
        total += tl.load(parts + g * step + at, mask=there, other=0.0)
    return total


@triton.jit
def _unevenness(deviation, expected, samples, size, step, at, there, balance, prior):
    """How much less blocks of passes vary than independent passes would, (B,), as a factor."""
    whole = samples // balance
    total = tl.zeros(at.shape, tl.float64)
    squares = tl.zeros(at.shape, tl.float64)
    for k in range(whole):
        parts = balance // size
        block = _sum(deviation, k * parts, (k + 1) * parts, step, at, there)
        total += block
        squares += block * block
    between = tl.sum(squares - total * total / tl.maximum(whole, 1), 1)
    share = between / (balance * tl.maximum(expected, 1e-300))
    free = tl.maximum(whole - 1, 0)
    return tl.where(free > 0, (share + prior) / (free + prior), 1.0)


@triton.jit(
    do_not_specialize=["rows", "samples", "size", "groups", "squares"],
    do_not_specialize_on_alignment=["deviation", "square", "divergence", "value", "log", "plain"],
)
def finish(
    deviation, square, divergence, value, log, plain, out,
    rows, samples, size, groups, squares,
    outputs: tl.constexpr, padded: tl.constexpr, classes: tl.constexpr, balance: tl.constexpr,
    prior: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Statistics from sums, a program for each block of rows.

    Args:
        deviation: (groups, C, B).
        square: (squares, C, B).
        divergence: (groups, B).
        value: (C, B), what deviations were taken from.
        log: (C, B), what divergences were taken from; unused in a regression.
        plain: (C, B), the deterministic answer.
        out: float64; (4, B, C): deterministic, mean, spread, error of the mean; then of classes
            (3, B): mutual information, errors of total entropy and of information.
        rows: B.
        samples: passes summed.
        size: passes a group.
        groups: how many there are.
        squares: parts that sums of squares come in.
        outputs: C.
        padded: C as a power of two.
        classes: whether sums are of probabilities.
        balance: passes over which masks are balanced.
        prior: blocks' worth of belief that balance does not help.
        block: rows a program.
    """
    row = tl.program_id(0) * block + tl.arange(0, block)
    here = row < rows
    output = tl.arange(0, padded)
    there = here[:, None] & (output < outputs)
    at = output * rows + row[:, None]
    step = outputs * rows
    shift = _sum(deviation, 0, groups, step, at, there) / samples
    second = _sum(square, 0, squares, step, at, there)
    variance = tl.maximum(second / samples - shift * shift, 0.0)
    variance = tl.where(samples > 1, variance, 0.0)
    mean = tl.load(value + at, mask=there, other=0.0) + shift
    answer = tl.load(plain + at, mask=there, other=0.0).to(tl.float64)
    independent = variance / tl.maximum(samples - 1, 1)
    expected = tl.sum(independent, 1) * samples
    part = _unevenness(deviation, expected, samples, size, step, at, there, balance, prior)
    error = tl.where(samples > 1, tl.sqrt(independent * part[:, None]), tl.abs(shift))
    if classes:
        answer /= tl.where(here, tl.sum(answer, 1), 1.0)[:, None]
        mean = tl.maximum(mean, 0.0)
        mean /= tl.where(here, tl.sum(mean, 1), 1.0)[:, None]
        surprise = tl.log(tl.maximum(mean, 1e-300))
        ratio = surprise - tl.load(log + at, mask=there, other=0.0)
        divergences = _sum(divergence, 0, groups, rows, row, here) / samples
        information = tl.maximum(divergences - tl.sum(mean * ratio, 1), 0.0)
        agree = (tl.sum(second, 1) == 0.0) | (samples == 1)
        total = tl.zeros((block,), tl.float64)
        epistemic = tl.zeros((block,), tl.float64)
        for g in range(groups):  # squares of their influence
            passes = tl.where(groups > 1, tl.minimum(size, samples - g * size), 0)
            d = tl.load(deviation + g * step + at, mask=there, other=0.0) - passes * shift
            k = tl.load(divergence + g * rows + row, mask=here, other=0.0) - passes * divergences
            one = tl.sum(d * surprise, 1)
            two = k - tl.sum(d * ratio, 1)
            total += one * one
            epistemic += two * two
        more = tl.where(groups > 1, groups / tl.maximum(groups - 1.0, 1.0), 1.0)
        lists = out + 4 * step + row
        tl.store(lists, tl.where(agree, 0.0, information), mask=here)
        tl.store(lists + rows, tl.sqrt(total * more) / samples, mask=here)
        tl.store(lists + 2 * rows, tl.sqrt(epistemic * more) / samples, mask=here)
    to = out + row[:, None] * outputs + output
    spread = tl.sqrt(variance) if classes else variance
    tl.store(to, answer, mask=there)
    tl.store(to + step, mean, mask=there)
    tl.store(to + 2 * step, spread, mask=there)
    tl.store(to + 3 * step, error, mask=there)
