"""The engine: which way of evaluating passes is cheapest here, and doing it.

    layers  what of a network is plain linear layers
    draw    masks from a seed
    dense   evaluation by the network's own modules: any network, few rows, masks for each row
    thin    evaluation by small gathered weight matrices: linear layers, many rows
    grouped evaluation of two layers where many passes drop the same inputs
    native  rows to statistics in one call of a compiled kernel: linear layers and ReLUs
    packing layers and masks as the kernel reads them
    kernel  which build of it this processor runs
    fused   the same on a GPU: rows to statistics in two launches
    finish  the second of them
    tiles   how networks are padded for them
    chip    which GPUs and networks they take
    triton_kernel  what they launch
    tally   outputs to sums
    sums    sums to statistics

Knows the cost of each way. Refuses to know rows of data, files and the network itself.
"""

import copy
import threading
from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor

from mcdrop.engine.chip import fits, lacking
from mcdrop.engine.dense import DensePlan
from mcdrop.engine.draw import Masks
from mcdrop.engine.fused import Fused
from mcdrop.engine.grouped import GroupedPlan, groupable
from mcdrop.engine.layers import Layer, linear_layers, linear_trunk
from mcdrop.engine.native import Native, suits
from mcdrop.engine.rows import LEAST, room
from mcdrop.engine.sums import Sums, group_size
from mcdrop.engine.tally import Center, Tally, numpy64
from mcdrop.engine.thin import Mask, ThinPlan, thin_macs
from mcdrop.masks import BLOCK
from mcdrop.plan import Layout

__all__ = ["Center", "Engine", "Masks", "Native", "Sums", "Tally", "group_size", "numpy64"]

_FEW = 64  # rows up to which the buckets of few rows are used
_MANY = 256  # rows that the other buckets are made for
_KEPT = 256 << 20  # bytes of thinned weights that are kept between calls
_WIDE = 1 << 13  # multiplications of a pass from which a regression is worth correcting
_SLAB = 64 << 20  # bytes of sums by group, or of thinned weights that are not kept, at a time


class Plan(Protocol):
    """Some passes of a network, ready to be evaluated."""

    def evaluate(self, hidden: Tensor, rows: range) -> Iterator[tuple[Tensor, Tensor]]:
        """First the deterministic outputs (1, C, B), then passes (t,) and outputs (t, C, B)."""


class Engine:
    """Evaluates passes of a layout under the masks of a seed.

    bfloat16 products (float32 accumulation) are used for classification only, where the processor
    has them and `precision` is "auto". Their error is then .03-.04 of the Monte Carlo standard
    error of the mean of 100 passes (.01-.02 with masks of rows' own, in the kernel; PyTorch has
    float32 there); in a regression with low rates it would be .1-.3. There the kernel adds what
    rounding takes from the weights to what passes start from, times what enters on average: that
    leaves .006 on 1-200-200-200-1, but .06 on 13-50-1, whose activations hardly vary. So narrow
    regressions stay in float32, and all of them where PyTorch evaluates. The choice depends on the
    network and on T, never on the rows, so that a row is answered the same in any company.

    Args:
        layout: the network.
        masks: the source of its masks.
        samples: passes in all.
        classification: whether outputs are logits.
        precision: "auto", or "float32" for nothing coarser.
    """

    def __init__(
        self,
        layout: Layout,
        masks: Masks,
        samples: int,
        *,
        classification: bool,
        precision: Literal["auto", "float32"],
    ) -> None:
        self.layout, self._masks, self._samples = layout, masks, samples
        layers = linear_layers(layout)
        self._layers = layers if masks.shared else None
        self._room = room(layout.device)
        self._plans: dict[tuple[int, int, int], Plan] = {}
        self._lock = threading.Lock()
        self._dense_macs = self._thin_macs = 0.0
        if self._layers is not None:
            self._dense_macs = sum(layer.weight.numel() for layer in self._layers)
            self._thin_macs = thin_macs(self._layers)
        coarse = precision == "auto" and layout.dtype == torch.float32 and _has_bfloat16(layout)
        reduced = classification and coarse
        kept = _KEPT * self._room
        few = self._thin_macs * 2 * samples <= kept
        self._reduced = self._layers is not None and reduced and few
        self._dtype = torch.bfloat16 if self._reduced else layout.dtype
        self._bytes = self._thin_macs * self._dtype.itemsize
        self._keep = self._bytes * samples <= kept
        self.trunk_too = False
        self.native: Native | Fused | None = None
        self.finishes = lacking(layout.device) is None
        if layers is not None and self.finishes:
            temperature = 1.0 if classification else None
            self.native = self._start_fused(layers, samples, temperature, reduced=reduced)
        elif layers is not None:
            able = coarse and suits((), layers, reduced=True)
            corrected = able and not classification and thin_macs(layers) >= _WIDE
            own = able and classification and not masks.shared
            reduced = self._reduced or own or corrected
            self.native = self._start_native(layers, reduced=reduced, corrected=corrected)

    def _start_fused(
        self, layers: Sequence[Layer], samples: int, temperature: float | None, *, reduced: bool
    ) -> Fused | None:
        """The GPU's kernel, where the network fits on a chip."""
        if not fits(layers, reduced=reduced):
            return None
        fused = Fused(layers, self._masks, samples, reduced=reduced)
        return fused if fused.runs(temperature) else None

    def _start_native(
        self, layers: Sequence[Layer], *, reduced: bool, corrected: bool
    ) -> Native | None:
        """The kernel's way, where it can go it; `trunk_too` says from where on."""
        trunk = linear_trunk(self.layout)
        self.trunk_too = trunk is not None and suits(trunk, layers, reduced=reduced)
        if not self.trunk_too and not suits((), layers, reduced=reduced):
            return None
        slab = self._samples if self._keep else max(1, int(_SLAB // self._bytes))
        before = (trunk or ()) if self.trunk_too else ()
        coarse = {"reduced": reduced, "corrected": corrected}
        return Native(before, layers, self._masks, self._samples, **coarse, slab=slab)

    def under(self, masks: Masks) -> "Engine":
        """The same engine under other masks of the same kind."""
        other = copy.copy(self)
        other._masks, other._plans, other._lock = masks, {}, threading.Lock()
        other.native = self.native and self.native.under(masks)
        return other

    @property
    def name(self) -> Literal["native", "torch", "triton"]:
        """What evaluates sums over passes: a kernel of either kind, or products of PyTorch."""
        if self.native is None:
            return "torch"
        return "triton" if isinstance(self.native, Fused) else "native"

    @property
    def rows(self) -> int:
        """Rows to evaluate at a time: more where weights are made anew each time.

        Fewer where there are so many passes that sums by group would fill the memory.
        """
        groups = -(-self._samples // BLOCK) * (self.layout.outputs or 1)
        most = max(LEAST, _SLAB * self._room // (8 * groups))
        if isinstance(self.native, Fused):
            return min(1 << 16, most)
        if self._layers is None and not self.native:
            return min(256 * self._room, most)
        return min(1024 if self._keep and self._room == 1 else 4096, most)

    def evaluate(
        self, hidden: Tensor, passes: range, rows: range
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Evaluate some passes.

        Args:
            hidden: (B or more, ...), what the trunk made of the rows, and perhaps of padding.
            passes: which passes.
            rows: the places of the B rows among all rows of the call.

        Yields:
            First an empty tensor and the deterministic outputs (1, C, N), N >= B; then places
            (t,) in ``passes`` and their outputs (t, C, N), which the receiver may overwrite.
        """
        dense = hidden.dim() != 2 or self._prefers_dense(len(rows))
        for slab in self._slabs(passes, dense=dense):
            results = self._plan(slab, len(rows), dense=dense).evaluate(hidden, rows)
            place, outputs = next(results)
            if slab.start == passes.start:
                yield place, outputs
            for place, outputs in results:
                yield place + (slab.start - passes.start), outputs

    def _slabs(self, passes: range, *, dense: bool) -> Iterator[range]:
        """All passes, or as many at a time as there is room to make weights for."""
        slab = _SLAB * self._room
        size = len(passes) if dense or self._keep else max(1, int(slab // self._bytes))
        for start in range(passes.start, passes.stop, size):
            yield range(start, min(start + size, passes.stop))

    def _prefers_dense(self, rows: int) -> bool:
        """Whether computing all units of few rows is cheaper than gathering.

        Thinned products are no cheaper for 1 row than for 16, and have a quarter of padding.
        """
        if self._layers is None:
            return True
        if self._reduced:
            return False
        thin = self._thin_macs * 1.25 * max(rows, 16)
        if not self._keep:
            thin += self._thin_macs * 40  # gathering a weight costs as much as 40 products
        return self._dense_macs * rows < thin

    def _plan(self, passes: range, rows: int, *, dense: bool) -> Plan:
        if not dense and not self._keep:
            return self._thin(passes, _MANY * self._room)
        many = rows > _FEW * self._room
        made_for = 0 if dense else (_MANY if many else _FEW // 2) * self._room
        key = (passes.start, passes.stop, made_for)
        with self._lock:
            if key not in self._plans:
                self._plans[key] = (
                    DensePlan(self.layout, self._masks, passes)
                    if dense
                    else self._thin(passes, made_for)
                )
            return self._plans[key]

    def _thin(self, passes: range, rows: int) -> Plan:
        layers, masks = self._layers or (), self._drawn(passes)
        plan = GroupedPlan if groupable(layers, masks) else ThinPlan
        return plan(layers, masks, rows, self._dtype)

    def _drawn(self, passes: range) -> list[Mask | None]:
        """Masks of the layers, each (T, I), or None where nothing is dropped."""
        return [
            None
            if layer.dropout is None
            else self._masks.keep(layer.dropout, layer.rate, passes, layer.weight.shape[1])
            for layer in self._layers or ()
        ]


def _has_bfloat16(layout: Layout) -> bool:
    """Whether the device multiplies bfloat16 faster than float32."""
    if layout.device.type == "cuda":
        return torch.cuda.get_device_properties(layout.device).major >= 8  # others emulate it
    if layout.device.type != "cpu":
        return False
    features = torch.cpu.get_capabilities()
    return bool(features.get("avx512_bf16") or features.get("amx_bf16"))
