"""gpdust's mgvi against NIFTy.re's on one problem: python benchmarks/peers/compare.py --nifty-python PATH [--large].

Both fit the same stars under the same prior on the same periodic box, one after the other, each in its own process and
environment. NIFTy.re is given gpdust's compressed stars. README.md says how to make its environment.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from common import machine, write_json  # noqa: E402
from export_problem import add_arguments  # noqa: E402

from gpdust.scores import STRUCTURE, coverage, relative_error  # noqa: E402

LARGE = ["100", "100", "115"]
MATCH = 0.02  # a NIFTy iteration counts as good as gpdust from where it is as far from the reference, and this, σ
DEMO = ["--delta", "1e-4", "--cg-steps", "100", "--start", "1", "--no-static"]  # as in its demos
REFERENCE = ["--pairs", "1", "2", "10", "30", "30", "--delta", "2e-6", "--cg-steps", "2000", "--runs", "1"]
COLUMNS = {  # key: (heading, format)
    "seconds": ("seconds", ".1f"),
    "ratio": ("ratio", ".1f"),
    "warm_seconds": ("again", ".1f"),
    "warm_ratio": ("ratio", ".1f"),
    "processor_seconds": ("cores·s", ".1f"),
    "processor_ratio": ("ratio", ".1f"),
    "error_median": ("median", ".2%"),
    "error_p90": ("p90", ".2%"),
    "structure_error_median": ("clumps", ".2%"),
    "density_coverage": ("68 %", ".3f"),
    "structure_coverage": ("68 % clumps", ".3f"),
    "distance": ("σ off", ".2f"),
    "width": ("width", ".2f"),
}


def score(density: np.ndarray, problem: dict[str, np.ndarray], reference: np.ndarray | None) -> dict[str, float]:
    """Figures of merit of percentile maps, shape (3, ray, cell).

    `distance` is the root mean square over cells of how far the median of log-density is from that of the reference, in
    its σ; `width` the median ratio of the intervals.
    """
    truth = problem["truth"]
    low, median, high = density
    error, dense = relative_error(median, truth), truth >= STRUCTURE.value
    scores = {
        "error_median": float(np.median(error)),
        "error_p90": float(np.percentile(error, 90)),
        "structure_error_median": float(np.median(error[dense])),
        "density_coverage": coverage(low, high, truth),
        "structure_coverage": coverage(low[dense], high[dense], truth[dense]),
    }
    if reference is not None:
        theirs = np.log10(reference)
        width = theirs[2] - theirs[0]
        off = (np.log10(median) - theirs[1]) / (width / 2)
        scores["distance"] = float(np.sqrt(np.mean(off**2)))
        scores["width"] = float(np.median(np.log10(high / low) / width))
    return scores


def execute(command: list[str]) -> None:
    """Run a program; stop if it fails."""
    print("…", " ".join(Path(word).name if "/" in word else word for word in command[1:]), file=sys.stderr, flush=True)
    if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
        raise SystemExit(f"{Path(command[1]).name} failed; what it said stands above")


def read(path: Path) -> tuple[np.ndarray, dict]:
    """Maps and record of a result."""
    with np.load(path) as file:
        return file["density"], json.loads(str(file["record"]))


def read_reference(path: Path, problem: dict[str, np.ndarray]) -> np.ndarray:
    """The maps of a long run; stop if it solved another problem."""
    maps, record = read(path)
    if not np.allclose(record["problem"], problem["check_log_likelihood"], rtol=1e-9):
        raise SystemExit(f"{path} is the reference of another problem; delete it, and it is made anew")
    return maps[-1]


def gpdust_row(path: Path, problem: dict[str, np.ndarray], reference: np.ndarray | None) -> dict:
    """The one row of gpdust."""
    density, record = read(path)
    first, *more = record.pop("seconds")
    warm = {"warm_seconds": more[-1]} if more else {}
    processor = {"processor_seconds": record.pop("processor_seconds")[-1]}
    return {
        "name": "gpdust mgvi",
        "seconds": first,
        **warm,
        **processor,
        **record,
        **score(density, problem, reference),
    }


def nifty_rows(
    name: str, path: Path, problem: dict[str, np.ndarray], reference: np.ndarray | None, ours: dict
) -> list[dict]:
    """One row for each iteration of NIFTy: a user might stop after any."""
    maps, record = read(path)
    cold, warm = record["seconds"][0], record["seconds"][1] if len(record["seconds"]) > 1 else None
    processor = record["processor_seconds"][-1]
    return [
        {
            "name": f"{name}, {2 * pairs} samples",
            "pairs": pairs,
            "seconds": cold[number],
            "ratio": cold[number] / ours["seconds"],
            **({"warm_seconds": warm[number], "warm_ratio": warm[number] / ours["warm_seconds"]} if warm else {}),
            "processor_seconds": processor[number],
            "processor_ratio": processor[number] / ours["processor_seconds"],
            **record["iterations"][number],
            **score(density, problem, reference),
        }
        for number, (density, pairs) in enumerate(zip(maps, record["settings"]["pairs"], strict=True))
    ]


def matching(rows: list[dict], ours: dict, samples: int) -> dict:
    """The first iteration with as many samples that is as near the reference as gpdust; the last one if none is."""
    enough = [row for row in rows if 2 * row["pairs"] >= samples]
    near = [row for row in enough if row.get("distance", np.inf) <= ours.get("distance", -np.inf) + MATCH]
    return (near or enough or rows)[0 if near else -1]


def verdict(row: dict, ours: dict) -> str:
    """The ratio in a sentence."""
    warm = f", {row['warm_ratio']:.1f} in a process that has compiled already" if "warm_ratio" in row else ""
    return (
        f"{row['name']}: {row['ratio']:.1f} times the time of gpdust{warm}; median error {row['error_median']:.2%} "
        f"against {ours['error_median']:.2%}"
        + (f", {row['distance']:.2f} against {ours['distance']:.2f} σ off the reference" if "distance" in row else "")
        + "."
    )


def line(row: dict) -> str:
    cells = [
        f"{format(row[key], form) if key in row else '–':>{max(len(head), 8)}}" for key, (head, form) in COLUMNS.items()
    ]
    return f"{row['name']:24}" + "  ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nifty-python", required=True, help="Python of the environment with NIFTy")
    parser.add_argument("--large", action="store_true", help="100 × 100 × 115 cells")
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--runs", type=int, default=2, help="in one process; the later ones find all compiled")
    parser.add_argument("--demo", action="store_true", help="also with the settings of NIFTy's own demo")
    parser.add_argument("--reference", type=Path, help="a long run of NIFTy to measure both against; made if missing")
    parser.add_argument("--folder", type=Path, help="keep problem and results here")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    parser.add_argument(
        "--nifty-options", default="", help="other options of nifty_mgvi.py, in one word: '--pairs 10 10 --delta 1e-5'"
    )
    add_arguments(parser)
    arguments = parser.parse_args()
    if arguments.large:
        arguments.shape = LARGE
    with tempfile.TemporaryDirectory() as scratch:
        compare(arguments, arguments.folder or Path(scratch))


def compare(arguments: argparse.Namespace, folder: Path) -> None:
    """Run everything in a folder and print the table."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "problem.npz"
    options = [
        word
        for name in ("seed", "stars", "shape", "kernel", "length_scale", "amplitude")
        for value in [getattr(arguments, name)]
        for word in [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value])]
    ]
    nifty = [arguments.nifty_python, str(HERE / "nifty_mgvi.py"), str(path)]
    execute([sys.executable, str(HERE / "export_problem.py"), str(path), *options])
    with np.load(path) as file:
        problem = {name: file[name] for name in ("truth", "box_shape", "check_log_likelihood")}
    if arguments.reference and not arguments.reference.exists():
        execute([*nifty, str(arguments.reference), *REFERENCE])
    reference = read_reference(arguments.reference, problem) if arguments.reference else None
    runs = ["--runs", str(arguments.runs)]
    samples = ["--samples", str(arguments.samples), *runs]
    execute([sys.executable, str(HERE / "gpdust_mgvi.py"), str(path), str(folder / "gpdust.npz"), *samples, *options])
    ours = gpdust_row(folder / "gpdust.npz", problem, reference)
    pairs = arguments.samples // 2
    schedules = {"NIFTy": ["--pairs", "1", "2", *[str(pairs)] * 2, *arguments.nifty_options.split()]}
    if arguments.demo:
        schedules["NIFTy demo"] = ["--pairs", *[str(pairs // 2)] * 2, *[str(pairs)] * 4, *DEMO]
    rows, records, verdicts = [ours], {}, []
    for number, (name, chosen) in enumerate(schedules.items()):
        result = folder / f"nifty{number}.npz"
        execute([*nifty, str(result), *runs, *chosen])
        more = nifty_rows(name, result, problem, reference, ours)
        records[name] = read(result)[1]
        verdicts.append(verdict(matching(more, ours, arguments.samples), ours))
        rows += more
    report(arguments, problem, rows, records, verdicts)


def report(
    arguments: argparse.Namespace,
    problem: dict[str, np.ndarray],
    rows: list[dict],
    records: dict[str, dict],
    verdicts: list[str],
) -> None:
    """Print the table and write the JSON."""
    ours, first = rows[0], next(iter(records.values()))
    shape, box = (" × ".join(map(str, values)) for values in (arguments.shape, problem["box_shape"]))
    print(
        machine(),
        f"NIFTy {first['nifty']}, JAX {first['jax']}, {first['cores']} cores",
        f"{arguments.stars} stars, {shape} cells, {arguments.kernel} with {arguments.length_scale:g} pc and "
        f"{arguments.amplitude:g} dex, box of {box} nodes, seed {arguments.seed}",
        "largest relative difference between the two models: "
        + ", ".join(f"{name.replace('_', ' ')} {value:.0e}" for name, value in first["check"].items()),
        " " * 24 + "  ".join(f"{head:>{max(len(head), 8)}}" for head, _ in COLUMNS.values()),
        *map(line, rows),
        *(
            f"{name}: {record['compile_seconds'][0]:.1f} s of the first column compile"
            for name, record in records.items()
        ),
        "memory: "
        + ", ".join(
            f"{name} {memory:.1f} GiB"
            for name, memory in {"gpdust": ours["memory"], **{n: r["memory"] for n, r in records.items()}}.items()
        ),
        f"the last step of gpdust ended after {ours['without_elbo'][0]:.1f} s, the rest is its estimate of the ELBO",
        *verdicts,
        sep="\n",
    )
    write_json(
        arguments.json,
        {
            "machine": machine(),
            "problem": {
                "stars": arguments.stars,
                "shape": [int(n) for n in arguments.shape],
                "box": problem["box_shape"].tolist(),
                "kernel": arguments.kernel,
                "length_scale": arguments.length_scale,
                "amplitude": arguments.amplitude,
                "seed": arguments.seed,
            },
            "rows": rows,
            "nifty": records,
            "verdicts": verdicts,
        },
    )


if __name__ == "__main__":
    main()
