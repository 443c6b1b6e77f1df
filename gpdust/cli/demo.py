"""`gpdust demo`: the whole chain on a simulation, with scores against its truth."""

# ruff: noqa: D301 - "\b" keeps click from rewrapping a paragraph

from __future__ import annotations

from pathlib import Path

import click

from gpdust.cli.options import SEED, debug_option, fresh_option, quiet_option


@click.command()
@click.option("--quick", is_flag=True, help="A small one: fewer stars and cells.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Decides clumps, stars and fit.")
@click.option("--inducing", type=click.IntRange(1), help="Use a prior on so many inducing points.")
@click.option("--out", "-o", default="gpdust_demo", show_default=True, type=click.Path(path_type=Path), help="Folder.")
@fresh_option
@quiet_option
@debug_option
def demo(quick: bool, seed: int, inducing: int | None, out: Path, resume: bool, quiet: bool) -> None:
    """Simulate dust clumps, map them, and score the map against the truth.

    The benchmark of Dharmawardena et al. (2022): three clumps on a uniform
    background, seen by 120 000 stars with errors of 10 %. The stars, the truth
    and a configuration are written to the folder, and then fitted as `gpdust
    fit` would; see there for what is written. On top come scores.json and
    truth.png.

    \b
    Examples:
        gpdust demo
        gpdust demo --quick --seed 3 --out clumps3
        gpdust demo --inducing 500 --out inducing
    """
    import time

    from gpdust.cli import simulation
    from gpdust.cli.figures import save
    from gpdust.cli.folder import FitFolder
    from gpdust.cli.messages import Talk
    from gpdust.cli.pipeline import run
    from gpdust.cli.report import end_report
    from gpdust.files import write_json

    started = time.perf_counter()
    talk, folder = Talk(quiet), FitFolder(out)
    scale = simulation.QUICK if quick else simulation.FULL
    config, text = simulation.demo_config(scale, seed, folder, inducing)
    simulation.refuse_others(folder)
    folder.prepare(config, fresh=not resume)
    simulation.write_simulation(scale, seed, text, folder)
    with talk.hearing_warnings():
        done = run(config, folder, fresh=not resume, talk=talk)
        scores, truth = simulation.score(done, seed)
        save(lambda: simulation.plot_truth(done.maps, truth), out / "truth.png", talk)
    seconds = time.perf_counter() - started
    write_json(out / "scores.json", {"seed": seed, "quick": quick, "seconds": round(seconds, 1), **scores.as_dict()})
    talk.say(end_report(done))
    talk.say(f"\nagainst the truth (also in {out / 'scores.json'} and {out / 'truth.png'})\n{scores}")
    talk.say(f"{'everything took':28} {seconds:.0f} s")
