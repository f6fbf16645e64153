"""Several trainings side by side on one card, sampled and scored as they go, packed before a deadline.

A plan (results/short/launch.yaml) names the trainings in the order of their worth. Each is a `harness train` process
that stops at an image count or when its time is up, and goes on from its checkpoint when launched again.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from harness import data, experiments, parcel, transfer
from harness.data import sheets
from harness.errors import HarnessError
from harness.files import read_json, write_json
from harness.launchplan import Clock, Entry, Plan, open_scale, preflight

STOPPED = (0, 143, -signal.SIGTERM, -signal.SIGKILL)  # exit codes of a training that did not fail
GRACE_SEC = 60  # from SIGTERM to SIGKILL: a checkpoint of TransGAN-S is 0.7 GB
TICK_SEC = 0.2


class Job:
    """One training while it is launched: its run, its working folder and what became of it."""

    def __init__(self, entry: Entry, tier: str, scale: experiments.Scale, checkpoints: Path) -> None:
        """Resolve the run; its working folder is created."""
        from harness.training.runfolder import RunFolder

        self.entry, self.tier = entry, tier
        self.run = scale.run(entry.experiment, entry.seed)
        self.heavy, self.records = scale.folders(entry.experiment, entry.seed)
        self.images = data.load(scale.root / "data" / self.run.dataset).images
        self.folder = RunFolder(checkpoints, self.run, self.images)
        self.wanted = set(entry.snapshots or (entry.until_nimg,))
        unknown = self.wanted - set(self.run.recipe.snapshots_nimg)
        if unknown:
            raise HarnessError(
                f"launch: {self.name}: {sorted(unknown)} are no snapshots of its recipe within the scale's limit; "
                f"it has {list(self.run.recipe.snapshots_nimg)}."
            )

    @property
    def name(self) -> str:
        """Experiment and seed."""
        return f"{self.entry.experiment}-seed{self.entry.seed}"

    def reached(self) -> int:
        """Images seen at the newest checkpoint."""
        return max((int(p.stem) for p in self.folder.path.glob("*.json") if p.stem.isdigit()), default=0)

    def snapshots(self) -> dict[int, Path]:
        """Averaged generators on disk, by image count."""
        files = (self.folder.path / "weights").glob("*.safetensors")
        return {int(p.stem): p for p in files if p.stem.isdigit()}

    def scores(self) -> dict[int, Path]:
        """Torch scores on disk, by image count."""
        return {int(p.parent.name): p for p in self.records.glob("*/torch.json") if p.parent.name.isdigit()}

    def finished(self) -> bool:
        """Whether there is nothing left to train: here, or on an earlier machine whose records were kept."""
        return self.reached() >= self.entry.until_nimg or self.wanted <= self.scores().keys()

    def history(self) -> list[dict[str, str]]:
        """Rows of history.csv so far."""
        from harness.training.history import read

        return read(self.folder.path / "history.csv")


class Launch:
    """State of one command."""

    def __init__(self, plan: Plan, params_file: Path, device: str, checkpoints: Path, cache: Path, clock: Clock):
        """Resolve every entry and look for what would be missing later.

        Raises:
            HarnessError: a list of everything that is missing.
        """
        self.plan, self.params_file, self.device, self.clock = plan, params_file, device, clock
        self.checkpoints, self.cache = checkpoints, cache
        self.scale = open_scale(params_file)
        preflight(self.scale, plan, device, cache)
        self.work = self.scale.out / "launch"
        self.log_path = self.scale.out / "records" / "launch.jsonl"
        self.pace = plan.assumed_images_per_sec
        self.failures: Counter[tuple[str, int]] = Counter()
        self.jobs = [Job(entry, tier.name, self.scale, checkpoints) for tier in plan.tiers for entry in tier.entries]

    def log(self, event: str, **values: Any) -> None:
        """Append one line to records/launch.jsonl and print it on stderr."""
        line = json.dumps({"sec": round(self.clock.sec(), 1), "event": event, **values})
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log_path, "a", encoding="utf-8") as handle:
            handle.write(line + "\n")
        print(line, file=sys.stderr, flush=True)

    # ---------------------------------------------------------------- training

    def train_all(self) -> None:
        """Train in order, `slots` at a time; meanwhile sample and score every wanted snapshot that appears."""
        from harness.training.system import signals

        with signals() as received, ThreadPoolExecutor(self.plan.slots) as pool:
            running: dict[Future[tuple[Job, int]], Job] = {pool.submit(self.train, job): job for job in self.jobs}
            self.reference()
            logged = 0.0
            while running:
                done, _ = wait(running, timeout=TICK_SEC, return_when=FIRST_COMPLETED)
                if received:
                    self.clock.stop = min(self.clock.stop, time.monotonic())
                if time.monotonic() - logged > self.plan.log_sec:
                    logged = time.monotonic()
                    self.log_progress(list(running.values()))
                for future in done:
                    before = running.pop(future)
                    job, code = future.result()
                    self.jobs[self.jobs.index(before)] = job  # another one, if it was trained instead
                    self.publish(job, code)
                for job, nimg in self.due()[:1]:
                    self.dump(job, nimg)

    def train(self, job: Job) -> tuple[Job, int]:
        """Train one entry, or what its plan says instead if that fails; returns the job and its exit code."""
        code = self.train_one(job)
        if code in STOPPED or not job.entry.instead:
            return job, code
        self.log("failed", run=job.name, exit_code=code, instead=job.entry.instead, output=self.tail(job))
        entry = dataclasses.replace(job.entry, experiment=job.entry.instead, instead="")
        other = Job(entry, job.tier, self.scale, self.checkpoints)
        return other, self.train_one(other)

    def train_one(self, job: Job) -> int:
        """Run `harness train` until it is done or the time is up; 0 if there is nothing to do or no time to begin."""
        entry, begun = job.entry, time.monotonic()
        needed = entry.minutes if entry.least_minutes is None else entry.least_minutes
        if job.finished() or begun + 60 * needed > self.clock.stop:
            self.log("finished" if job.finished() else "no time", run=job.name, nimg=job.reached())
            return 0
        command = [sys.executable, "-m", "harness", "train", entry.experiment, "--seed", str(entry.seed)]
        command += ["--params", str(self.params_file), "--device", self.device, "--threads", "1"]
        command += ["--checkpoints", str(self.checkpoints), "--stop-after-nimg", str(entry.until_nimg)]
        path = os.pathsep.join([str(experiments.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.output(job).parent.mkdir(parents=True, exist_ok=True)
        self.log("begin", run=job.name, tier=job.tier, nimg=job.reached())
        with open(self.output(job), "wb") as handle:
            process = subprocess.Popen(
                command,
                stdout=handle,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for this process, which then stops its trainings
            )
            while process.poll() is None and time.monotonic() < min(self.clock.stop, begun + 60 * entry.minutes):
                time.sleep(TICK_SEC)
            if process.poll() is None:
                process.terminate()
            try:
                return process.wait(GRACE_SEC)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return process.wait()

    def output(self, job: Job) -> Path:
        """What a training printed."""
        return self.work / f"{job.name}.log"

    def tail(self, job: Job) -> str:
        """The end of what it printed."""
        return self.output(job).read_text(encoding="utf-8", errors="replace")[-2000:]

    def publish(self, job: Job, code: int) -> None:
        """Give a stopped training its records, unless they are there: one that reached its recipe's end wrote them."""
        if code not in STOPPED:
            self.log("failed", run=job.name, exit_code=code, output=self.tail(job))
        rows, nimg, record = job.history(), job.reached(), job.records / "train" / "train.json"
        if not rows or nimg == 0 or (record.is_file() and read_json(record)["nimg"] == nimg):
            return
        wall_sec = float(rows[-1]["wall_sec"])
        cost = {"wall_sec": wall_sec, "images_per_sec": int(rows[-1]["nimg"]) / wall_sec}
        cost["memory_mib"] = max(float(row["memory_mib"]) for row in rows)
        job.folder.publish(
            job.heavy, job.records, nimg, cost, device=self.device, threads=1, side_by_side=self.plan.slots
        )
        self.log("trained", run=job.name, nimg=nimg, **{key: round(value, 1) for key, value in cost.items()})

    def log_progress(self, running: list[Job]) -> None:
        """One line for every training that has a history."""
        for job in running:
            rows = job.history()
            if rows:
                keys = ("images_per_sec", "memory_mib", "critic_loss", "generator_loss")
                values = {key: float(f"{float(rows[-1][key]):.4g}") for key in keys if rows[-1].get(key)}
                self.log("progress", run=job.name, nimg=int(rows[-1]["nimg"]), **values)

    # ---------------------------------------------------------------- sampling and scoring

    def setup(self) -> Any:
        """How the torch scorer is opened."""
        from harness.metrics.extractor import Setup

        scoring = self.scale.params.scoring
        return Setup(weights=scoring.weights, layer=scoring.layer, device=self.device, threads=2, cache=self.cache)

    def reference(self) -> None:
        """Compute the statistics of the reals while the first trainings start up."""
        from harness.metrics import score
        from harness.metrics.dump import open_images

        for dataset in sorted({job.run.dataset for job in self.jobs}):
            folder = self.scale.root / "data" / dataset
            setup = self.setup()
            request = score.Request(folder, str(folder), "torch", setup, n_real=self.plan.n_real)
            score.real_side(open_images(folder).first(self.plan.n_real), score.open_extractor("torch", setup), request)
            self.log("reference", dataset=dataset, n=self.plan.n_real)

    def due(self) -> list[tuple[Job, int]]:
        """Wanted snapshots that are on disk and have no score yet, in the plan's order."""
        return [
            (job, nimg)
            for job in self.jobs
            for nimg in sorted(job.wanted & job.snapshots().keys() - job.scores().keys())
            if self.failures[job.name, nimg] < 2
        ]

    def want_common(self) -> None:
        """After an early end: where a tier lacks wanted snapshots, want the longest that all its trainings have."""
        for tier in self.plan.tiers:
            jobs = [job for job in self.jobs if job.tier == tier.name]
            common = set.intersection(*(set(job.snapshots()) for job in jobs))
            if len(jobs) > 1 and common and any(not job.wanted <= job.snapshots().keys() for job in jobs):
                self.log("common", tier=tier.name, nimg=max(common))
                for job in jobs:
                    job.wanted.add(max(common))

    def dump(self, job: Job, nimg: int) -> None:
        """Sample one snapshot and score the samples; fewer where time is short, none where there is none."""
        from harness.commands import sample
        from harness.metrics import score
        from harness.training.runfolder import copy

        left = (self.clock.finish - time.monotonic()) * self.pace  # images that can still be sampled and scored
        n = max(job.entry.n_score or 0, self.plan.n_keep)
        n = n if n <= left else self.plan.n_keep
        self.failures[job.name, nimg] += 1
        if n > left:
            self.log("no time", run=job.name, snapshot=nimg)
            return
        begun, snapshot = time.monotonic(), str(nimg)
        record = job.records / snapshot
        try:
            copy(job.snapshots()[nimg], job.heavy / "weights" / f"{snapshot}.safetensors")
            assert sample.command.callback is not None, "a click command has its function"
            sample.command.callback(job.entry.experiment, job.entry.seed, snapshot, self.params_file, n, self.device)
            request = score.Request(
                job.heavy / snapshot / "samples.npy",
                str(self.scale.root / "data" / job.run.dataset),
                "torch",
                self.setup(),
                record=record / "samples.json",
                n_real=self.plan.n_real,
            )
            result = score.score(request)
        except HarnessError as error:
            self.log("not scored", run=job.name, snapshot=nimg, why=str(error))
            return
        write_json(record / "torch.json", result)
        self.pace = n / (time.monotonic() - begun)
        self.log("scored", run=job.name, snapshot=nimg, fid=result["fid"], n=n, images_per_sec=round(self.pace, 1))

    # ---------------------------------------------------------------- packing

    def parcels(self) -> list[Path]:
        """What comes back, most important first: records, samples, whole dumps, half-precision weights."""
        bench = self.scale.root / "results" / "bench"
        folders = [*(job.records for job in self.jobs), *([bench] if bench.is_dir() else [])]
        small = [p for folder in folders for p in sorted(folder.rglob("*")) if p.is_file()]
        few = -(-self.scale.params.scoring.n_fake // sheets.PER_SHEET)
        first, rest, weights = [], [], []
        for job in self.jobs:
            scored = job.scores().keys() & job.snapshots().keys() & job.wanted
            for nimg in sorted(scored):
                n = self.plan.n_keep if job.entry.whole else few * sheets.PER_SHEET
                written = transfer.dump_sheets(job.heavy / str(nimg), n)
                first += written[:few]
                rest += written[few:]
            if scored:
                source = job.heavy / "weights" / f"{max(scored)}.safetensors"
                weights.append(transfer.halved(source, job.heavy / "half"))
        return [self.log_path, *small, *first, *rest, *weights]

    def pack(self, out: Path) -> None:
        """Write `results.1.tar` ... under `out`; what an earlier call wrote comes last."""
        ledger = self.work / "sent.json"
        sent = set(read_json(ledger)) if ledger.is_file() else set()
        self.log("pack", scored=sum(len(job.scores().keys() & job.wanted) for job in self.jobs))
        limits = parcel.Limits(self.plan.parts, self.plan.part_mib, self.plan.total_mib)
        left = parcel.pack(self.scale.root, self.parcels(), out, "results", limits, sent)
        left = [piece for piece in left if piece.key not in sent]
        write_json(ledger, sorted(sent))
        names = sorted({piece.path for piece in left})
        if names:
            print(f"did not fit, the next launch sends them first: {', '.join(names)}", file=sys.stderr)


def run(launch: Launch, out: Path) -> None:
    """Train, sample, score and pack."""
    from harness import provenance

    launch.log("start", device=launch.device, provenance=provenance.collect(device=launch.device))
    launch.train_all()
    launch.want_common()
    while due := launch.due():
        launch.dump(*due[0])
    launch.pack(out)
