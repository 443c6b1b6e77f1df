"""`gpdust train-vnet` from a configuration to a folder, and its configuration."""

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import InitVar, dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from click.testing import CliRunner, Result
from test_encoder_training import MemoryLibrary, observe, stopping

from gpdust.cli import main, train_vnet
from gpdust.config.vnet import VNetConfig
from gpdust.encoder import Observation, TrainingOptions, load_net
from gpdust.errors import ConfigError, EncoderError
from gpdust.plot import plot_loss
from gpdust.simulate.cubes import CubeLibrary

CONFIG = """
[simulations]
recipe = "clouds"
count = 30
cells = 8
seed = 1
[network]
width = 4
depth = 2
norm = "group"
inputs = ["extinction", "information"]
[training]
epochs = 3
batch = 4
learning_rate = 3e-3
symmetry = "mirror"
seed = 5
[observation]
stars = [100, 1000]
[output]
folder = "out"
"""


@dataclass(frozen=True)
class Sky:
    stars: tuple[float, float]
    observe: InitVar[Callable]

    def __post_init__(self, observe):
        object.__setattr__(self, "observe", observe)


@pytest.fixture
def parts(monkeypatch):
    """Stand-ins for the simulations and the sky; returns what they were asked for."""
    asked = []

    def make(config, progress):
        asked.append(config)
        wanted = config.simulations
        library = MemoryLibrary(wanted.count, wanted.seed, wanted.cells, recipe=wanted.recipe)
        return library, Sky(config.observation.stars, make.observe)

    make.observe = observe
    make.asked = asked
    monkeypatch.setattr(train_vnet, "make_parts", make)
    return make


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "net.toml"
    path.write_text(CONFIG)
    return path


def gpdust(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_net_comes_out(parts, config):
    result = gpdust("train-vnet", config)
    assert result.exit_code == 0, result.output
    out = config.parent / "out"
    record = json.loads((out / "training.json").read_text())
    net, known = load_net(out / "vnet.safetensors")
    assert net.shape.inputs == ("extinction", "information")
    assert net.shape.channels == (4, 8)
    assert record["finished"]
    assert record["facts"] == known["facts"] == {"observation": {"stars": [100.0, 1000.0]}}
    assert record["options"]["seed"] == 5
    assert (out / "loss.png").stat().st_size > 10_000
    assert f"in epoch {record['best_epoch']} of 3" in result.stdout
    assert "simulations: 30 cubes of 8³ cells (clouds, seed 1)" in result.stdout
    assert parts.asked[0].library_folder == out / "simulations"


def test_interrupted_it_goes_on(parts, config):
    assert gpdust("train-vnet", config, "--quiet").exit_code == 0
    net = config.parent / "out" / "vnet.safetensors"
    unbroken = net.read_bytes()
    parts.observe = stopping(21 + 35, KeyboardInterrupt())
    stopped = gpdust("train-vnet", config, "--fresh")
    assert stopped.exit_code == 130
    assert "interrupted in epoch 2 of 3; the same again goes on from" in stopped.stderr
    parts.observe = observe
    result = gpdust("train-vnet", config)
    assert result.exit_code == 0
    assert "going on from" in result.stdout
    assert net.read_bytes() == unbroken


def test_another_training_is_refused_until_fresh(parts, config):
    assert gpdust("train-vnet", config, "--quiet").stdout == ""
    config.write_text(CONFIG.replace("seed = 5", "seed = 6").replace("1000]", "2000]"))
    refused = gpdust("train-vnet", config)
    assert refused.exit_code == 1
    assert "different: facts.observation.stars, training.seed" in refused.stderr
    assert gpdust("train-vnet", config, "--fresh").exit_code == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('recipe = "clouds"', ""), "[simulations] needs the key 'recipe'"),
        (("width = 4", "widht = 4"), "[network] has no key 'widht'; did you mean 'width'?"),
        (("[network]", "[net]"), "has no section [net]"),
        (("epochs = 3", "epochs = 0"), "[training] epochs must be a whole number, 1 or more, got 0"),
        (('"information"]', '"extinction"]'), "[network] inputs must be a list, each entry once"),
        (("[100, 1000]", "[1000, 100]"), "[observation] stars must be two numbers, the lower one first"),
        (("[100, 1000]", "[1, 2]\nexact_share = 1.5"), "[observation] exact_share must be a number from 0 to 1"),
        (("cells = 8", "cells = 9"), "[simulations] cells: a cube of 9 × 9 × 9 cells does not go through"),
        (("batch = 4", "batch = 4\naccumulate = 9"), "[training] accumulate must lie between 1 and batch = 4"),
        (('folder = "out"', 'file = "out"'), "[output] has no key 'file'"),
    ],
)
def test_errors_name_section_and_key(parts, config, change, words):
    assert change[0] in CONFIG
    config.write_text(CONFIG.replace(*change))
    result = gpdust("train-vnet", config)
    assert result.exit_code == 1
    assert words in result.stderr
    assert not (config.parent / "out").exists()


def test_the_true_parts_make_a_net(config):
    config.write_text(CONFIG.replace("clouds", "small-region").replace("[100, 1000]", "[100, 1000]\nneighbours = 2"))
    result = gpdust("train-vnet", config, "--quiet")
    assert result.exit_code == 0, result.output
    out = config.parent / "out"
    observed = json.loads((out / "training.json").read_text())["facts"]["observation"]
    assert (observed["stars"], observed["neighbours"]) == ([100, 1000], 2)
    assert observed["fractional_error"] == list(Observation().fractional_error)  # what is not given is as it stands
    assert len(CubeLibrary.open(out / "simulations")) == 30


def test_what_is_no_recipe_or_no_observation_is_refused(config):
    assert "[simulations] has no recipe 'clouds'; there are small-region" in gpdust("train-vnet", config).stderr
    config.write_text(CONFIG.replace("clouds", "small-region").replace("[100, 1000]", "[100, 1000]\nneighbours = 0"))
    assert "[observation] neighbours must be" in gpdust("train-vnet", config).stderr


def test_configuration_in_and_out(config):
    read = VNetConfig.read(config)
    network = {"width": 4, "depth": 2, "norm": "group", "inputs": ("extinction", "information")}
    assert read.options == TrainingOptions(epochs=3, batch=4, learning_rate=3e-3, symmetry="mirror", seed=5, **network)
    assert VNetConfig.from_dict(read.as_dict()) == read
    least = VNetConfig.from_dict({"simulations": {"recipe": "small-region"}, "output": {"folder": "x"}}, "/data")
    assert least.options == TrainingOptions()
    assert least.output.folder == Path("/data/x")
    with pytest.raises(ConfigError, match="there is no configuration"):
        VNetConfig.read(config.parent / "none.toml")


def test_documented_defaults_are_those_of_the_code():
    text = (Path(__file__).resolve().parents[1] / "docs/configuration.md").read_text(encoding="utf-8")
    block = tomllib.loads(re.findall(r"```toml\n(.*?)```", text, re.DOTALL)[-1])
    least = {"simulations": {"recipe": "small-region"}, "output": {"folder": "net"}}
    defaults, shown = VNetConfig.from_dict(least), VNetConfig.from_dict(block)
    for section in ("simulations", "network", "training", "output"):
        assert getattr(shown, section) == getattr(defaults, section)
    known = Observation()
    assert {name: getattr(known, name) for name in block["observation"]} == {
        name: tuple(value) if isinstance(value, list) else value for name, value in block["observation"].items()
    }


def test_help_shows_a_configuration_that_is_one():
    shown = gpdust("train-vnet", "--help").output.split("the defaults are the paper's):")[1].split("Examples:")[0]
    config = VNetConfig.from_dict(tomllib.loads(shown))
    assert (config.network.width, config.simulations.count, config.training.symmetry) == (8, 2000, "square")


def test_losses_are_drawn():
    matplotlib.use("Agg")
    history = {"train": [0.3, 0.2, 0.1], "validation": [0.4, 0.2, 0.3]}
    panel = plot_loss(history)
    train, validation, kept = panel.lines
    assert train.get_ydata().tolist() == history["train"]
    assert validation.get_xdata().tolist() == [1, 2, 3]
    assert kept.get_xydata().tolist() == [[2, 0.2]]
    assert panel.get_yscale() == "log"
    matplotlib.pyplot.close("all")
    with pytest.raises(EncoderError, match="no epoch"):
        plot_loss({"train": [], "validation": np.array([])})


FIVE_HUNDRED = """
[simulations]
recipe = "large-region"
count = 500
cells = 16
folder = "cubes"
[network]
width = 6
depth = 3
inputs = ["extinction", "information", "difference", "smooth-difference", "substitution"]
shortcut = "substitution"
[training]
epochs = 2
batch = 8
learning_rate = 2e-3
schedule = "cosine"
symmetry = "mirror"
checkpoint_minutes = 0.02
[observation]
stars = [200, 5000]
[output]
folder = "FOLDER"
"""


def test_five_hundred_cubes_survive_a_kill_bit_for_bit_and_lower_the_loss(tmp_path):
    def command(folder: str) -> list[str]:
        path = tmp_path / f"{folder}.toml"
        path.write_text(FIVE_HUNDRED.replace("FOLDER", folder))
        return [sys.executable, "-m", "gpdust", "train-vnet", str(path), "--quiet"]

    def run(folder: str) -> None:
        done = subprocess.run(command(folder), env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr

    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run("unbroken")
    killed = subprocess.Popen(command("killed"), env=environment)
    checkpoint = tmp_path / "killed" / "checkpoint.safetensors"
    try:
        for _ in range(1200):
            if checkpoint.exists() or killed.poll() is not None:
                break
            time.sleep(0.1)
        assert killed.poll() is None  # in the middle of it
    finally:
        killed.kill()
        killed.wait()
    assert checkpoint.exists()
    run("killed")
    assert (tmp_path / "killed/vnet.safetensors").read_bytes() == (tmp_path / "unbroken/vnet.safetensors").read_bytes()
    history = json.loads((tmp_path / "killed/training.json").read_text())["history"]
    assert history["train"][1] < history["train"][0]
    assert history["validation"][1] < history["validation"][0]
