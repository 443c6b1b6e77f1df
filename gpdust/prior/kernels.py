"""GPyTorch kernels by name, and their parameters as hyperparameters in physical units."""

from __future__ import annotations

import re

import gpytorch
import torch
from gpytorch.kernels import Kernel, MaternKernel, RBFKernel, ScaleKernel

from gpdust.prior.hyperparameters import Hyperparameter

AXES = ("x", "y", "z")
_MATERN = {"matern12": 0.5, "matern32": 1.5, "matern52": 2.5}
KERNEL_NAMES = ("rbf", *_MATERN)


def build_kernel(name: str, length_scale: list[float], amplitude: float) -> Kernel:
    """Build a scaled stationary kernel with a length scale for each axis.

    Parameters
    ----------
    name : str
        "rbf", "matern12", "matern32" or "matern52".
    length_scale : three floats
        Along x, y, z, pc.
    amplitude : float
        Standard deviation of log10 density, dex.

    Returns
    -------
    gpytorch.kernels.Kernel
        In float64; its output scale is a variance, dex².

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if name == "rbf":
        base = RBFKernel(ard_num_dims=3)
    elif name in _MATERN:
        base = MaternKernel(nu=_MATERN[name], ard_num_dims=3)
    else:
        raise ValueError(f"unknown kernel {name!r}; there are {', '.join(KERNEL_NAMES)}, or give a GPyTorch kernel")
    kernel = ScaleKernel(base).double()
    kernel.base_kernel.lengthscale = torch.tensor([length_scale], dtype=torch.float64)
    kernel.outputscale = torch.tensor(amplitude, dtype=torch.float64) ** 2
    return kernel


class KernelFunction(torch.nn.Module):
    """A GPyTorch kernel as a pure function of its physical parameters.

    GPyTorch keeps parameters inside the kernel. Inference needs them outside, as entries of θ, so each one is listed
    as a `Hyperparameter` and put in through its constraint at every evaluation. This serves any kernel: sums, products,
    or one of the user's own.

    Parameters
    ----------
    kernel : gpytorch.kernels.Kernel
        Its present parameter values become the centres of the hyperparameters' priors.
    """

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self.kernel = kernel.double()
        self._parameters_and_constraints = list(self.kernel.named_parameters_and_constraints())
        self._shapes = [parameter.shape for _, parameter, _ in self._parameters_and_constraints]

    def hyperparameters(self) -> list[Hyperparameter]:
        """Every entry of every kernel parameter, in order, at its present value."""
        several_scales = sum("outputscale" in name for name, _, _ in self._parameters_and_constraints) > 1
        listed = []
        for full_name, raw, constraint in self._parameters_and_constraints:
            values = (raw if constraint is None else constraint.transform(raw)).detach().flatten().tolist()
            part = "".join(f"_{int(number) + 1}" for number in re.findall(r"kernels\.(\d+)\.", full_name))
            part = part if several_scales or "lengthscale" in full_name else ""
            for axis, value in zip(_axis_names(len(values)), values, strict=True):
                name, unit, value = _physical_name(full_name, value)
                listed.append(Hyperparameter(name + part + axis, unit, value, positive=constraint is not None))
        return listed

    def forward(self, values: list[torch.Tensor], points: torch.Tensor, others: torch.Tensor | None) -> torch.Tensor:
        """Covariance between two sets of points, or the variance at the first set where `others` is None.

        Parameters
        ----------
        values : list of scalar Tensor
            Physical values, in the order of `hyperparameters`.
        points : Tensor, shape (n, 3)
        others : Tensor, shape (m, 3), or None

        Returns
        -------
        Tensor, shape (n, m) or (n,), dex²
        """
        raw, position = {}, 0
        for (name, _, constraint), shape in zip(self._parameters_and_constraints, self._shapes, strict=True):
            entries = torch.stack(list(values[position : position + shape.numel()])).reshape(shape)
            position += shape.numel()
            if "outputscale" in name:
                entries = entries**2
            raw["kernel." + name] = entries if constraint is None else constraint.inverse_transform(entries)
        return torch.func.functional_call(self._evaluator, raw, (points, others))

    @property
    def _evaluator(self) -> _Evaluator:
        return _Evaluator(self.kernel)


class _Evaluator(torch.nn.Module):
    """Evaluates at once what GPyTorch would evaluate lazily, after the parameters have gone back."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, points: torch.Tensor, others: torch.Tensor | None) -> torch.Tensor:
        if others is None:
            return self.kernel(points, diag=True)
        with gpytorch.settings.lazily_evaluate_kernels(False):
            return self.kernel(points, others).to_dense()


def _axis_names(count: int) -> list[str]:
    if count == 1:
        return [""]
    return ["_" + axis for axis in AXES] if count == len(AXES) else [f"_{i + 1}" for i in range(count)]


def _physical_name(full_name: str, value: float) -> tuple[str, str, float]:
    """Name, unit and value as people know them: GPyTorch's output scale is the square of the amplitude."""
    name = full_name.rsplit(".", 1)[-1].removeprefix("raw_")
    if name == "lengthscale":
        return "length_scale", "pc", value
    if name == "outputscale":
        return "amplitude", "dex", value**0.5
    return name, "", value


def describe_kernel(kernel: Kernel) -> dict:
    """The structure of a kernel, without its parameters, as plain data; see `kernel_from_description`."""
    parts = list(getattr(kernel, "kernels", [])) or ([kernel.base_kernel] if hasattr(kernel, "base_kernel") else [])
    description: dict = {"class": type(kernel).__name__, "parts": [describe_kernel(part) for part in parts]}
    if not parts:
        description["options"] = {
            name: getattr(kernel, name) for name in ("ard_num_dims", "nu", "q") if hasattr(kernel, name)
        }
    if kernel.active_dims is not None:
        description.setdefault("options", {})["active_dims"] = kernel.active_dims.tolist()
    return description


def kernel_from_description(description: dict) -> Kernel:
    """Build a kernel of GPyTorch's own classes again; no class from elsewhere is ever loaded.

    Raises
    ------
    ValueError
        If the kernel is of a class that GPyTorch does not have.
    """
    name = description["class"]
    kernel_class = getattr(gpytorch.kernels, name, None)
    if not (isinstance(kernel_class, type) and issubclass(kernel_class, Kernel)):
        raise ValueError(f"the kernel class {name!r} is not one of GPyTorch's; give the kernel itself to load it")
    parts = [kernel_from_description(part) for part in description["parts"]]
    return kernel_class(*parts, **description.get("options", {})).double()
