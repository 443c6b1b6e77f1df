"""What a catalogue's extinctions are and where they come from."""

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from gpdust.catalogue.request import Request
from gpdust.catalogue.writers import FITS_KEYS
from gpdust.errors import CatalogueError

MEASURED = ("distance", "parallax")


@dataclass(frozen=True)
class Label:
    """The words that travel along with the numbers of a catalogue.

    Attributes
    ----------
    band : str
        Wavelength or passband of the extinction, such as "547 nm".
    quantity : str
        Its symbol, such as "A0" or "E(B-V)".
    reference : str
        Where the catalogue was published.
    source : str
        The file it was read from.
    measured : {"distance", "parallax"}
        What the distances and their errors were made of, which is what has errors that are simple.
    """

    band: str = ""
    quantity: str = "A"
    reference: str = ""
    source: str = ""
    measured: str = "distance"

    @classmethod
    def of(
        cls, request: Request, given: Iterable[str | None], meta: Mapping, source: str, measured: str = "distance"
    ) -> "Label":
        """Settle band, quantity and reference: the caller's (`given`), else the preset's, else the file's.

        Distances were made of what the file says where it was written by gpdust and the columns are its own.
        """
        words = _from_meta(meta)
        own = not request.preset and not {"distance", "parallax"} & request.columns.keys()
        if not own or words.get("measured") not in MEASURED:
            words["measured"] = measured
        if request.preset:
            words["reference"] = request.preset.reference
            if "extinction" not in request.columns:  # the caller's own column need not be what the preset describes
                words |= {"band": request.preset.band, "quantity": request.preset.quantity}
        called = zip(("band", "quantity", "reference"), given, strict=True)
        words |= {name: word for name, word in called if word is not None}
        return cls(**words, source=source)

    @classmethod
    def merge(cls, labels: Iterable["Label"]) -> "Label":
        """Give the label of several catalogues as one; raise CatalogueError unless they measure the same thing."""
        labels = list(labels)
        measured = list(dict.fromkeys(f"{label.quantity} in band {label.band!r}" for label in labels))
        if len(measured) > 1:
            raise CatalogueError(f"catalogues of different extinctions can't be joined: {' and '.join(measured)}")
        if len({label.measured for label in labels}) > 1:
            raise CatalogueError(
                "catalogues of distances and of parallaxes can't be joined: their errors differ in kind"
            )
        references, sources = (
            "; ".join(dict.fromkeys(getattr(label, name) for label in labels if getattr(label, name)))
            for name in ("reference", "source")
        )
        return cls(labels[0].band, labels[0].quantity, references, sources, labels[0].measured)

    def as_meta(self) -> dict[str, str]:
        """Return what is written into files (the file's own path is not)."""
        words = {"band": self.band, "quantity": self.quantity, "reference": self.reference}
        return words | {"measured": self.measured} if self.measured != MEASURED[0] else words


def _from_meta(meta: Mapping) -> dict[str, str]:
    found = {str(key).lower(): value for key, value in meta.items()}
    names = [field.name for field in fields(Label) if field.name != "source"]
    words = {name: found.get(name, found.get(FITS_KEYS.get(name, name).lower())) for name in names}
    return {name: html.unescape(word) for name, word in words.items() if isinstance(word, str)}
