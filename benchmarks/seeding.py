"""What a V-net's guess saves a fit: python benchmarks/seeding.py [--skies 10] [--unlike].

Skies that no training has seen, alternately of small and of large regions: 3 000 stars in a cube with errors of 10 %.
mgvi and svi fit each from the prior's mean (mgvi also by way of a coarse grid, its default), from the V-net's guess,
and from where the first of these fits has ended: no guess can be nearer. Printed are the steps to the same ELBO, all
steps until the fit ends, final ELBOs with their errors, and seconds.
The same ELBO is the lower of those where the cold and the seeded fit end, less its error or --nats if that is more.
svi's trace tells when it is reached. mgvi's is no ELBO, since the volume of q is not part of it: mgvi is stopped after
fewer and fewer steps, until it falls short. Hyperparameters are given, the same to all. --unlike takes skies that are
like none of the training: clumps, a shell and a uniform medium.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import machine, write_json
from cube_skies import NSIDE, UNLIKE, CubeSky, fit

import gpdust
from gpdust.encoder import Encoder, seed

RECIPES = ("small-region", "large-region")
AVERAGED = 10  # steps of svi, whose ELBO is noisy


def steps_in_trace(posterior: gpdust.Posterior, target: float) -> int:
    """The first step of svi after which the ELBO at full weight, averaged over some, is as high as the target."""
    trace = posterior.trace
    elbo = np.where(np.array(trace.tempering) == 1, trace.elbo, -np.inf)
    reached = np.flatnonzero(np.convolve(elbo, np.ones(AVERAGED) / AVERAGED, "valid") >= target)
    return int(reached[0]) + AVERAGED if len(reached) else len(trace) + 1


def steps_when_stopped(elbo_after: Callable[[int], float], total: int, target: float) -> int:
    """The fewest steps after which a fit that is stopped has an ELBO as high as the target, by bisection."""
    short, enough = 0, total
    while enough - short > 1:
        middle = (short + enough) // 2
        short, enough = (short, middle) if elbo_after(middle) >= target else (middle, enough)
    return enough


def compare(sky: CubeSky, engine: str, encoder: Encoder | None, options: argparse.Namespace) -> dict:
    """Cold, usual and seeded fits of one sky."""
    model = sky.model("inducing" if engine == "svi" else "spectral", inducing=options.inducing)
    started = time.perf_counter()
    start = seed(sky.catalogue, model, encoder)
    seconds = time.perf_counter() - started
    ways = {"cold": {"coarse_start": False}, "coarse": {}, "seeded": {"start": start}}
    if engine == "svi":
        ways = {"cold": {}, "seeded": {"start": start}}
    fits = {name: fit(model, engine=engine, **words) for name, words in ways.items()}
    ways["end"] = {"start": fits["cold"][0]}
    fits["end"] = fit(model, engine=engine, **ways["end"])
    ends = [fits[name][0].report for name in ("cold", "seeded")]
    target = min(end.elbo for end in ends) - max(options.nats, *(end.elbo_error for end in ends))
    found = {"engine": engine, "recipe": sky.recipe, "dropped": start is None, "seed_seconds": seconds}
    for name, (posterior, taken) in fits.items():
        steps = len(posterior.trace)
        if engine == "svi":
            needed = steps_in_trace(posterior, target)
        else:
            needed = steps_when_stopped(
                lambda most, words=ways[name]: fit(model, engine=engine, max_steps=most, **words)[0].report.elbo,
                steps,
                target,
            )
        found[name] = {
            "steps": steps,
            "steps_to_elbo": needed,
            "seconds": taken,
            "elbo": posterior.report.elbo,
            "elbo_error": posterior.report.elbo_error,
            "converged": posterior.report.converged,
        }
    return found


def ratio(found: dict, name: str) -> float:
    """Steps to the same ELBO, over those of the cold fit."""
    return found[name]["steps_to_elbo"] / found["cold"]["steps_to_elbo"]


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skies", type=int, default=10)
    parser.add_argument("--engines", nargs="+", choices=("mgvi", "svi"), default=["mgvi", "svi"])
    parser.add_argument("--unlike", action="store_true", help="skies like none of the training")
    parser.add_argument("--stars", type=int, default=3000)
    parser.add_argument("--error", type=float, default=0.1)
    parser.add_argument("--inducing", type=int, default=300, help="points of svi's prior")
    parser.add_argument("--nats", type=float, default=2.0, help="how near the ELBO must come, at least")
    parser.add_argument("--nside", type=int, default=NSIDE, help="of gpdust's own fits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nets", type=Path, help="folder with RECIPE/vnet.safetensors; else the package's nets")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(machine(), f"seeds from {options.seed}", sep="\n", flush=True)
    rows = []
    kinds = tuple(UNLIKE) if options.unlike else RECIPES
    for engine in options.engines:
        print(f"\n{engine}: steps to the same ELBO (all steps), ELBO at the end, seconds")
        for number in range(options.skies):
            recipe = kinds[number % len(kinds)]
            net = "small-region" if recipe in UNLIKE else recipe
            encoder = Encoder.load(options.nets / net / "vnet.safetensors") if options.nets else None
            sky = CubeSky.make(recipe, options.seed + number, options.stars, options.error, options.nside)
            found = compare(sky, engine, encoder, options)
            rows.append(found)
            words = [
                f"{name} {x['steps_to_elbo']:4d} ({x['steps']:4d}) {x['elbo']:9.1f} ± {x['elbo_error']:.1f} "
                f"{x['seconds']:5.0f} s"
                for name in ("cold", "coarse", "seeded", "end")
                if (x := found.get(name))
            ]
            shares = f"ratio {ratio(found, 'seeded'):.2f}, from the end {ratio(found, 'end'):.2f}"
            print(f"{recipe:13} {'; '.join(words)}; {shares}", "dropped" * found["dropped"], flush=True)
        seeded, cold = ([r[name] for r in rows if r["engine"] == engine] for name in ("seeded", "cold"))
        off = [
            (a["elbo"] - b["elbo"]) / np.hypot(a["elbo_error"], b["elbo_error"])
            for a, b in zip(seeded, cold, strict=True)
        ]
        print(f"ELBO, seeded minus cold, in standard errors: {' '.join(f'{x:+.1f}' for x in off)}")
        for name, words in (("seeded", "seeded"), ("end", "from where the cold fit ended")):
            shares = [ratio(r, name) for r in rows if r["engine"] == engine]
            span = f"median {np.median(shares):.2f}, {min(shares):.2f} to {max(shares):.2f}"
            print(f"ratio of steps, {words} over cold: {span}")
    write_json(options.json, {"machine": machine(), "seed": options.seed, "rows": rows})


if __name__ == "__main__":
    main()
