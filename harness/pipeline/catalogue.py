"""The catalogue as a table: what every model weighs, and what has been done with it here."""

from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from harness.config import experiments
from harness.files import read_json
from harness.networks import operations
from harness.paths import Checkout
from harness.records import train_record


def rows(names: Sequence[str] = (), checkout: Checkout | None = None) -> list[dict[str, Any]]:
    """One row per model and resolution of a checkout (default: the one around this folder), in its order.

    Raises:
        HarnessError: an unknown model name.
    """
    checkout = checkout or Checkout.find()
    models = experiments.load_models(checkout.root)
    for name in names:
        experiments.pick(name, models, "model")
    verified = read_json(checkout.verified) if checkout.verified.is_file() else {}
    done, tables = _done(checkout), _tables(checkout)
    out = []
    for name, model in models.items():
        if names and name not in names:
            continue
        for resolution in model.resolutions:
            generator, discriminator = (
                operations.count(role, {"model": name}, resolution, models) for role in ("generator", "discriminator")
            )
            out.append(
                {
                    "name": name,
                    "resolution": resolution,
                    "latent_dim": generator.latent_dim,
                    "generator_parameters": generator.parameters,
                    "discriminator_parameters": discriminator.parameters,
                    "generator_macs": generator.macs,
                    "discriminator_macs": discriminator.macs,
                    "tables": sorted(tables.get((name, resolution), ())),
                    "exact": verified.get(f"exact: {name}@{resolution}", {}).get("holds", False),
                    "trained": (name, resolution) in done["trained"],
                    "scored": (name, resolution) in done["scored"],
                    "source": model.source,
                }
            )
    return out


def _tables(checkout: Checkout) -> dict[tuple[str, int], set[str]]:
    """Return (model, pixels) -> tables of the ledger with a row that an experiment of the model is held against."""
    definitions, datasets = experiments.definitions(checkout.root), experiments.load_datasets(checkout.root)
    found: dict[tuple[str, int], set[str]] = {}
    for experiment in definitions.experiments.values():
        resolution = datasets[experiment.dataset]["resolution"]
        for network in (experiment.generator, experiment.discriminator):
            mine = found.setdefault((network["model"], resolution), set())
            mine |= {link.split("/")[0] for link in experiment.reported}
    return found


def _done(checkout: Checkout) -> dict[str, set[tuple[str, int]]]:
    """Models whose networks were trained, and scored, on real data under results/, with the options of the catalogue.

    One of other options, such as a width, is another network than the one whose parameters are listed.
    """
    found: dict[str, set[tuple[str, int]]] = {"trained": set(), "scored": set()}
    for path in checkout.train_records():
        record = train_record.read(path)
        if record.run.dataset.startswith("standin-") or record.nimg == 0:
            continue
        networks = record.run.generator, record.run.discriminator
        keys = {(network["model"], record.run.resolution) for network in networks if network.keys() == {"model"}}
        found["trained"] |= keys
        if any(path.parent.parent.glob("*/*/*.json")):
            found["scored"] |= keys
    return found


def table(found: list[dict[str, Any]]) -> str:
    """The rows as aligned text: parameters in millions, MACs in billions."""
    head = ("model", "px", "latent", "G params", "D params", "G MACs", "D MACs", "exact", "trained", "scored", "tables")
    lines = [
        (
            row["name"],
            row["resolution"],
            row["latent_dim"],
            f"{row['generator_parameters'] / 1e6:.2f} M",
            f"{row['discriminator_parameters'] / 1e6:.2f} M",
            f"{row['generator_macs'] / 1e9:.3f} G",
            f"{row['discriminator_macs'] / 1e9:.3f} G",
            *("yes" if row[key] else "-" for key in ("exact", "trained", "scored")),
            ", ".join(row["tables"]),
        )
        for row in found
    ]
    return tabulate(lines, head, tablefmt="plain", disable_numparse=True)
