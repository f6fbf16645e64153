"""A released checkpoint in place of an experiment's training: a scale of its own, from samples to verdicts."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

from harness.comparison import named, reported
from harness.config import experiments, reader, schema, yaml_file
from harness.config.experiments import pick
from harness.errors import HarnessError
from harness.files import copy, write_text
from harness.networks import registry
from harness.networks.generator_file import load_strictly, open_weights
from harness.paths import Checkout
from harness.pipeline import suite
from harness.training.import_checkpoint import import_transgan

SCALE, PATTERN = "imported", "checkpoints"  # the scale, and the suite whose scoring it takes over
SUFFIX = "-imported"  # of an experiment that stands for another one, with released weights in place of a training


def import_as(checkpoint: Path, name: str, checkout: Checkout) -> tuple[dict[str, str], Path]:
    """Convert a TransGAN generator to the released weights of experiment `name` and plan it in the scale `imported`.

    An experiment that is trained gets a twin, NAME-imported, of the same networks, data and reported rows, in
    `experiments/tables/imported.yaml`. The scale's suite is written, or gets one row more, and its files are generated.

    Returns:
        What `import_transgan` does, and the scale's folder.

    Raises:
        HarnessError: no such experiment or checkpoint; the weights are not of its network; a checkout without the suite
            `checkpoints`. Nothing is written then.
    """
    definitions = experiments.definitions(checkout.root)
    spec: schema.Experiment = pick(name, definitions.experiments, "experiment")
    pattern = reader.read_yaml(suite.suite_file(checkout, PATTERN))
    twin = None if spec.checkpoint else _twin(name, spec, checkout)
    planned = name if twin is None else f"{name}{SUFFIX}"
    file = checkout.released(spec.checkpoint or f"{planned}.safetensors")
    with tempfile.TemporaryDirectory() as temporary:
        converted = Path(temporary) / "generator.safetensors"
        made = import_transgan(checkpoint, converted)
        resolution = int(definitions.datasets[spec.dataset]["resolution"])
        generator = registry.build("generator", spec.generator, resolution, definitions.models)
        load_strictly(generator, open_weights(converted).tensors, f"{checkpoint}, for experiment {name}")
        copy(converted, file)
    if twin is not None:
        path = checkout.experiments / "tables" / f"{SCALE}.yaml"
        entries = reader.read_yaml(path) if path.is_file() else {}
        _write(path, f"Released weights in place of trainings; made by `harness import --as {name}`.", entries | twin)
    path = suite.suite_file(checkout, SCALE)
    own = reader.read_yaml(path) if path.is_file() else pattern | {"about": "Imported checkpoints", "tables": {}}
    scored = named.of_experiment(reported.load(checkout.reported), spec)
    own["tables"] = reader.merge(own["tables"], {SCALE: {planned: {"protocols": scored} if scored else {}}})
    _write(path, f"Scale `{SCALE}`: checkpoints that `harness import --as` took; scored as {PATTERN} is.", own)
    written = suite.write([suite.generate(checkout, SCALE)])
    return made | {"experiment": planned, "file": str(file)}, written[0].parent


def _twin(name: str, spec: schema.Experiment, checkout: Checkout) -> dict[str, Any]:
    """Return the definition of an experiment that takes released weights where `spec` trains."""
    recipes = reported.load(checkout.reported).aids.released_weights
    if not recipes:
        raise HarnessError(f"{checkout.reported}: protocols.yaml names no recipe of `released_weights`.")
    kept = {key: value for key, value in dataclasses.asdict(spec).items() if key in ("dataset", "reported")}
    twin = kept | {"generator": dict(spec.generator), "discriminator": dict(spec.discriminator), "recipe": recipes[0]}
    twin |= {"reported": list(spec.reported), "checkpoint": f"{name}{SUFFIX}.safetensors"}
    return {f"{name}{SUFFIX}": twin | {"note": f"released weights in place of the training of {name}"}}


def _write(path: Path, heading: str, value: dict[str, Any]) -> None:
    write_text(path, f"# {heading}\n{yaml_file.text(value)}")
