"""`harness sample`: weights -> dump of uint8 images."""

from pathlib import Path

import click


@click.command("sample")
@click.argument("experiment")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the training and of the latents.")
@click.option("--snapshot", default="last", show_default=True, help="`last`, `best` or an image count of the recipe.")
@click.option("--params", "params_file", type=click.Path(path_type=Path), default="params.yaml", show_default=True)
@click.option("--n", type=click.IntRange(1), help="How many images; default: scoring.n_fake of the params file.")
@click.option("--device", default="cpu", show_default=True)
def command(experiment: str, seed: int, snapshot: str, params_file: Path, n: int | None, device: str) -> None:
    """Draw images from a trained generator: samples.npy (uint8 [n,R,R,3]), samples.json and a grid.

    Image i depends on (seed, i) only.

    Example: harness sample quick-cifar10-transgan --seed 0 --n 64
    """
    import time

    import numpy as np
    import torch
    from tqdm import tqdm

    from harness import provenance
    from harness.config import experiments
    from harness.files import replacing, sha256_file, sha256_pixels, write_json
    from harness.networks import registry
    from harness.networks.generator_file import load_generator, read_metadata
    from harness.sampling import draw, grid

    scale = experiments.open_scale(params_file)
    params, run = scale.params, scale.run(experiment, seed)
    records = scale.folder.records(experiment, seed)
    weights = scale.folder.weights(experiment, seed, snapshot)
    n = n or params.scoring.n_fake
    quantised = experiments.pick(params.scoring.quantisation, draw.QUANTISATIONS, "quantisation")
    torch.set_num_threads(params.threads)
    generator = registry.build("generator", run.generator, run.resolution).to(device)
    nimg = load_generator(generator, weights)

    started = time.perf_counter()
    dump = scale.folder.dump(experiment, seed, snapshot)
    shape = (n, run.resolution, run.resolution, 3)
    bar = tqdm(total=n, unit="image", desc=f"sample {experiment}")
    with bar, replacing(dump) as temporary, open(temporary, "wb") as handle:
        np.lib.format.write_array_header_1_0(handle, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for chunk in quantised(generator, n, seed, device):
            handle.write(chunk.tobytes())
            bar.update(len(chunk))
    images = np.load(dump, mmap_mode="r")
    grid.grid_png(np.asarray(images[:100]), records / snapshot / "grid.png")
    write_json(
        records / snapshot / "samples.json",
        {
            "scale": params.scale,
            "experiment": experiment,
            "seed": seed,
            "snapshot": snapshot,
            "selection": read_metadata(weights).get("selection"),
            "nimg": nimg,
            "planned_nimg": run.planned_nimg,
            # the best may lie before the end of a whole training
            "partial": run.partial if snapshot == "best" else nimg < run.planned_nimg,
            "dataset": run.dataset,
            "n": n,
            "ema": run.recipe.ema.kind != "none",
            "quantisation": params.scoring.quantisation,
            "samples_sha256": sha256_pixels(images),
            "weights_sha256": sha256_file(weights),
            "provenance": provenance.collect(
                device=device, threads=torch.get_num_threads(), wall_sec=round(time.perf_counter() - started, 2)
            ),
        },
    )
    click.echo(f"{dump}: {n} images of {run.resolution} px")
