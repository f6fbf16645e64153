"""`harness score`: images and a reference -> FID, Inception Score and KID in a JSON that says how they were made."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import FOLDER, cache_option, root_option, scale_device_option

if TYPE_CHECKING:
    from harness.metrics.extractors.base import Setup
    from harness.records.score_record import ScoreRecord


@click.command("score")
@click.option("--samples", type=FOLDER, help="npy, npz (`images` or `arr_0`) or a folder of PNGs.")
@click.option("--reference", help="The like, a data set's name or folder, or statistics (npz with mu and sigma).")
@click.option("--scorer", default="tf", show_default=True, help="tf | torch | clean.")
@click.option(
    "--weights",
    default="official",
    show_default=True,
    help="official | trunk | stand-in | FILE (.pb .tgz .pth .pt .npz).",
)
@click.option("--layer", type=int, default=2048, show_default=True, help="64 | 192 | 768 | 2048 channels.")
@click.option("--n", type=click.IntRange(2), help="Score the first N samples; default: all.")
@click.option("--n-real", type=click.IntRange(2), help="Use the first N reals (statistics: how many made them).")
@click.option("--splits", type=click.IntRange(1), default=10, show_default=True, help="Splits of the Inception Score.")
@click.option("--bias", is_flag=True, help="Inception Score's logits with softmax/biases.")
@click.option("--kid", is_flag=True, help="Kernel distance too; features are then kept in the cache.")
@click.option(
    "--clean-mode",
    default="clean",
    show_default=True,
    help="clean-fid's mode: clean | legacy_tensorflow (--scorer clean).",
)
@click.option(
    "--declare", multiple=True, metavar="KEY=VALUE", help="What a reference does not say itself, e.g. split=train."
)
@click.option("--allow-jpeg", is_flag=True, help="Score JPEG files, too; the record's caveats then say so.")
@click.option(
    "--run", "record", type=FOLDER, help="samples.json of the dump; default: beside it, if it is of these pixels."
)
@click.option("--protocol-name", help="Default: the scale's name, or `custom` for samples from elsewhere.")
@click.option("--out", type=FOLDER, help="Write the JSON there.")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON on stdout.")
@click.option("--batch", type=click.IntRange(1), default=50, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
@scale_device_option
@click.option(
    "--params",
    "params_file",
    type=FOLDER,
    help="A scale's params.yaml; its device is used where --device is not given.",
)
@cache_option
@root_option
@click.option("--self-test", "self_test", is_flag=True, help="Check the scorers against the known scores of CIFAR-10.")
def command(
    samples: Path | None,
    reference: str | None,
    scorer: str,
    weights: str,
    layer: int,
    n: int | None,
    n_real: int | None,
    splits: int,
    bias: bool,
    kid: bool,
    clean_mode: str,
    declare: tuple[str, ...],
    allow_jpeg: bool,
    record: Path | None,
    protocol_name: str | None,
    out: Path | None,
    as_json: bool,
    batch: int,
    threads: int,
    device: str | None,
    params_file: Path | None,
    cache: Path | None,
    root: Path | None,
    self_test: bool,
) -> None:
    """Score images against a reference.

    Every scorer reads the same uint8 images once. FID needs both sides; the Inception Score exists at layer 2048 of the
    tf and torch scorers.

    Example: harness score --samples fakes/ --reference cifar10 --scorer tf --n 10000 --json
    """
    import json

    import harness
    from harness.metrics.extractors.base import Setup
    from harness.paths import cache_of
    from harness.records import score_record

    device = device or ("cpu" if params_file is None else device_of(params_file, scorer))
    if self_test:
        place = cache or cache_of(root)
        _self_test(Setup(batch=batch, threads=threads, device=device, cache=place))
        return
    if samples is None or reference is None:
        raise click.UsageError("--samples and --reference are both needed (or --self-test).")
    declared = dict(_declaration(entry) for entry in declare)
    if out is not None:
        _check_out(out)
    result = harness.score(
        samples,
        reference,
        scorer=scorer,
        weights=weights,
        layer=layer,
        n=n,
        n_real=n_real,
        splits=splits,
        bias=bias,
        kid=kid,
        clean_mode=clean_mode,
        declared=declared,
        record=record,
        protocol_name=protocol_name,
        allow_jpeg=allow_jpeg,
        batch=batch,
        device=device,
        threads=threads,
        cache=cache,
        root=root,
    )
    if out is not None:
        score_record.write(out, result)
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2, sort_keys=True))
    else:
        click.echo(_summary(result))


def device_of(params_file: Path, scorer: str) -> str:
    """Return the device that a scale's setting means for a scorer: TensorFlow takes CUDA only where its build has it.

    Raises:
        HarnessError: see `experiments.load_params`.
    """
    from harness.config import experiments

    setting = experiments.load_params(params_file).device
    return "auto" if scorer == "tf" and setting != "cpu" else setting


def _check_out(out: Path) -> None:
    """Raise HarnessError unless a file can be written at `out`: a long pass must not end without its result."""
    from harness.errors import HarnessError

    if out.is_dir():
        raise HarnessError(f"--out {out}: is a folder; name a file.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise HarnessError(f"--out {out}: cannot be written there ({error.strerror or error}).") from None


def _self_test(setup: "Setup") -> None:
    from harness.errors import HarnessError
    from harness.metrics import self_test

    def report(part: self_test.Part) -> None:
        verdict = {True: "passed", False: "FAILED", None: "not run"}[part.passed]
        click.echo(f"{verdict:<8} {part.name}: {part.detail}")

    parts = self_test.run(setup, report)
    missing = [part.name for part in parts if not part.passed]
    if missing:
        raise HarnessError(f"self-test: {len(missing)} of {len(parts)} parts failed or could not run, see above.")


def _declaration(entry: str) -> tuple[str, object]:
    key, separator, value = entry.partition("=")
    if not separator:
        raise click.UsageError(f"--declare {entry}: expected KEY=VALUE.")
    return key, {"true": True, "false": False}.get(value.lower(), value)


def _summary(result: "ScoreRecord") -> str:
    names = {"fid": "FID", "is_mean": "IS", "is_std": "±", "kid": "KID"}
    values = {label: getattr(result.values, key) for key, label in names.items()}
    # z: rounding may make a distance slightly negative, and -0.0000 is no distance
    text = "  ".join(f"{label} {value:z.4f}" for label, value in values.items() if value is not None)
    protocol = result.protocol
    made = f"{protocol.n_fake} against {protocol.n_real or 'undeclared'}"
    return f"{text}  ({protocol.scorer}, {protocol.inception} Inception, layer {protocol.layer}, {made})"
