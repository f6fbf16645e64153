"""Named ways of scoring (`experiments/protocols/*.yaml`), read and resolved into what one scorer computes."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from harness.config import reader, schema
from harness.config.experiments import Scale, merged, pick
from harness.config.ranges import Count, Name, Several, ShellWord
from harness.config.schema import Scorer
from harness.errors import HarnessError, nearest
from harness.paths import Checkout, dump_name, run_name

VARIANTS: dict[str, schema.Variant] = {  # quantisation of the samples -> file of a dump that has them so
    "uint8, rounded": "rounded",
    "uint8, truncated": "truncated",
    "uint8, min-max stretched": "min-max",
    "float": "float",
}
Quantisation = Literal["uint8, rounded", "uint8, truncated", "uint8, min-max stretched", "float"]
RESIZERS = {  # scorer -> the resizers that it can stand behind, its own first; see `metrics.extractors.resize`
    "tf": ("tf1-bilinear",),
    "torch": ("tf1-bilinear", "torch-bilinear", "pil-bicubic"),
    "clean": ("clean-bicubic", "tf1-bilinear"),
}
SOURCED = (  # fields that name a source, or say why a value stands for one that no source states
    "scorers",
    "n_fake",
    "references",
    "inception",
    "layer",
    "quantisation",
    "is_splits",
    "is_bias",
    "kid",
)
CHOOSER = "torch"  # looks for the best snapshot: the TF scorer's numbers, on a GPU where there is one
EVERY = "every"  # key of `sources` that stands for all fields without an entry of their own
ANY = "any"  # key of `references` for a data set without a line of its own


@dataclass(frozen=True)
class CountOrAll:
    """A count from 2, or `all`."""

    def problem(self, value: Any) -> str | None:
        """Say what is wrong with a value; None if nothing is."""
        fits = value == "all" or (type(value) is int and value >= 2)
        return None if fits else "must be `all` or a count from 2"


@dataclass(frozen=True)
class Reference:
    """The images that samples are held against: the first `n_real` of the packed data set `data`.

    Without `data`, those that the model was trained on.
    """

    n_real: Annotated[Any, CountOrAll()]
    data: Name | None = None


@dataclass(frozen=True)
class Protocol:
    """A named way of scoring. `scorers`: those that can serve it, each with the resizer that it uses then."""

    name: Name
    version: Count
    about: str
    scorers: dict[Scorer, str]
    n_fake: Several
    references: dict[Name, Reference]  # by data set of the samples
    inception: ShellWord  # official | trunk | stand-in | a file
    layer: Literal[64, 192, 768, 2048]
    quantisation: Quantisation
    is_splits: Count
    is_bias: bool
    sources: dict[str, str]
    kid: tuple[Scorer, ...] = ()  # scorers that compute KID, too
    presumed: dict[str, str] = field(default_factory=dict)

    def source(self, name: str) -> tuple[str, str]:
        """Return ("stated" or "presumed", the source or the reason) of one of the fields of `SOURCED`."""
        if name in self.presumed:
            return "presumed", self.presumed[name]
        return "stated", self.sources.get(name) or self.sources[EVERY]

    def reference(self, dataset: str) -> Reference | None:
        """Return what samples of a data set are held against; None if this protocol does not say."""
        found = self.references.get(dataset) or self.references.get(ANY)
        return dataclasses.replace(found, data=found.data or dataset) if found else None


@dataclass(frozen=True)
class Planned:
    """One score, planned: everything of a protocol that decides it. `n_real` None: every image of `data`."""

    protocol: str
    version: int
    scorer: str
    resizer: str
    data: str
    n_real: int | None
    n_fake: int
    inception: str
    layer: int
    quantisation: str
    is_splits: int
    is_bias: bool
    kid: bool

    @property
    def stamp(self) -> str:
        """Version and digest of all of it: what a stage depends on."""
        return f"{self.version}-{reader.digest(self)[:8]}"


def plan(protocol: Protocol, dataset: str, scorer: str) -> Planned:
    """Return what `scorer` computes of samples of `dataset` under a protocol.

    Raises:
        HarnessError: the protocol says nothing of the data set, or another scorer must serve it.
    """
    where = f"protocol '{protocol.name}'"
    reference = protocol.reference(dataset)
    if reference is None or reference.data is None:
        raise HarnessError(f"{where}: says nothing of data set '{dataset}'.{nearest(dataset, protocol.references)}")
    resizer = pick(scorer, dict[str, str](**protocol.scorers), f"scorer of {where}:")
    return Planned(
        protocol=protocol.name,
        version=protocol.version,
        scorer=scorer,
        resizer=resizer,
        data=reference.data,
        n_real=None if reference.n_real == "all" else reference.n_real,
        n_fake=protocol.n_fake,
        inception=protocol.inception,
        layer=protocol.layer,
        quantisation=protocol.quantisation,
        is_splits=protocol.is_splits,
        is_bias=protocol.is_bias,
        kid=scorer in protocol.kid,
    )


def options(planned: Planned) -> dict[str, Any]:
    """Return the arguments of `metrics.request.Request` that a planned score decides, those of its setup excepted."""
    return {
        "scorer": planned.scorer,
        "resizer": planned.resizer,
        "n": planned.n_fake,
        "n_real": planned.n_real,
        "is_splits": planned.is_splits,
        "is_bias": planned.is_bias,
        "kid": planned.kid,
        "protocol_name": planned.protocol,
        "protocol_version": planned.version,
    }


def of_dump(scale: Scale, experiment: str, seed: int, snapshot: str) -> dict[str, list[Planned]]:
    """Return what each scorer computes of a planned dump.

    Raises:
        HarnessError: the scale plans no such dump, or a protocol changed since params.yaml was written.
    """
    key = dump_name(experiment, seed, snapshot)
    dump: schema.DumpKey = pick(key, scale.params.dumps, f"dump in {scale.path}: dumps:")
    return {
        scorer: [_stamped(scale, name, dump.dataset, scorer, stamp) for name, stamp in stamps.items()]
        for scorer, stamps in dump.scores.items()
    }


def of_choice(scale: Scale, experiment: str, seed: int) -> Planned:
    """Return what the `best` snapshot of a planned training is chosen by.

    Raises:
        HarnessError: the scale looks for no best snapshot of it, or the protocol changed since params.yaml was written.
    """
    where = f"training in {scale.path}: choices:"
    choice: schema.ChoiceKey = pick(run_name(experiment, seed), scale.params.choices, where)
    return _stamped(scale, choice.protocol, choice.dataset, CHOOSER, choice.stamp)


def _stamped(scale: Scale, name: str, dataset: str, scorer: str, stamp: str) -> Planned:
    planned = plan(pick(name, scale.definitions.protocols, f"protocol in {scale.path}:"), dataset, scorer)
    if planned.stamp != stamp:
        raise HarnessError(
            f"{scale.path}: protocol '{name}' changed since: it was {stamp}, it is {planned.stamp}; "
            f"run `harness scale write {scale.params.scale}`."
        )
    return planned


def load(root: Path | None = None) -> dict[str, Protocol]:
    """Return every protocol of the checkout at `root` (default: the one around the working folder), by name.

    Raises:
        HarnessError: an unknown key, a value that a field does not allow, a field without a source, or protocols that
            are based on each other in a circle; the message has the file and the entry.
    """
    return read_all(merged(Checkout.find(root).protocols))


def read_all(entries: Mapping[str, tuple[dict[str, Any], str]]) -> dict[str, Protocol]:
    """Read entries by name, each with the place it came from; raises as `load`."""
    return {name: _read(name, entries) for name in entries}


def find(name: str, root: Path | None = None) -> Protocol:
    """Return one protocol.

    Raises:
        HarnessError: see `load`; or there is no such protocol, with the nearest one.
    """
    found: Protocol = pick(name, load(root), "protocol")
    return found


def _read(name: str, entries: Mapping[str, tuple[dict[str, Any], str]]) -> Protocol:
    where = entries[name][1]
    value = _resolved(name, entries, ())
    references = value.get("references")
    if isinstance(references, dict):  # null takes an inherited line away
        value["references"] = {key: line for key, line in references.items() if line is not None}
    if "name" in value:
        raise HarnessError(f"{where}: the entry's key is its name; delete `name`.")
    protocol = reader.read(Protocol, value | {"name": name}, where)
    _check(protocol, where)
    return protocol


def _resolved(name: str, entries: Mapping[str, tuple[dict[str, Any], str]], seen: tuple[str, ...]) -> dict[str, Any]:
    """Return an entry laid over the one that it is `based_on`; of `scorers` and `references`, what it names stands."""
    own, where = entries[name]
    if name in seen:
        raise HarnessError(f"{where}: protocols are based on each other in a circle: {' -> '.join([*seen, name])}.")
    if "based_on" not in own:
        return dict(own)
    pick(own["based_on"], entries, f"protocol in {where}: based_on:")
    base = _resolved(own["based_on"], entries, (*seen, name))
    mine = {key: value for key, value in own.items() if key != "based_on"}
    out = base | mine
    for key in ("sources", "presumed"):
        if key in base and isinstance(mine.get(key), dict):
            out[key] = _part(base, key) | mine[key]
    given, before = ({**_part(one, "sources"), **_part(one, "presumed")} for one in (mine, base))
    if "presumed" in out:  # a source that the entry names itself takes a presumption away
        out["presumed"] = {key: why for key, why in _part(out, "presumed").items() if key not in _part(mine, "sources")}
    for key in SOURCED:
        if key in mine and key not in given and key in before:
            raise HarnessError(f"{where}: changes `{key}` of '{own['based_on']}'; say in sources or presumed why.")
    return out


def _part(entry: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = entry.get(key)
    return value if isinstance(value, dict) else {}


def _check(protocol: Protocol, where: str) -> None:
    """Refuse what cannot be served, and a field without a source."""
    if not protocol.scorers or not protocol.references:
        raise HarnessError(f"{where}: name at least one scorer and one data set under `references`.")
    for scorer, resizer in protocol.scorers.items():
        if resizer not in RESIZERS[scorer]:
            raise HarnessError(f"{where}.scorers.{scorer}: no resizer '{resizer}'.{nearest(resizer, RESIZERS[scorer])}")
    for scorer in protocol.kid:
        pick(scorer, dict[str, str](**protocol.scorers), f"scorer in {where}: kid:")
    if protocol.is_bias and protocol.layer != 2048:
        raise HarnessError(f"{where}: is_bias: the Inception Score exists only at layer 2048.")
    for key in (*protocol.sources, *protocol.presumed):
        if key not in (*SOURCED, EVERY):
            raise HarnessError(f"{where}: sources: no field '{key}'.{nearest(key, SOURCED)}")
    for name in SOURCED:
        said = name in protocol.sources or EVERY in protocol.sources
        if not said and name not in protocol.presumed:
            raise HarnessError(f"{where}: says nothing of where `{name}` comes from; add it to sources or presumed.")
