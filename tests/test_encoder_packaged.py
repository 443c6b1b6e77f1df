"""The nets of the package: their files, their records, and that they still see what they were trained to see."""

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

from gpdust.encoder import Encoder, Observation, VNetShape, load_net, packaged, save_net
from gpdust.encoder.finite_difference import finite_difference
from gpdust.encoder.observation import exact
from gpdust.encoder.vnet import VNet
from gpdust.scores import cube_scores
from gpdust.simulate.cubes import RECIPES

NETS = ("small-region", "large-region")
RECORDS = Path(__file__).parent.parent / "benchmarks" / "vnet"
UNSEEN = 2**31 + 2  # a stream of random numbers that no library uses


def cubes(name: str, count: int) -> list[np.ndarray]:
    return [RECIPES[name].simulate(np.random.default_rng([UNSEEN, i])) for i in range(count)]


@pytest.mark.parametrize("name", NETS)
def test_the_record_is_that_of_the_net(name):
    _, known = packaged(name)
    record = json.loads((RECORDS / f"{name}.json").read_text())
    assert record["finished"]
    for key in ("best_validation_loss", "best_epoch", "trust", "accuracy", "library", "facts"):
        assert known[key] == record[key], key
    assert (files("gpdust.encoder") / "weights" / f"{name}.safetensors").stat().st_size < 10e6


@pytest.mark.parametrize(
    ("name", "dispersion", "correlation"), [("small-region", 3e-4, 0.9), ("large-region", 4e-4, 0.6)]
)
def test_exact_cubes_are_seen_as_they_are(name, dispersion, correlation):
    """At least as well as "3D dust maps by V-net" (MNRAS) has it; float32 would round too much for that."""
    encoder, truth = Encoder.packaged(name), np.stack(cubes(name, 4)).astype(np.float64)
    seen = (np.stack(x) for x in zip(*(exact(cube, encoder.cell_length) for cube in truth), strict=True))
    scores = cube_scores(encoder.density(*seen, encoder.cell_length), truth, encoder.cell_length)
    assert scores.dispersion < dispersion
    assert scores.correlation.min() > correlation


@pytest.mark.parametrize("name", NETS)
def test_stars_with_noise_are_seen_better_than_by_a_difference(name):
    encoder, rng = Encoder.packaged(name), np.random.default_rng(UNSEEN)
    off = {"net": [], "difference": []}
    for truth in cubes(name, 2):
        observe = Observation(exact_share=0.0, stars=(3000, 3000), fractional_error=(0.1, 0.1), gaps=0).observe
        extinction, information = observe(truth, encoder.cell_length, rng)
        off["net"].append(encoder.density(extinction, information, encoder.cell_length) - truth)
        off["difference"].append(finite_difference(extinction.astype(float), encoder.cell_length) - truth)
    net, difference = (np.abs(x) for x in off.values())
    assert np.mean(net) < np.mean(difference) / 1.8
    assert np.median(net) < np.median(difference) / 2


def test_a_training_is_packed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(RECORDS))
    import pack

    torch.manual_seed(0)
    net = VNet(VNetShape(width=8, depth=3)).eval()
    trained = tmp_path / "trained"
    trained.mkdir()
    save_net(trained / "vnet.safetensors", net, {"trust": 1})
    (trained / "training.json").write_text('{"finished": true}')
    packed = pack.pack("tiny", trained, tmp_path, tmp_path)
    again, record = load_net(packed)
    assert record["trust"] == 1
    assert json.loads((tmp_path / "tiny.json").read_text()) == {"finished": True}
    assert packed.stat().st_size < 0.6 * (trained / "vnet.safetensors").stat().st_size
    some = torch.rand(1, 1, 8, 8, 8)
    torch.testing.assert_close(again(some), net(some), rtol=1e-2, atol=1e-3)
