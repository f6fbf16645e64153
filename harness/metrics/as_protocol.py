"""What `harness score` computes: the user's options, or those of a named protocol of `experiments/protocols`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config import protocols
from harness.config.experiments import pick
from harness.errors import HarnessError
from harness.metrics.inception.weights import NAMES
from harness.metrics.request import Request


@dataclass(frozen=True)
class Options:
    """What the user asked for; None: not said. Names are those of `harness.score`."""

    scorer: str | None = None
    weights: str | None = None
    layer: int | None = None
    n: int | None = None
    n_real: int | None = None
    splits: int | None = None
    bias: bool | None = None
    resizer: str | None = None
    protocol_name: str | None = None


DEFAULTS = {"scorer": "tf", "weights": "official", "layer": 2048, "splits": 10, "bias": False}  # without a protocol


def request(
    base: Request, options: Options, protocol: str | None, kid: bool = False, root: Path | None = None
) -> Request:
    """Return a request with its settings: those of the protocol, or the options over `DEFAULTS`.

    A protocol names its references by the data set of the samples: `cifar10` may stand for `cifar10-test`. A reference
    that is a path is taken as it is, and whole. Fewer samples than the protocol's are scored with a caveat.

    Raises:
        HarnessError: no such protocol, one that says nothing of the data set or is not served by the scorer, or an
            option that contradicts it.
    """
    if protocol is None:
        said = {name: value for name, value in dataclasses.asdict(options).items() if value is not None}
        return _filled(base, {**dict.fromkeys(dataclasses.asdict(options)), **DEFAULTS, **said}, kid)
    known: protocols.Protocol = pick(protocol, protocols.load(root), "protocol")
    scorer = options.scorer or next(iter(known.scorers))
    given = Path(base.reference).exists()
    references = dict(known.references)
    if given:
        references[base.reference] = protocols.Reference("all")
    planned = protocols.plan(dataclasses.replace(known, references=references), base.reference, scorer)
    of_protocol: dict[str, Any] = {
        "weights": planned.inception,
        "layer": planned.layer,
        "n": planned.n_fake,
        "n_real": planned.n_real,
        "splits": planned.is_splits,
        "bias": planned.is_bias,
        "resizer": planned.resizer,
        "protocol_name": planned.protocol,
    }
    own_file = options.weights is not None and options.weights not in NAMES  # its content says what it is
    for name, value in dataclasses.asdict(options).items():
        if value is None or name == "scorer" or (name == "weights" and own_file) or (name == "n_real" and given):
            continue
        if value != of_protocol[name]:
            raise HarnessError(
                f"--{name.replace('_', '-')} {value}: protocol '{protocol}' says {of_protocol[name]}; leave one out."
            )
    if own_file:
        of_protocol["weights"] = options.weights
    if given:
        of_protocol["n_real"] = options.n_real
    filled = _filled(base, {"scorer": scorer, **of_protocol}, kid or planned.kid)
    return dataclasses.replace(filled, reference=planned.data, protocol_version=planned.version, is_fewer_allowed=True)


def _filled(base: Request, chosen: dict[str, Any], kid: bool) -> Request:
    setup = dataclasses.replace(base.setup, weights=chosen["weights"], layer=chosen["layer"])
    same = {name: chosen[name] for name in ("scorer", "n", "n_real", "resizer", "protocol_name")}
    return dataclasses.replace(base, setup=setup, is_splits=chosen["splits"], is_bias=chosen["bias"], kid=kid, **same)
