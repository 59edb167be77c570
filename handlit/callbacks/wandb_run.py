"""Logs to Weights & Biases: offline without a key, one run for each run folder, and never in training's way."""

import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only, rank_zero_warn

#: Beside the files of W&B: which run the folder belongs to.
ID_FILE = "run_id"


class WandbRun(WandbLogger):
    """The W&B run of a run folder: training, resumed training, tests and predictions of the folder go to one run.

    Online where a key is set (``wandb login`` or ``WANDB_API_KEY``), unless ``offline`` or ``WANDB_MODE`` say
    otherwise, and offline without one: nobody is asked to log in. If W&B cannot be reached or refuses, a warning says
    so and the run goes on offline. What is left open here is taken from W&B's environment variables.

    Everything lies in the run folder's ``wandb``. The horizontal axis is the optimiser's step; W&B's summary has the
    lowest and the last value of each ``val/`` number, all of which are errors or losses.

    Args:
        project: ``handlit`` by default.
        name: The last part of the run folder by default.
        group: The part before that by default.
        tags: To find the run by.
        entity: Account or team.
        notes: What the run is about.
        offline: Keep the run on this machine, even with a key.
        id: Of the run; by default that of the run folder, which its first command makes up.
        log_model: Keep the best and the last checkpoint as artifacts when training ends.
        timeout_s: How long to wait for W&B's answer at the start.
        finish_timeout_s: How long to wait for uploads at the end; what is left can be uploaded with ``wandb sync``.
        save_dir: The run folder; the command line sets it.
    """

    def __init__(
        self,
        project: str | None = None,
        name: str | None = None,
        group: str | None = None,
        tags: Sequence[str] | None = None,
        entity: str | None = None,
        notes: str | None = None,
        offline: bool = False,
        id: str | None = None,
        log_model: bool = True,
        timeout_s: float = 30.0,
        finish_timeout_s: float = 600.0,
        save_dir: str = ".",
    ) -> None:
        folder = Path(save_dir).absolute()
        environment = os.environ.get
        self._id_file = folder / "wandb" / ID_FILE
        known = self._id_file.read_text().strip() if self._id_file.is_file() else None
        super().__init__(
            project=project or environment("WANDB_PROJECT", "handlit"),
            name=name or environment("WANDB_NAME", folder.name),
            save_dir=str(folder),
            id=id or environment("WANDB_RUN_ID") or known or uuid.uuid4().hex[:8],
            group=group or environment("WANDB_RUN_GROUP", folder.parent.name),
            tags=tags,
            entity=entity,
            notes=notes,
            settings=wandb.Settings(init_timeout=timeout_s, finish_timeout=finish_timeout_s),
        )
        self.asked_offline = offline
        self.log_checkpoints = log_model
        self._defined: set[str] = set()

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run, started when it is first asked for."""
        if self._experiment is None:
            self._start()
        return self._experiment

    def _start(self) -> None:
        self._id_file.parent.mkdir(parents=True, exist_ok=True)
        self._id_file.write_text(f"{self._wandb_init['id']}\n")
        mode, why = self._mode()
        for attempt in dict.fromkeys((mode, "offline", "disabled")):
            try:
                self._wandb_init["mode"] = attempt
                _ = super().experiment
                break
            except (wandb.Error, OSError) as error:
                kept = "Nothing goes to W&B" if attempt == "offline" else "The run is kept offline"
                rank_zero_warn(f"W&B does not start {attempt}: {error}. {kept}, and the training goes on.")
                why = "it did not start online"
                # what has failed would keep the run's id
                wandb.teardown()
        self._defined = set()
        if self._experiment is not None and self._experiment.offline:
            print(f"W&B is offline ({why}); upload with: wandb sync {self._id_file.parent}/offline-run-*")

    def _mode(self) -> tuple[str, str]:
        """W&B's mode, and the reason for it."""
        if (asked := os.environ.get("WANDB_MODE", "online")) != "online":
            return asked, f"WANDB_MODE={asked}"
        if self.asked_offline:
            return "offline", "as the configuration says"
        try:
            has_key = wandb.login(prompt=False, verify=False)
        except wandb.Error as error:
            return "offline", str(error)
        # without a key, W&B itself would ask for one
        return ("online", "") if has_key else ("offline", "no key is set: `wandb login`")

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers or W&B's media of a step."""
        run = self.experiment
        for name in metrics.keys() - self._defined:
            self._defined.add(name)
            if name.startswith("val/"):
                run.define_metric(name, step_metric="trainer/global_step", step_sync=True, summary="min,last")
        super().log_metrics(metrics, step)

    @rank_zero_only
    def log_file(self, path: Path, kind: str, name: str, aliases: Sequence[str], metadata: Mapping[str, Any]) -> None:
        """Keep a file as an artifact ``{kind}-{run id}``; the same content twice is one version with both aliases.

        The file itself is uploaded, from where it lies: offline, when the run is uploaded.

        Args:
            path: The file.
            kind: Type of the artifact.
            name: Of the file in the artifact.
            aliases: Of this version.
            metadata: What is to be known about it.
        """
        artifact = wandb.Artifact(f"{kind}-{self.version}", type=kind, metadata=dict(metadata))
        # no copy: a checkpoint of HRNet-W64 has 2.4 GB
        artifact.add_file(str(path), name=name, policy="immutable", skip_cache=True)
        self.experiment.log_artifact(artifact, aliases=list(aliases))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run; the folder's next command goes on with it."""
        if self._experiment is not None:
            self._experiment.finish(exit_code=0 if status == "success" else 1)
            self._experiment = None
