"""From a configuration to a folder of products: what `gpdust fit` and `gpdust demo` do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gpdust.catalogue import StarCatalogue
from gpdust.cli.figures import Subject, draw_figures
from gpdust.cli.folder import FitFolder
from gpdust.cli.messages import Talk
from gpdust.cli.residuals import Residuals
from gpdust.config import Config, build
from gpdust.config.cost import Cost, Size
from gpdust.errors import ConfigError, EncoderError
from gpdust.files import atomic_path, write_json
from gpdust.fitting import FitInterrupted, choose_engine, fit
from gpdust.inference import Start
from gpdust.inference.checkpoint import fingerprint
from gpdust.inference.sample_size import AUTO
from gpdust.model import DustModel
from gpdust.posterior import PercentileMaps, Posterior
from gpdust.record import Stopwatch, machine_memory, posterior_record, run_record, star_record


@dataclass(frozen=True)
class Run:
    """What a run has made."""

    folder: FitFolder
    stars: StarCatalogue
    held_out: StarCatalogue
    model: DustModel
    posterior: Posterior
    maps: PercentileMaps
    watch: Stopwatch
    record: dict


def run(config: Config, folder: FitFolder, fresh: bool, talk: Talk) -> Run:
    """Fit, and write posterior, maps, figures and record.

    Whatever can fail fast is done first, and the posterior is saved before anything is made of it.
    """
    watch = Stopwatch()
    before = folder.prepare(config, fresh)
    _, map_grid, prior = build.fit_grid(config), build.map_grid(config), build.prior(config)
    with watch.stage("read"):
        given = build.read_stars(config)
        stars, held_out = build.split_stars(config, given)
    talk.say(given.summary())
    if len(held_out):
        talk.say(f"held out, whole sightlines: {len(held_out)} stars, for `gpdust check`")
    with watch.stage("model"):
        grid, treatment = build.fit_grid(config, stars), build.treatment(config, stars)
        density = config.likelihood.foreground_density
        model = DustModel(stars, grid, prior, config.fit.seed, treatment, density)
    _require_stars(model, stars)
    talk.say(f"\n{model.stars_used}; {grid!r}; {model.prior}")
    for note in model.notes:
        talk.say(f"note: {note}")
    engine, why = config.fit.engine, "as the configuration says"
    if engine == "auto":
        engine, why = choose_engine(model.prior)
    talk.say(f"engine: {engine} ({why})")
    mark = fingerprint(model, engine, config.fit.seed, build.engine_settings(config))
    if before:
        folder.refuse_other_stars(before, mark)
        talk.say("this fit is finished: making maps and figures of it again (--fresh fits anew)")
        posterior = Posterior.load(folder.posterior)
        watch.seconds["fit"] = before["seconds"]["fit"]
    else:
        if fresh:
            folder.checkpoint.unlink(missing_ok=True)
        size = Size.of(model, math.prod(map_grid.shape), getattr(config.fit, "samples", AUTO))
        _warn_of_memory(Cost.of(engine, size), talk)
        posterior = _fit(config, stars, model, folder, watch, talk)
    record = {
        "fingerprint": mark,
        "seed": config.fit.seed,
        "config": config.as_dict(),
        "stars": star_record(given, model.stars_used, len(held_out)),
        "notes": model.notes,
        **posterior_record(posterior),
    }
    with _fit_is_safe(folder.posterior, "makes maps and figures of it", talk):
        _write_record(record, folder, watch, talk)
        folder.checkpoint.unlink(missing_ok=True)  # not before the record says that the fit is finished
        maps = _products(config, map_grid, posterior, stars, folder, watch, talk, record)
    _write_record(record, folder, watch, talk)
    return Run(folder, stars, held_out, model, posterior, maps, watch, record)


def _fit(
    config: Config, stars: StarCatalogue, model: DustModel, folder: FitFolder, watch: Stopwatch, talk: Talk
) -> Posterior:
    start = None
    if folder.checkpoint.exists():
        talk.say(f"going on from {folder.checkpoint} (--fresh starts anew)")
    elif config.fit.start == "vnet":
        with watch.stage("vnet"):
            start = _seeded(stars, model, talk)
    try:
        with watch.stage("fit"):
            posterior = fit(
                model,
                engine=config.fit.engine,
                seed=config.fit.seed,
                progress=not talk.quiet,
                checkpoint=folder.checkpoint,
                start=start,
                keep_checkpoint=True,
                **build.engine_options(config),
            )
    except FitInterrupted:
        raise KeyboardInterrupt(
            f"interrupted; the same command goes on from {folder.checkpoint} (--fresh starts anew)"
        ) from None
    with _fit_is_safe(folder.checkpoint, "saves it", talk):
        posterior.save(folder.posterior)
        folder.clear()
    return posterior


def _seeded(stars: StarCatalogue, model: DustModel, talk: Talk) -> Start | None:
    """Where a V-net sees the dust; without weights, or with no star for it to see, the fit starts as usual."""
    from gpdust.encoder import seed

    try:
        start = seed(stars, model)
    except EncoderError as error:
        talk.say(f"note: the fit starts at the prior's mean, not from a V-net: {error}")
        return None
    towards = "towards a V-net's guess" if start else "the prior's mean, which the stars prefer to a V-net's guess"
    talk.say(f"start: {towards}")
    return start


def _products(
    config: Config,
    grid: object,
    posterior: Posterior,
    stars: StarCatalogue,
    folder: FitFolder,
    watch: Stopwatch,
    talk: Talk,
    record: dict,
) -> PercentileMaps:
    """Write maps and figures, and note in the record what was written."""
    section = config.maps
    with watch.stage("maps"):
        maps = posterior.percentiles(section.percentiles, grid, section.samples, section.seed, not talk.quiet)
        maps.write(folder.maps)
    with watch.stage("stars"), atomic_path(folder.stars) as temporary:
        posterior.star_table(stars).write(temporary, format="fits", overwrite=True)
    with watch.stage("figures"):
        residuals = Residuals.of(posterior, stars)
        figures = draw_figures(Subject(posterior, maps, stars, residuals), folder.path, talk)
    record["residuals"] = residuals.as_dict()
    record["products"] = [folder.maps.name, folder.posterior.name, folder.stars.name, *(path.name for path in figures)]
    return maps


def _write_record(record: dict, folder: FitFolder, watch: Stopwatch, talk: Talk) -> None:
    write_json(folder.record, {**run_record(), "seconds": watch.seconds, "warnings": talk.warnings, **record})


@contextmanager
def _fit_is_safe(where: Path, then: str, talk: Talk) -> Iterator[None]:
    """Say that the fit is not lost where something goes wrong after it, and what the next run does."""
    try:
        yield
    except BaseException:
        talk.warn(f"the fit itself is safe in {where}; the same command {then} (--fresh fits anew)")
        raise


def _warn_of_memory(cost: Cost, talk: Talk) -> None:
    memory = machine_memory()
    if memory and cost.memory_bytes > memory:
        talk.warn(
            f"fit and maps will need {cost.memory_bytes / 2**30:.1f} GiB by a rough estimate, and there are "
            f"{memory / 2**30:.1f} GiB: the system may end the run. Fewer cells in [region] or [maps] shape, a larger "
            "[prior] box_spacing (or less inducing) or fewer [fit] samples need less"
        )


def _require_stars(model: DustModel, stars: StarCatalogue) -> None:
    if not model.stars_used.used:
        raise ConfigError(
            f"[region] holds none of the {len(stars)} stars ({model.stars_used}); the catalogue is this:\n"
            f"{stars.summary()}"
        )
