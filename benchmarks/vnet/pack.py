"""Put trained nets into the package: python benchmarks/vnet/pack.py small-region large-region.

Takes vnet.safetensors and training.json from build/vnet/NAME, where `gpdust train-vnet benchmarks/vnet/NAME.toml`
leaves them: the net goes to gpdust/encoder/weights with its kernels in float16, the record beside this script.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from gpdust.encoder import load_net, save_net

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent


def pack(name: str, trained: Path, weights: Path, records: Path) -> Path:
    """Store the net of a training, and its record, under a name."""
    net, record = load_net(trained / "vnet.safetensors")
    packed = weights / f"{name}.safetensors"
    save_net(packed, net, record, half=True)
    shutil.copyfile(trained / "training.json", records / f"{name}.json")
    return packed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME", help="a net: its configuration without .toml")
    for name in parser.parse_args().names:
        packed = pack(name, REPOSITORY / "build/vnet" / name, REPOSITORY / "gpdust/encoder/weights", HERE)
        print(f"{packed.relative_to(REPOSITORY)}: {packed.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
