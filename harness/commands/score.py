"""`harness score`: images and a reference -> FID, Inception Score and KID in a JSON that says how they were made."""

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import FOLDER, cache_option, device_option, root_option

if TYPE_CHECKING:
    from harness.metrics.extractors.base import Setup
    from harness.records.score_record import ScoreRecord


@click.command("score")
@click.argument("inputs", nargs=-1, metavar="[SAMPLES... REFERENCE]")
@click.option(
    "--samples",
    multiple=True,
    help="Folder of PNGs (with its subfolders), npy, npz (`images` or `arr_0`), or a data set's name; repeatable with "
    "--against, one a seed.",
)
@click.option("--reference", help="The like, or statistics (npz with mu and sigma).")
@click.option(
    "--against",
    metavar="ROW",
    help="Hold the score against a row of the ledger, `table/model/variant`, all rows below such a prefix, or all of a "
    "data set.",
)
@click.option(
    "--as",
    "kind",
    type=click.Choice(["released", "retrained"]),
    help="What the samples are: the authors' own samples or weights, or trained again; without it there is no verdict.",
)
@click.option(
    "--protocol",
    metavar="NAME",
    help="Score in a named way (`harness protocols`), which decides the options from --scorer to --bias.",
)
@click.option("--scorer", help="tf | torch | clean; default: the protocol's first, else tf.")
@click.option("--weights", help="official (default) | trunk | stand-in | FILE (.pb .tgz .pth .pt .npz).")
@click.option("--layer", type=int, help="64 | 192 | 768 | 2048 (default) channels.")
@click.option("--n", type=click.IntRange(2), help="Score the first N samples; default: all.")
@click.option("--n-real", type=click.IntRange(2), help="Use the first N reals (statistics: how many made them).")
@click.option("--splits", type=click.IntRange(1), help="Splits of the Inception Score; default: 10.")
@click.option("--bias", is_flag=True, default=None, help="Inception Score's logits with softmax/biases.")
@click.option("--kid", is_flag=True, help="Kernel distance too; features are then kept in the cache.")
@click.option("--extras", is_flag=True, help="FID at infinitely many samples, precision and recall; features are kept.")
@click.option(
    "--bootstrap",
    type=click.IntRange(20),
    metavar="DRAWS",
    help="FID's interval by a bootstrap over images in place of the jackknife over blocks; features are kept.",
)
@click.option("--resizer", help="Another than the scorer's own: tf1-bilinear | torch-bilinear | pil-bicubic.")
@click.option(
    "--declare",
    multiple=True,
    metavar="KEY=VALUE",
    help="What samples or reference do not say themselves, e.g. ema=true, split=train; the record marks it.",
)
@click.option("--allow-jpeg", is_flag=True, help="Score JPEG files, too; the record's caveats then say so.")
@click.option(
    "--run", "record", type=FOLDER, help="samples.json of the dump; default: beside it, or where its scale keeps it."
)
@click.option("--protocol-name", help="Default: custom; the names of protocols are not taken.")
@click.option("--out", type=FOLDER, help="Write the JSON there.")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON on stdout.")
@click.option("--batch", type=click.IntRange(1), default=50, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
@device_option
@cache_option
@root_option
@click.option("--self-test", "self_test", is_flag=True, help="Check the scorers against the known scores of CIFAR-10.")
def command(
    inputs: tuple[str, ...],
    samples: tuple[str, ...],
    reference: str | None,
    against: str | None,
    kind: str | None,
    protocol: str | None,
    scorer: str | None,
    weights: str | None,
    layer: int | None,
    n: int | None,
    n_real: int | None,
    splits: int | None,
    bias: bool | None,
    kid: bool,
    extras: bool,
    bootstrap: int | None,
    resizer: str | None,
    declare: tuple[str, ...],
    allow_jpeg: bool,
    record: Path | None,
    protocol_name: str | None,
    out: Path | None,
    as_json: bool,
    batch: int,
    threads: int,
    device: str,
    cache: Path | None,
    root: Path | None,
    self_test: bool,
) -> None:
    """Score images against a reference.

    SAMPLES and REFERENCE may stand first, without --samples and --reference. FID needs both; the Inception Score exists
    at layer 2048 of the tf and torch scorers.

    With --against the score is held against reported ones, field by field, and the exit code is that of `harness
    check`: 0 pass, 1 fail, 2 nothing comparable.

    Example: harness score fakes/ cifar10 --against T4-model-scaling/TransGAN-S --as released --declare ema=true
    """
    import json

    import harness
    from harness.metrics.extractors.base import Setup
    from harness.paths import cache_of
    from harness.records import score_record

    if self_test:
        place = cache or cache_of(root)
        _self_test(Setup(batch=batch, threads=threads, device=device, cache=place), root)
        return
    dumps, reference = _sides(inputs, samples, reference)
    if against is None and (kind is not None or len(dumps) > 1):
        raise click.UsageError("--as and several SAMPLES need --against ROW.")
    if len(dumps) > 1 and (out is not None or record is not None):
        raise click.UsageError("--out and --run are of one dump; several SAMPLES are given.")
    if against is not None:
        _check_row(against, root)
    declared = _declarations(declare)
    if out is not None:
        _check_out(out)
    found = [
        harness.score(
            dump,
            reference,
            protocol=protocol,
            scorer=scorer,
            weights=weights,
            layer=layer,
            n=n,
            n_real=n_real,
            splits=splits,
            bias=bias,
            kid=kid,
            extras=extras,
            bootstrap=bootstrap or 0,
            resizer=resizer,
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
        for dump in dumps
    ]
    answer = None
    if against is not None:
        from harness.comparison import against as comparison
        from harness.paths import Checkout

        found, answer = comparison.judge(list(zip(found, dumps, strict=True)), against, kind, Checkout.find(root))
    if out is not None:
        score_record.write(out, found[0])
    if answer is None:
        click.echo(json.dumps(found[0].to_json(), indent=2, sort_keys=True) if as_json else _summary(found[0]))
        return
    for warning in answer.warnings:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        rows = [judged.to_json() for judged in answer.rows]
        value = {"scores": [result.to_json() for result in found], "rows": rows, "exit_code": answer.exit_code}
        click.echo(json.dumps(value, indent=2, sort_keys=True))
    else:
        summaries = [f"{dump}: {_summary(result)}" for dump, result in zip(dumps, found, strict=True)]
        click.echo("\n".join([*summaries, "", comparison.text(answer)]))
    for hint in answer.hints:
        click.echo(hint, err=True)
    sys.exit(answer.exit_code)


def _sides(inputs: tuple[str, ...], samples: tuple[str, ...], reference: str | None) -> tuple[tuple[str, ...], str]:
    """Return the dumps and the reference, from arguments and options; each side is named in one of both ways."""
    if reference is None and inputs:
        inputs, reference = inputs[:-1], inputs[-1]
    if samples and inputs:
        raise click.UsageError(f"samples are named twice: {' '.join(inputs)} and --samples {' '.join(samples)}.")
    dumps = samples or inputs
    if not dumps or reference is None:
        raise click.UsageError("SAMPLES and REFERENCE are both needed (or --self-test).")
    return dumps, reference


def _check_row(name: str, root: Path | None) -> None:
    """Raise BadParameter, with the nearest names, unless `name` stands for rows of the ledger; before a long pass.

    Raises:
        HarnessError: the ledger or the tolerances cannot be read.
    """
    from harness.comparison import foreign, reported, verdicts
    from harness.errors import HarnessError
    from harness.paths import Checkout

    checkout = Checkout.find(root)
    verdicts.load(checkout.tolerances)
    ledger = reported.load(checkout.reported)
    try:
        foreign.find_rows(ledger, name)
    except HarnessError as error:
        raise click.BadParameter(str(error), param_hint="--against") from None


def _check_out(out: Path) -> None:
    """Raise HarnessError unless a file can be written at `out`: a long pass must not end without its result.

    Whatever is there and is no score is left alone: samples, a reference, a record of a dump.
    """
    from harness.errors import HarnessError

    if out.is_dir():
        raise HarnessError(f"--out {out}: is a folder; name a file.")
    if out.exists() and not _is_score(out):
        raise HarnessError(f"--out {out}: is there and no score; name another file, or delete it.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise HarnessError(f"--out {out}: cannot be written there ({error.strerror or error}).") from None


def _is_score(path: Path) -> bool:
    """Return whether a file is an earlier score, of whatever version, or empty."""
    import json

    try:
        if not path.is_file() or path.stat().st_size > 1 << 20:  # bytes; a record has about 4,000
            return False
        value = json.loads(path.read_bytes() or b'{"protocol": "", "values": ""}')
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(value, dict) and {"protocol", "values"} <= value.keys()


def _self_test(setup: "Setup", root: Path | None) -> None:
    from harness.errors import HarnessError
    from harness.metrics import self_test
    from harness.paths import Checkout

    try:
        out = Checkout.find(root).self_test
    except HarnessError:
        out = None  # outside a checkout there is no table that it belongs to

    def report(part: self_test.Part) -> None:
        verdict = {True: "passed", False: "FAILED", None: "not run"}[part.passed]
        click.echo(f"{verdict:<8} {part.name}: {part.detail}")

    parts = self_test.run(setup, report, out, root)
    missing = [part.name for part in parts if not part.passed]
    if missing:
        raise HarnessError(f"self-test: {len(missing)} of {len(parts)} parts failed or could not run, see above.")


def _declarations(entries: tuple[str, ...]) -> dict[str, object]:
    """Return what --declare says, by key: truth, counts and text, as `request.DECLARED` has their types.

    Raises:
        UsageError: no KEY=VALUE, or a key that is given twice.
    """
    from harness.metrics.request import DECLARED

    found: dict[str, object] = {}
    for entry in entries:
        key, separator, value = entry.partition("=")
        if not separator:
            raise click.UsageError(f"--declare {entry}: expected KEY=VALUE.")
        if key in found:
            raise click.UsageError(f"--declare {key}: is given twice; say it once.")
        if DECLARED.get(key) is int and value.isascii() and value.isdecimal():
            found[key] = int(value)
        elif DECLARED.get(key) is bool:
            found[key] = {"true": True, "false": False}.get(value.lower(), value)
        else:
            found[key] = value
    return found


def _summary(result: "ScoreRecord") -> str:
    from harness.records.score_record import METRICS

    values, intervals = result.values, result.values.intervals()
    spread = {"is": "" if values.is_std is None else f" ± {values.is_std:.4f}"}
    text = []
    for metric, key in METRICS.items():
        if (value := getattr(values, key)) is None:
            continue
        # z: rounding may make a distance slightly negative, and -0.0000 is no distance
        text.append(f"{metric.upper()} {value:z.4f}{spread.get(metric, '')}")
        if metric in intervals:
            text[-1] += f" [{intervals[metric][0]:z.4f}, {intervals[metric][1]:z.4f}]"
    if values.fid_infinity is not None:
        text.append(f"FID∞ {values.fid_infinity:.4f}")
    if values.inception_precision is not None:
        text.append(
            f"precision {values.inception_precision:.3f}, recall {values.inception_recall:.3f} (Inception, k = 3)"
        )
    protocol = result.protocol
    made = f"{protocol.n_fake} against {protocol.n_real or 'undeclared'}"
    how = f"{protocol.scorer}, {protocol.inception} Inception, layer {protocol.layer}, {made}"
    by = f"; [95 % by {values.interval_by}]" if intervals else ""
    return f"{'  '.join(text)}  ({how}; protocol {protocol.name}{by})"
