"""Logs to Weights & Biases: offline without a key, one run for each run folder, and training never depends on it."""

import contextlib
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only, rank_zero_warn
from typing_extensions import override

from handlit.callbacks.running.logger_guard import tolerated
from handlit.files import write_text
from handlit.run_folder import RunFolder


class WandbRun(WandbLogger):
    """The W&B run of a run folder: training, resumed training, tests and predictions of the folder go to one run.

    Online where a key is set (``wandb login`` or ``WANDB_API_KEY``), unless ``offline`` or ``WANDB_MODE`` say
    otherwise, and offline without one: nobody is asked to log in. If W&B cannot be reached or refuses, a warning says
    so and the run continues offline, or without W&B where that cannot start either. What fails later costs a warning,
    too. Arguments that are None are taken from W&B's environment variables.

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
        id: Of the run; by default that of the run folder, which its first command generates.
        log_model: Keep the best and the last checkpoint as artifacts when training ends.
        timeout_s: How long to wait for W&B's answer at the start.
        artifact_timeout_s: How long to wait for each artifact's upload.
        finish_timeout_s: How long to wait for other uploads at the end, also of a run that a scheduler stops and kills
            some minutes later; what is left can be uploaded with ``wandb sync``.
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
        artifact_timeout_s: float = 600.0,
        finish_timeout_s: float = 60.0,
        save_dir: str = ".",
    ) -> None:
        # here and below: it takes half a second, which runs without it need not wait for
        import wandb

        folder = Path(save_dir).absolute()
        environment = os.environ.get
        self._id_file = RunFolder(folder).wandb_id
        earlier = self._id_file.read_text(encoding="utf-8").strip() if os.access(self._id_file, os.R_OK) else None
        super().__init__(
            project=project or environment("WANDB_PROJECT") or "handlit",
            name=name or environment("WANDB_NAME") or folder.name,
            save_dir=str(folder),
            id=id or environment("WANDB_RUN_ID") or earlier or uuid.uuid4().hex[:8],
            group=group or environment("WANDB_RUN_GROUP") or folder.parent.name,
            tags=tags,
            entity=entity,
            notes=notes,
            settings=wandb.Settings(init_timeout=timeout_s, finish_timeout=finish_timeout_s),
        )
        self.asked_offline = offline
        self.log_checkpoints = log_model
        self._defined: set[str] = set()
        self._artifact_timeout_s = artifact_timeout_s

    @property
    @rank_zero_experiment
    @override
    def experiment(self) -> Any:
        """The run, started at the first access."""
        if self._experiment is None:
            self._start()
        return self._experiment

    def _start(self) -> None:
        self._defined = set()
        mode, why = self._mode()
        for attempt in dict.fromkeys((mode, "offline")):
            try:
                self._id_file.parent.mkdir(parents=True, exist_ok=True)
                # before W&B starts, which takes another folder where it cannot write
                self._id_file.touch()
                self._wandb_init["mode"] = attempt
                run: Any = super().experiment
                # after it, which refuses some ids
                write_text(self._id_file, f"{self._wandb_init['id']}\n")
                break
            # settings from the environment are checked by other libraries, with errors of their own
            except Exception as error:
                kept = "Nothing goes to W&B" if attempt == "offline" else "The run is kept offline"
                rank_zero_warn(f"W&B does not start {attempt}: {error}. {kept}, and the training continues.")
                why = "it did not start online"
                _forget()
                self._experiment = None
        else:
            self._experiment = cast(Any, _NoRun())
            return
        if run is not None and run.offline:
            print(f"W&B is offline ({why}); upload with: wandb sync {self._id_file.parent}/offline-run-*")

    def _mode(self) -> tuple[str, str]:
        """W&B's mode, and the reason for it."""
        import wandb

        if os.environ.get("WANDB_MODE") == "":
            # which W&B takes for a wrong mode
            del os.environ["WANDB_MODE"]
        try:
            # reads every setting; without a key, W&B itself would ask for one
            has_key = wandb.login(prompt=False, verify=False)
        except Exception as error:
            rank_zero_warn(f"W&B refuses its settings or its key: {error}. The run is kept offline.")
            return "offline", str(error)
        if (asked := os.environ.get("WANDB_MODE", "online")) != "online":
            return asked, f"WANDB_MODE={asked}"
        if self.asked_offline:
            return "offline", "as the configuration says"
        return ("online", "") if has_key else ("offline", "no key is set: `wandb login`")

    @rank_zero_only
    @tolerated("WandbRun")
    @override
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers or W&B's media of a step."""
        run = self.experiment
        for name in metrics.keys() - self._defined:
            self._defined.add(name)
            if name.startswith("val/"):
                run.define_metric(name, step_metric="trainer/global_step", step_sync=True, summary="min,last")
        super().log_metrics(metrics, step)

    @rank_zero_only
    @tolerated("WandbRun")
    def log_file(self, path: Path, kind: str, name: str, aliases: Sequence[str], metadata: Mapping[str, Any]) -> None:
        """Keep a file as an artifact ``{kind}-{run id}``; the same content twice is one version with both aliases.

        The file itself is uploaded, from where it lies: offline, when the run is uploaded.

        Args:
            path: The file.
            kind: Type of the artifact.
            name: Of the file in the artifact.
            aliases: Of this version.
            metadata: Shown with this version.
        """
        import wandb

        artifact = wandb.Artifact(f"{kind}-{self.version}", type=kind, metadata=dict(metadata))
        # no copy: a checkpoint of HRNet-W64 has 2.4 GB
        artifact.add_file(str(path), name=name, policy="immutable", skip_cache=True)
        run = self.experiment
        kept = run.log_artifact(artifact, aliases=list(aliases))
        if not run.offline:
            # here, because W&B has one limit for every end of a run, and takes it at the start
            kept.wait(timeout=self._artifact_timeout_s)

    @rank_zero_only
    @tolerated("WandbRun")
    @override
    def finalize(self, status: str) -> None:
        """End the run; the folder's next command continues it."""
        run, self._experiment = self._experiment, None
        if run is None:
            return
        try:
            run.finish(exit_code=0 if status == "success" else 1)
        except Exception:
            _forget()
            raise


class _NoRun:
    """Stands in for a run that could not be started: every attribute and every call gives itself and does nothing."""

    id = "none"

    def __getattr__(self, name: str) -> "_NoRun":
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: Any, **__: Any) -> "_NoRun":
        return self


def _forget() -> None:
    """Drop W&B's state after a failure, or it would keep the run's id and fail once more when Python exits."""
    import wandb

    # W&B's teardown raises SystemExit where its own process was killed
    with contextlib.suppress(Exception, SystemExit):
        wandb.teardown()
    wandb.run = None
