"""Command line of training, `rvq train corpus|run|export|entropy`; torch is imported only when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rvqcodec.weights.registry import DEFAULT_MODEL

if TYPE_CHECKING:
    from rvqcodec.training.train.settings import Settings

app = typer.Typer(
    name="train", help="Build a corpus, train a model on it, export it.", no_args_is_help=True, add_completion=False
)


@app.command()
def corpus(
    folder: Annotated[Path, typer.Argument(help="The corpus folder: manifest and one int16 file per kind.")],
    debs: Annotated[Path, typer.Option(help="Folder of Debian packages; missing ones are downloaded.")] = Path("debs"),
    big: Annotated[bool, typer.Option("--big", help="19 more packages: 6 GB, 49 hours.")] = False,
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=1, help="Decoding processes.")] = 1,
) -> None:
    """Download Debian packages with free audio (3 GB, 35 hours), decode them and write a manifest."""
    from rvqcodec.training.corpus.corpus import build_corpus
    from rvqcodec.training.corpus.packages import select

    for line in build_corpus(folder, debs, select(big), jobs):
        typer.echo(line, err=True)


Corpus = Annotated[Path, typer.Argument(help="The corpus folder.")]
Folder = Annotated[Path, typer.Argument(help="The run's folder; a checkpoint in it is resumed with its own settings.")]
Initial = Annotated[str, typer.Option(help="Initial weights: a checkpoint (.pt), a weights file or a model's name.")]
Stage = Annotated[
    str,
    typer.Option(
        help="kmeans, codebooks (only), joint, decoder (only: files stay valid) or adversarial (decoder too)."
    ),
]
Decay = Annotated[float, typer.Option(min=0, max=1, help="Final fraction of the run in which the rate decays to 0.")]
Waveform = Annotated[float, typer.Option(min=0, help="Weight of the noise-to-signal ratio below 2.6 kHz in the loss.")]
Low = Annotated[
    float,
    typer.Option(min=0, help="Weight of bin-wise spectra below 3 kHz in the loss; about 1 with --waveform 0.3."),
]


@app.command()
def run(
    corpus: Corpus,
    folder: Folder,
    init: Initial = "",
    stage: Stage = "joint",
    steps: Annotated[int, typer.Option(min=0, help="Length in steps.")] = 0,
    minutes: Annotated[float, typer.Option(min=0, help="Length in minutes.")] = 0.0,
    batch: Annotated[int, typer.Option(min=1, help="Crops per step, over all processes.")] = 16,
    rate: Annotated[float, typer.Option(help="Factor on all learning rates; below 1 to fine-tune.")] = 1.0,
    warmup: Annotated[int, typer.Option(min=0, help="Steps of rising learning rate.")] = 300,
    decay: Decay = 0.2,
    average: Annotated[float, typer.Option(min=0, max=1, help="Decay of the weights' moving average.")] = 0.999,
    width: Annotated[int, typer.Option(min=1, help="Channels of the discriminators.")] = 16,
    stft: Annotated[float, typer.Option(min=0, help="Weight of the complex spectra in the loss.")] = 5.0,
    mel: Annotated[float, typer.Option(min=0, help="Weight of the mel spectra in the loss.")] = 10.0,
    waveform: Waveform = 0.0,
    low: Low = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of crops and layer counts.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    processes: Annotated[int, typer.Option(min=1, help="Processes of one thread each; CPU only.")] = 1,
    checkpoint_minutes: Annotated[float, typer.Option(min=0, help="Between checkpoints.")] = 5.0,
    evaluate_minutes: Annotated[float, typer.Option(min=0, help="Between evaluations; 0: none.")] = 15.0,
    clips: Annotated[int, typer.Option(min=1, help="Clips of each kind in an evaluation.")] = 2,
) -> None:
    """Train a model, or resume its training, to the end of the run."""
    from rvqcodec.training.train.session import Session, train

    optimisation = {"stage": stage, "steps": steps, "minutes": minutes, "batch": batch, "rate": rate, "warmup": warmup}
    averages = {"decay_share": decay, "weights_decay": average, "discriminator_width": width, "seed": seed}
    losses = {"mel": mel, "stft": stft, "waveform": waveform, "low": low}
    train(
        Session(
            corpus=corpus,
            folder=folder,
            settings=_settings(**optimisation, **averages, **losses),
            init=init,
            device=device,
            processes=processes,
            checkpoint_minutes=checkpoint_minutes,
            evaluate_minutes=evaluate_minutes,
            clips=clips,
        )
    )


def _settings(**chosen: Any) -> Settings:
    from rvqcodec.training.train.settings import Settings

    try:
        return Settings(**chosen)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


@app.command()
def export(
    source: Annotated[str, typer.Argument(help="A checkpoint (.pt), a weights file or a model's name.")],
    corpus: Annotated[Path, typer.Argument(help="The corpus folder.")],
    folder: Annotated[Path, typer.Option("-o", "--output", help="Output folder.")] = Path(),
    name: Annotated[str, typer.Option(help="The model's name and that of its files.")] = DEFAULT_MODEL,
    minutes: Annotated[float, typer.Option(min=0, help="Time for counting codes.")] = 10.0,
    clips: Annotated[int, typer.Option(min=0, help="Held-out clips of each kind to measure.")] = 4,
    before: Annotated[str, typer.Option(help="Provenance of the initial weights: a sentence for the card.")] = "",
    entropy_minutes: Annotated[
        float,
        typer.Option(
            min=0, help="Training time of the entropy network, after 40 minutes of encoding the corpus; 0: none."
        ),
    ] = 60.0,
) -> None:
    """Write a model's weights, static entropy tables, model card and entropy network."""
    from rvqcodec.training.release.entropy_release import EntropyRelease, release
    from rvqcodec.training.release.export import Export, export

    request = Export(
        source=source,
        corpus=corpus,
        folder=folder,
        name=name,
        minutes=minutes,
        clips=clips,
        before=before,
    )
    weights, *others = export(request)
    for path in (weights, *others):
        typer.echo(str(path))
    if entropy_minutes:
        network = EntropyRelease(
            corpus=corpus, codes=folder / f"{name}.codes", model=str(weights), minutes=entropy_minutes
        )
        for line in release(network):
            typer.echo(line, err=True)


@app.command()
def entropy(
    corpus: Annotated[Path, typer.Argument(help="The corpus folder.")],
    codes: Annotated[Path, typer.Argument(help="Folder of the corpus' codes, created or continued.")],
    model: Annotated[str, typer.Option(help="A model's name or the path of its weights.")] = DEFAULT_MODEL,
    folder: Annotated[
        Path | None, typer.Option("-o", "--output", help="Output folder.", show_default="beside the weights")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0, help="Length of the training.")] = 60.0,
    code_minutes: Annotated[
        float, typer.Option(min=0, help="Time for encoding the corpus; 40 minutes suffice on 2 cores.")
    ] = 40.0,
    init: Annotated[
        str, typer.Option(help="Initial network: network-float.safetensors of an earlier run, or a released one.")
    ] = "",
    rate: Annotated[float, typer.Option(min=0, help="Peak learning rate; about half to fine-tune.")] = 3e-3,
    threads: Annotated[int, typer.Option(min=1, help="Excerpts encoded in parallel, and threads of the training.")] = 1,
) -> None:
    """Train the entropy network of a model on its codes, and write it with its card as the model's newest."""
    from rvqcodec.training.release.entropy_release import EntropyRelease, release

    request = EntropyRelease(
        corpus=corpus,
        codes=codes,
        model=model,
        folder=folder,
        minutes=minutes,
        code_minutes=code_minutes,
        init=init,
        rate=rate,
        n_threads=threads,
    )
    for line in release(request):
        typer.echo(line, err=True)
