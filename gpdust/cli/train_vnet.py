"""`gpdust train-vnet`: simulations and a trained V-net from a configuration."""

# ruff: noqa: D301 - "\b" keeps click from rewrapping a paragraph

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpdust.cli.options import debug_option, quiet_option

if TYPE_CHECKING:
    from gpdust.config.vnet import VNetConfig
    from gpdust.encoder.feed import Library
    from gpdust.encoder.observation import Observation


@click.command("train-vnet")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--resume/--fresh", default=True, help="Go on with the training in the folder (the default), or anew.")
@quiet_option
@debug_option
def train_vnet(config: Path, resume: bool, quiet: bool) -> None:
    """Train the V-net that CONFIG describes, a TOML file, on simulations.

    The cubes of dust are simulated first, and kept for other trainings. A
    training that was stopped (Ctrl-C, or the machine) goes on where it was
    when the same command is given again, and ends with the same net.

    \b
    Written to the folder that [output] names:
        vnet.safetensors   the net with the lowest validation loss, and its
                           record; best so far while the training runs
        training.json      the record: options, versions, losses, time
        loss.png           the losses, epoch by epoch

    \b
    A small net, for which a CPU will do (the defaults are the paper's):
        [simulations]
        recipe = "small-region"
        count = 2000
        [network]
        width = 8
        [training]
        epochs = 30
        symmetry = "square"         # "mirror" where z is Galactic Z
        [observation]
        exact_share = 1.0
        [output]
        folder = "small_net"

    \b
    Examples:
        gpdust train-vnet small.toml
        gpdust train-vnet small.toml --fresh
    """
    from gpdust.cli.figures import save
    from gpdust.cli.messages import Talk
    from gpdust.config.vnet import VNetConfig
    from gpdust.encoder import train
    from gpdust.encoder.products import CHECKPOINT
    from gpdust.plot import plot_loss

    talk, read = Talk(quiet), VNetConfig.read(config)
    folder, options = read.output.folder, read.options
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / CHECKPOINT
    if not resume:
        checkpoint.unlink(missing_ok=True)
    with talk.hearing_warnings():
        library, observation = make_parts(read, progress=not quiet)
        talk.say(f"simulations: {len(library)} cubes of {library.cells}³ cells ({library.recipe}, seed {library.seed})")
        if checkpoint.exists():
            talk.say(f"going on from {checkpoint} (--fresh starts anew)")
        facts = {"observation": json.loads(json.dumps(asdict(observation)))}  # as a checkpoint gives them back
        _, record = train(library, folder, options, observation.observe, not quiet, facts)
        save(lambda: plot_loss(record["history"]), folder / "loss.png", talk)
    talk.say(_report(record, folder))


def make_parts(config: VNetConfig, progress: bool) -> tuple[Library, Observation]:
    """Make or open the library, and say how its cubes are seen.

    Raises
    ------
    ConfigError
        If there is no such recipe, or an observation is impossible.
    """
    from gpdust.config.reading import plain_section
    from gpdust.encoder.observation import Observation
    from gpdust.errors import ConfigError, GpdustError
    from gpdust.simulate.cubes.library import CubeLibrary
    from gpdust.simulate.cubes.recipes import RECIPES

    wanted = config.simulations
    if wanted.recipe not in RECIPES:
        raise ConfigError(f"[simulations] has no recipe {wanted.recipe!r}; there are {', '.join(RECIPES)}")
    given = {name: getattr(config.observation, name) for name in plain_section(config.observation)}
    try:
        observation = Observation(**given)
    except GpdustError as error:
        raise ConfigError(f"[observation] {error}") from None
    path = config.library_folder
    path.parent.mkdir(parents=True, exist_ok=True)
    library = CubeLibrary.make(path, wanted.recipe, wanted.count, wanted.seed, wanted.cells, progress)
    return library, observation


def _report(record: dict, folder: Path) -> str:
    """What a training says at its end."""
    options, seconds, memory = record["options"], record["seconds"], record["peak_memory_MiB"]
    trust, cubes = record["trust"], record["cubes"]
    low, high = trust["extinction"]
    return "\n".join(
        [
            "",
            f"net         {options['depth']} stages, {options['width']} channels in the first, {options['norm']} norm, "
            f"{record['parameters']:,} parameters; from {', '.join(options['inputs'])}",
            f"cubes       {cubes['training']} to learn from, {cubes['validation']} to validate",
            f"loss        {record['best_validation_loss']:.3e} on the validation cubes, in epoch "
            f"{record['best_epoch']} of {record['epochs']}",
            f"trust it    where the largest extinction of a cube lies between {low:.3g} and {high:.3g} mag",
            f"written     {folder}: vnet.safetensors, training.json, loss.png",
            f"time        {seconds:.0f} s" + (f"; peak memory {memory:.0f} MiB" if memory else ""),
        ]
    )
