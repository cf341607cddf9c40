"""The kernel's build for another kind of processor, run by an emulator, as if it were loaded.

Whatever the library hands to the kernel is copied into the emulated program (`emulator.cpp`) and
the results back, so that the code under test is that of a machine where the build is at home.
"""

import ctypes
import shutil
import struct
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

from numpy.typing import NDArray

from mcdrop.engine import packing
from mcdrop.engine.kernel import DenseArgs, LayerArgs, NetworkArgs, RowsArgs

COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
REDUCED, WIDTH, PACK, RUN, DRAW = range(5)  # functions, as `emulator.cpp` counts them


def missing() -> list[str]:
    """Which of the tools are not here."""
    return [tool for tool in (COMPILER, EMULATOR) if shutil.which(tool) is None]


def program(folder: Path, build: ModuleType) -> Path:
    """The kernel for aarch64, with the flags of its build, in a program that calls it."""
    flags = [flag for flag in build.FLAGS if flag not in {"-shared", "-fPIC"}]
    sources = [
        Path(packing.__file__).with_name("kernel.cpp"),
        Path(__file__).with_name("emulator.cpp"),
    ]
    command = [COMPILER, "-static", *flags, *build.BUILDS["aarch64"]["neon"], *sources]
    path = folder / "emulated"
    subprocess.run([*command, "-o", path], check=True, timeout=400)
    return path


class Emulated:
    """Stands where the library expects the kernel; a context that ends the emulator."""

    def __init__(self, path: Path) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([EMULATOR, path], stdin=pipe, stdout=pipe)
        self._places: dict[int, int] = {}  # of arrays there, by their addresses here
        self._address = packing._address

    def __enter__(self) -> "Emulated":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()  # its request loop ends
        self._process.wait(timeout=60)

    def place(self, held: list[Any], array: NDArray[Any]) -> int:
        """What stands for `packing._address`: a copy of the array there, known by its address."""
        address = self._address(held, array)
        self._places[address] = self._put(array.tobytes())
        return address

    def mcdrop_reduced(self) -> int:
        return self._call(REDUCED)

    def mcdrop_width(self) -> int:
        return self._call(WIDTH)

    def mcdrop_pack(self, network: Any) -> None:
        self._call(PACK, self._network(network._obj))

    def mcdrop_run(self, network: int, rows: int) -> int:
        """With statistics, not sums."""
        net, there = (
            NetworkArgs.from_address(network),
            RowsArgs.from_buffer_copy(RowsArgs.from_address(rows)),
        )
        dense = (DenseArgs * (net.trunk + net.depth)).from_address(net.dense)
        assert not there.deviation
        there.input = self._put(
            ctypes.string_at(there.input, 4 * there.count * dense[there.start].inputs)
        )
        out = there.statistics
        lists = 3 if there.scale > 0 else 0
        size = 8 * there.stride * (4 * dense[-1].outputs + lists)
        there.statistics = self._put(ctypes.string_at(out, size))
        code = self._call(RUN, self._network(net), self._put(bytes(there)))
        ctypes.memmove(out, self._read(there.statistics, size), size)
        return code

    def mcdrop_draw(self, seed: int, layer: int, *where: int) -> None:
        *place, units, threshold, flip, out = where
        size = 8 * place[1] * place[3] * -(-units // 64)
        there = self._put(bytes(size))
        signed = seed - (seed >> 63 << 64)
        self._call(DRAW, signed, layer, *place, units, threshold << 1 | flip, there)
        ctypes.memmove(out, self._read(there, size), size)

    def _network(self, network: NetworkArgs) -> int:
        """A copy there, with addresses of there."""
        kinds = {"dense": DenseArgs * (network.trunk + network.depth)}
        kinds["layers"] = LayerArgs * network.depth
        there = NetworkArgs.from_buffer_copy(network)
        for name, kind in kinds.items():
            parts = kind.from_buffer_copy(kind.from_address(getattr(network, name)))
            for part in parts:
                for field, of in part._fields_:
                    if of is ctypes.c_void_p and getattr(part, field):
                        setattr(part, field, self._places[getattr(part, field)])
            setattr(there, name, self._put(bytes(parts)))
        return self._put(bytes(there))

    def _put(self, data: bytes) -> int:
        address = self._number("a", -(-max(len(data), 1) // 64) * 64)
        self._ask("w", address, len(data), data=data)
        return address

    def _read(self, address: int, size: int) -> bytes:
        self._ask("r", address, size)
        return self._answer(size)

    def _call(self, *of: int) -> int:
        return self._number("c", *of)

    def _number(self, what: str, *of: int) -> int:
        self._ask(what, *of)
        return int(struct.unpack("<q", self._answer(8))[0])

    def _ask(self, what: str, *of: int, data: bytes = b"") -> None:
        self._process.stdin.write(struct.pack("<11q", ord(what), *of, *[0] * (10 - len(of))) + data)
        self._process.stdin.flush()

    def _answer(self, size: int) -> bytes:
        data = self._process.stdout.read(size)
        if len(data) < size:
            raise RuntimeError(f"the emulated program ended with {self._process.wait(timeout=60)}")
        return data
