"""The catalogue as a table: what every model weighs, and what has been done with it here."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from harness.config import experiments
from harness.files import read_json
from harness.networks import registry
from harness.paths import Checkout


def macs(network: nn.Module, inputs: torch.Tensor) -> int:
    """Multiply-accumulates of one forward pass on `inputs` (batch 1).

    Matrix products, attention products and convolutions; transposed convolutions count at their input's size;
    FIR filters (grouped convolutions) are left out, as in StyleGAN2's published figures. FLOPs are twice this.
    """

    def convolution(
        x: Sequence[int],
        weight: Sequence[int],
        bias: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        transposed: bool,
        output_padding: Any,
        groups: int,
        *rest: Any,
        out_shape: Sequence[int] | None = None,
        **_: Any,
    ) -> int:
        if groups > 1:
            return 0
        assert out_shape is not None, "the counter passes the output's shape"
        return int(conv_flop_count(list(x), list(weight), list(out_shape), transposed=transposed))

    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution: convolution})
    with counter:
        network.requires_grad_(False)(inputs)
    return counter.get_total_flops() // 2


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
    done = _done(checkout)
    out = []
    for name, model in models.items():
        if names and name not in names:
            continue
        for resolution in model.resolutions:
            with torch.device("meta"):
                generator = registry.build("generator", {"model": name}, resolution, models).eval()
                discriminator = registry.build("discriminator", {"model": name}, resolution, models).eval()
                latent = torch.empty((1, generator.latent_dim))  # type: ignore[arg-type]
                image = torch.empty(1, 3, resolution, resolution)
                cost = macs(generator, latent), macs(discriminator, image)
            out.append(
                {
                    "name": name,
                    "resolution": resolution,
                    "latent_dim": generator.latent_dim,
                    "generator_parameters": registry.parameters(generator),
                    "discriminator_parameters": registry.parameters(discriminator),
                    "generator_macs": cost[0],
                    "discriminator_macs": cost[1],
                    "tables": list(model.tables),
                    "exact": verified.get(f"exact: {name}@{resolution}", {}).get("holds", False),
                    "trained": (name, resolution) in done["trained"],
                    "scored": (name, resolution) in done["scored"],
                    "source": model.source,
                }
            )
    return out


def _done(checkout: Checkout) -> dict[str, set[tuple[str, int]]]:
    """Models with a training, and with a score, on real data under results/."""
    found: dict[str, set[tuple[str, int]]] = {"trained": set(), "scored": set()}
    for path in checkout.train_records():
        record = read_json(path)
        run = record["run"]
        if run["dataset"].startswith("standin-") or record["nimg"] == 0:
            continue
        key = (run["generator"]["model"], run["resolution"])
        found["trained"].add(key)
        if any(path.parent.parent.glob("*/tf.json")):
            found["scored"].add(key)
    return found


def table(found: list[dict[str, Any]]) -> str:
    """The rows as aligned text: parameters in millions, MACs in billions."""
    head = ("model", "px", "latent", "G params", "D params", "G MACs", "D MACs", "tables", "exact", "trained", "scored")
    lines = [head]
    for row in found:
        lines.append(
            (
                row["name"],
                str(row["resolution"]),
                str(row["latent_dim"]),
                f"{row['generator_parameters'] / 1e6:.2f} M",
                f"{row['discriminator_parameters'] / 1e6:.2f} M",
                f"{row['generator_macs'] / 1e9:.3f} G",
                f"{row['discriminator_macs'] / 1e9:.3f} G",
                ",".join(row["tables"]),
                *("yes" if row[key] else "-" for key in ("exact", "trained", "scored")),
            )
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
