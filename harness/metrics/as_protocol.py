"""What `harness score` computes: the user's options, or those of a named protocol of `experiments/protocols`."""

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config import protocols
from harness.config.experiments import pick
from harness.data.packed import is_packed, read_card
from harness.errors import HarnessError
from harness.metrics.find import is_data_set
from harness.metrics.inception.weights import NAMES
from harness.metrics.reference_statistics import content_in, count, is_statistics
from harness.metrics.request import Request
from harness.paths import Checkout


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

    A protocol names its references by the data set of the samples: `cifar10` may stand for `cifar10-test`. A path is
    taken as it is, and the protocol's count with it: a packed data set must be one that the protocol holds samples
    against, and of anything else a caveat says that nobody knows it. Fewer samples than the protocol's are scored with
    a caveat.

    Raises:
        HarnessError: no such protocol, one that says nothing of the data set or is not served by the scorer, or
            something that contradicts it: an option, a declaration, or the reference.
    """
    if protocol is None:
        if options.protocol_name is not None and options.protocol_name in _names(root):
            raise HarnessError(
                f"--protocol-name {options.protocol_name}: is a named protocol of this checkout, and only "
                f"--protocol {options.protocol_name} scores by it; take another name."
            )
        said = {name: value for name, value in dataclasses.asdict(options).items() if value is not None}
        return _filled(base, {**dict.fromkeys(dataclasses.asdict(options)), **DEFAULTS, **said}, kid)
    known: protocols.Protocol = pick(protocol, protocols.load(root), "protocol")
    scorer = options.scorer or next(iter(known.scorers))
    planned, reference, remarks = _planned(known, base.reference, scorer, root)
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
    of_statistics = is_statistics(Path(reference))
    free = {"scorer", *(["weights"] if own_file else [])}
    if of_statistics and planned.n_real is None:
        free |= {"n_real", "declare n_real"}  # says how many are `all`
    declared = {f"declare {name}": base.declared.get(name) for name in ("n_real", "quantisation")}
    of_plan = of_protocol | {"declare n_real": planned.n_real, "declare quantisation": planned.quantisation}
    for name, value in (dataclasses.asdict(options) | declared).items():
        if value is not None and name not in free and value != of_plan[name]:
            raise HarnessError(
                f"--{name if name in declared else name.replace('_', '-')} {value}: protocol '{protocol}' says "
                f"{'all' if of_plan[name] is None else of_plan[name]}; leave one out."
            )
    if own_file:
        of_protocol["weights"] = options.weights
    if of_statistics and count(Path(reference)) is None:
        of_protocol["n_real"] = options.n_real  # the user's word
    filled = _filled(base, {"scorer": scorer, **of_protocol}, kid or planned.kid)
    return dataclasses.replace(
        filled,
        reference=reference,
        is_fewer_allowed=True,
        planned=planned,
        protocol_version=planned.version,
        remarks=remarks,
    )


def _names(root: Path | None) -> Collection[str]:
    """Return the names of the checkout's protocols; none outside of a checkout."""
    try:
        Checkout.find(root)
    except HarnessError:
        return ()
    return protocols.load(root)


def _planned(
    known: protocols.Protocol, reference: str, scorer: str, root: Path | None
) -> tuple[protocols.Planned, str, tuple[str, ...]]:
    """Return what a protocol computes against a reference, the reference to open, and caveats.

    Raises:
        HarnessError: the protocol says nothing of the data set, or holds samples against another one.
    """
    path = Path(reference)
    if is_data_set(reference, root) or not path.exists():
        planned = protocols.plan(known, reference, scorer)
        return planned, planned.data, ()
    name, remarks = _data_set_at(path), list[str]()
    line = _line_of_unknown(known, path) if name is None else _line_of(known, name, path)
    if name is None:
        remarks.append(f"reference: no data set that is known; that protocol {known.name} means it is your word")
    elif is_statistics(path) and line.n_real == "all":
        remarks.append(f"reference: protocol {known.name} takes all images of {name}; that these are all is your word")
    one = dataclasses.replace(known, references={reference: dataclasses.replace(line, data=None)})
    return protocols.plan(one, reference, scorer), reference, tuple(remarks)


def _data_set_at(path: Path) -> str | None:
    """Return the name of the data set that a path's card, or statistics of our making, say they are of."""
    if is_statistics(path):
        name = content_in(path).get("name")
    else:
        name = read_card(path).get("name") if path.is_dir() and is_packed(path) else None
    return name if isinstance(name, str) else None


def _line_of_unknown(known: protocols.Protocol, path: Path) -> protocols.Reference:
    lines = known.references
    if protocols.ANY in lines:
        return lines[protocols.ANY]
    if len({line.n_real for line in lines.values()}) == 1:
        return next(iter(lines.values()))
    raise HarnessError(
        f"{path}: protocol '{known.name}' takes another number of images of each data set, and this is none that is "
        f"known; give one by its name ({', '.join(lines)}), or leave --protocol out."
    )


def _line_of(known: protocols.Protocol, name: str, path: Path) -> protocols.Reference:
    found = known.reference(name)
    if found is not None and found.data == name:
        return found
    for line in known.references.values():
        if line.data == name:
            return line
    wanted = f"holds samples against {found.data}" if found is not None else "says nothing of it"
    raise HarnessError(
        f"{path}: is data set '{name}', protocol '{known.name}' {wanted}; name a data set of the protocol, or leave "
        "--protocol out."
    )


def _filled(base: Request, chosen: dict[str, Any], kid: bool) -> Request:
    setup = dataclasses.replace(base.setup, weights=chosen["weights"], layer=chosen["layer"])
    same = {name: chosen[name] for name in ("scorer", "n", "n_real", "resizer", "protocol_name")}
    return dataclasses.replace(base, setup=setup, is_splits=chosen["splits"], is_bias=chosen["bias"], kid=kid, **same)
