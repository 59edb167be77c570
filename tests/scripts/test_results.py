"""The table of docs/results.md: a tiny run, what is recorded and resumed, and that the page says what was measured."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from handlit.cli import main as handlit_main
from handlit.errors import InputError
from handlit.run_folder import RunFolder
from scripts.results import commands
from scripts.results.__main__ import DOCS, PAGES, SEEDS, main, minutes_of, parse, plan, remaining
from scripts.results.commands import CommandFailed, in_a_process
from scripts.results.measuring import SMOKE, WHOLE
from scripts.results.page import BLOCKS, CALIBRATION, ENTROPY, LAST, METHODS, NOT_YET, STORY, rendered
from scripts.results.record import Record
from scripts.results.rows import CALIBRATED, ROWS

DATA = WHOLE.data
PAGE = "before\n" + "\n".join(f"<!-- rendered: {name} -->\n1 % better\n{LAST}" for name in BLOCKS) + "after\n"


def here(words: Sequence[str], log: Path) -> None:
    """In place of a process: in this one, which has imported PyTorch."""
    quiet = ["--workers", "0"] if words[0] == "synth" else []
    handlit_main([*words, *quiet])


def test_smoke_measures_a_method_before_and_after_its_calibration(tmp_path: Path) -> None:
    words = ["--smoke", "--methods", "MeanHand", "--seeds", "1", "--out", str(tmp_path), "--threads", "1"]
    main(words, here)
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["data"] == SMOKE.data
    assert not content["failed"]
    assert list(content["table"]) == list(content["runs"]) == ["MeanHand", f"MeanHand{CALIBRATED}"]
    own, calibrated = (content["table"][name] for name in content["table"])
    for line in METHODS:
        assert own[line.key][1] is None
        assert own[line.key] == [content["runs"]["MeanHand"]["1"][line.key], None]
    assert own.keys() == calibrated.keys()
    for key in ("mpjpe_mm", "pa_mpvpe_mm", "f_al_score_5"):
        assert calibrated[key][0] == pytest.approx(own[key][0], rel=1e-4)
    assert calibrated["scale_mm"][0] != pytest.approx(own["scale_mm"][0], rel=0.01)
    run = RunFolder(tmp_path / "meanhand" / "seed1")
    assert json.loads(run.test_numbers.read_text())["test/crps_mm"] == pytest.approx(own["crps_mm"][0], rel=1e-4)
    assert "seed_everything: 1" in run.config.read_text()
    facts = content["facts"]["MeanHand"]["1"]
    assert (facts["cores"], facts["threads"]) == (os.cpu_count(), 1)
    assert facts["minutes"].keys() == {"train", "measure", "calibrate"}
    page = (tmp_path / "results.md").read_text()
    assert f"| CRPS per coordinate, mm ↓ | {own['crps_mm'][0]:.1f} |" in page
    assert f"| {own['coverage_90'][0]:.2f} → {calibrated['coverage_90'][0]:.2f} |" in page
    # what is recorded is not repeated
    main(words, failing)
    assert json.loads((tmp_path / "results.json").read_text()) == content
    # unless that is asked for, and a trained run stays or not
    for kind, is_kept in (("measure", True), ("train", False)):
        with pytest.raises(SystemExit):
            main([*words, "--again", kind], failing)
        assert run.best.exists() == is_kept


def failing(words: Sequence[str], log: Path) -> None:
    if words[0] != "synth":
        raise CommandFailed(f"{words[0]}: the machine is on fire")


def test_what_fails_is_recorded_passed_over_and_tried_again(tmp_path: Path) -> None:
    words = ["--smoke", "--methods", "AMVUR", "Deterministic", "--seeds", "0", "--out", str(tmp_path)]
    tried: list[str] = []

    def run(command: Sequence[str], log: Path) -> None:
        tried.append(command[0])
        failing(command, log)

    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main(words, run)
        assert ended.value.code == 1
    assert tried == ["synth", "fit", "fit"] * 2
    record = Record(tmp_path / "results.json")
    assert record.failed == {name: {"0": "fit: the machine is on fire"} for name in ("AMVUR", "Deterministic")}
    assert not record.runs
    record.add(SMOKE.data, "AMVUR", 0, {"crps_mm": 9.0})
    assert list(Record(record.path).failed) == ["Deterministic"]
    # a run without its calibration is not finished
    assert [row.name for row, _ in remaining(parse(words), record)] == ["AMVUR", "Deterministic"]
    record.add(SMOKE.data, f"AMVUR{CALIBRATED}", 0, {"crps_mm": 8.0})
    assert [row.name for row, _ in remaining(parse(words), record)] == ["Deterministic"]
    assert len(remaining(parse([*words, "--again", "measure"]), record)) == 2


def test_the_table_is_of_all_seeds(tmp_path: Path) -> None:
    record = Record(tmp_path / "results.json")
    for seed, value in enumerate((9.0, 10.0, 11.0)):
        figures = {"crps_mm": value} | ({"ause": 0.3} if seed else {})
        # as another sitting does, that has read the file before
        Record(record.path).add(DATA, "AMVUR", seed, figures)
        record.add(DATA, "Deterministic", seed, {"crps_mm": 8.0})
    record.add_facts(DATA, "AMVUR", 0, {"cores": 2, "threads": 2}, {"train": 8.0})
    record.add_facts(DATA, "AMVUR", 0, {"cores": 2, "threads": 1}, {"measure": 2.0})
    assert record.table() == {"AMVUR": {"crps_mm": [10.0, 1.0]}, "Deterministic": {"crps_mm": [8.0, 0.0]}}
    assert json.loads(record.path.read_text())["table"] == record.table()
    assert record.path.read_text().count("\n") < 40
    assert minutes_of(ROWS["AMVUR"], record) == 10.0
    lines = plan([(ROWS["AMVUR"], 3), (ROWS["MeanHand"], 0)], record)
    assert lines[0] == "AMVUR, seed 3: about 10 minutes"
    assert lines[-1].startswith("2 runs, about 0.2 hours on 2 cores")
    page = rendered(PAGE, record)
    assert "| CRPS per coordinate, mm ↓ | 10.0 ±1.0 | 8.0 ±0.0 |\n" in page
    assert "Seeds of the training: 0, 1, 2; mean ± standard deviation over them." in page
    assert "A training took 8 minutes, with all measurements 10, on 2 CPU cores." in page
    assert "1 %" not in page
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    # no method of these blocks is measured
    assert page.count(NOT_YET) == 3
    record.add(DATA, "AMVUR", 7, {"crps_mm": 10.0})
    assert "AMVUR 0, 1, 2, 7; Deterministic 0, 1, 2." in rendered(PAGE, record)


def test_the_pages_show_what_is_recorded() -> None:
    pages = [page.read_text(encoding="utf-8") for page in PAGES]
    for page in pages:
        assert page == rendered(page, Record(DOCS / "results.json")), "run python -m scripts.results --render"
    assert set(BLOCKS) == {name for name in BLOCKS if f"<!-- rendered: {name} -->" in "".join(pages)}


def test_the_short_table_is_of_methods_before_and_after_their_calibration(tmp_path: Path) -> None:
    record = Record(tmp_path / "results.json")
    lines = {line.key: 0.25 for line in (*STORY, *CALIBRATION)}
    for name, figures in (
        ("AMVUR", lines),
        (f"AMVUR{CALIBRATED}", {**lines, "coverage_90": 0.9}),
        ("PixelLift", lines),
    ):
        record.add(DATA, name, 0, figures)
    record.add(DATA, "MeanHand", 0, lines)
    record.add(DATA, f"MeanHand{CALIBRATED}", 0, lines)
    story = rendered(f"<!-- rendered: story -->\n{LAST}", record)
    assert "| | AMVUR |\n" in story
    assert "| coverage of 90 %, nominal 0.90 | 0.25 → 0.90 |" in story


def test_every_row_of_the_page_is_a_measure_of_the_registry(tmp_path: Path) -> None:
    record = Record(tmp_path / "results.json")
    lines = {line.key: 1.0 for line in (*METHODS, *CALIBRATION, *ENTROPY)}
    for name in ("MHEntropy", f"MHEntropy{CALIBRATED}"):
        record.add(DATA, name, 0, lines)
    page = rendered(PAGE, record)
    assert NOT_YET not in page
    assert "–" not in page
    assert all(row.config_file.is_file() for row in ROWS.values())
    assert {row.name.partition("-")[0] for row in ROWS.values()} >= {"AMVUR", "MHEntropy", "PixelLift", "Deterministic"}
    assert SEEDS == (0, 1, 2)


def test_wrong_files_and_options_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results.json"
    for text in ("[1]", '{"data": {}, "runs": {"AMVUR": {"0": {"crps_mm": null}}}, "facts": {}, "failed": {}}'):
        path.write_text(text)
        with pytest.raises(InputError, match=r"holds no figures of this script: move it away"):
            Record(path)
    path.unlink()
    Record(path).add({**DATA, "format": 2}, "AMVUR", 0, {"crps_mm": 9.0})
    with pytest.raises(SystemExit) as ended:
        main(["--smoke", "--out", str(tmp_path)], failing)
    assert ended.value.code == 2
    assert "holds figures on other images" in capsys.readouterr().err
    for options in (["--seeds", "-1"], ["--threads", "0"]):
        with pytest.raises(SystemExit) as ended:
            main(options, failing)
        assert ended.value.code == 2
    for page, match in (("nothing", "no block"), (f"<!-- rendered: x -->\n{LAST}", "no block 'x'")):
        with pytest.raises(InputError, match=match):
            rendered(page, Record(path))


def test_a_command_runs_in_a_process_and_says_why_it_failed(tmp_path: Path) -> None:
    log = tmp_path / "x.txt"
    run = in_a_process(threads=1)
    run(["--version"], log)
    assert log.read_text().startswith("handlit ")
    with pytest.raises(CommandFailed, match=r"^nonsense: error: there is no command 'nonsense'"):
        run(["nonsense"], log)


def test_a_stopped_sitting_ends_its_command(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    (tmp_path / "handlit.py").write_text(
        f"import os, pathlib, time\npathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\ntime.sleep(600)\n"
    )
    source = f"""
import signal, sys
from pathlib import Path
sys.path.append({str(Path(commands.__file__).parents[2])!r})
from scripts.results.commands import in_a_process
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
in_a_process(None)(["fit"], Path({str(tmp_path / "log.txt")!r}))
"""
    sitting = subprocess.Popen([sys.executable, "-c", source], cwd=tmp_path, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not (pid.exists() and pid.read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    sitting.send_signal(signal.SIGTERM)
    assert sitting.wait(60) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
