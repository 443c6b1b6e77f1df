"""The record of a run, for whoever wants to know later what was done: versions, machine, time, memory, outcome."""

from __future__ import annotations

import contextlib
import importlib.metadata
import math
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from gpdust._version import __version__
from gpdust.catalogue import StarCatalogue
from gpdust.likelihood import StarReport
from gpdust.posterior import Posterior

CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # versions 2 and 1
LIBRARIES = ("torch", "gpytorch", "pyro-ppl", "astropy", "numpy", "scipy", "healpy")


@dataclass
class Stopwatch:
    """Wall time of the stages of a run.

    Attributes
    ----------
    seconds : dict of str to float
        By stage, in order.
    """

    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage, even one that fails."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - started, 3)

    def __str__(self) -> str:
        stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.seconds.items())
        return f"{sum(self.seconds.values()):.0f} s ({stages})"


def versions() -> dict[str, str]:
    """Versions of gpdust, Python and the libraries that numbers depend on."""
    found = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {"gpdust": __version__, "python": platform.python_version(), **found}


def machine() -> dict[str, object]:
    """What the run ran on."""
    import torch

    return {"platform": platform.platform(), "cores": os.cpu_count(), "torch_threads": torch.get_num_threads()}


def peak_memory_mib() -> float | None:
    """Largest memory that this process has held, MiB; None where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)  # macOS counts bytes, Linux KiB


def machine_memory() -> int | None:
    """Memory that there is for this process, bytes; None where the system does not tell (Windows).

    In a container or a batch job that is what it was given, not what the machine has.
    """
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    for limit in CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
            memory = min(memory, int(Path(limit).read_text()))
    return memory if memory > 0 else None


def run_record() -> dict[str, object]:
    """When, with what and where, at this moment."""
    return {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "machine": machine(),
        "peak_memory_MiB": peak_memory_mib(),
    }


def star_record(stars: StarCatalogue, used: StarReport, held_out: int) -> dict[str, object]:
    """What became of the rows of the catalogue: dropped as unusable, cut, held out, off the grid, used."""
    return {
        "report": stars.report.as_dict(),
        "removed_by_cuts": stars.report.rows_kept - len(stars),
        "held_out": held_out,
        **asdict(used),
        "summary": stars.summary().splitlines(),
    }


def posterior_record(posterior: Posterior) -> dict[str, object]:
    """How a fit was made, how it ended, and how it went there."""
    report, meta = posterior.report, posterior.meta
    return {
        "engine": {"name": meta.get("engine"), "why": meta.get("engine_why")},
        "elbo": {"value": _finite(report.elbo), "error": _finite(report.elbo_error), "unit": "nat"},
        "convergence": {"converged": report.converged, "reason": report.reason, "steps": report.steps},
        "hyperparameters": hyperparameter_record(posterior),
        "treatment": posterior.treatment.description(),
        "noise_learned": posterior.noise_table.splitlines(),
        "jitter": getattr(posterior.prior, "jitter", 0.0),  # a spectral prior has none to need
        "trace": {
            key: [_finite(value) for value in values] if key == "elbo" else values
            for key, values in posterior.trace.as_dict().items()
        },
    }


def hyperparameter_record(posterior: Posterior) -> dict[str, dict[str, object]]:
    """Value, approximate error, unit and prior of each hyperparameter."""
    listed, values = posterior.prior.hyperparameters, posterior.hyperparameters
    known = listed.errors(posterior.theta, posterior.theta_covariance) if len(posterior.theta_covariance) else {}
    return {
        parameter.name: {
            "value": values[parameter.name],
            "error": _finite(known.get(parameter.name, math.nan)),
            "unit": parameter.unit,
            "learned": parameter.learned,
            "prior": parameter.describe_prior(),
        }
        for parameter in listed
    }


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None
