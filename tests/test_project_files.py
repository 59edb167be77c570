"""What the project states about itself: for contributors, for continuous integration, for citations."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import handlit

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version_and_of_both_methods() -> None:
    citation = read_yaml(ROOT / "CITATION.cff")
    assert citation["version"] == handlit.__version__
    titles = " ".join(reference["title"] for reference in citation["references"])
    assert "A Probabilistic Attention Model" in titles
    assert "MHEntropy" in titles


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_run_targets_that_the_makefile_has(path: Path) -> None:
    workflow, targets = read_yaml(path), set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert all(("uses" in step) != ("run" in step) for step in steps)
    called = {word for step in steps for word in re.findall(r"\bmake (\w+)", step.get("run", ""))}
    assert called
    assert called <= targets
    # the workflow's Pythons are those that the package takes
    versions = workflow["jobs"].get("test", {}).get("strategy", {}).get("matrix", {}).get("python", [])
    assert all(re.fullmatch(r"3\.1\d", version) for version in versions)


def test_every_issue_form_and_hook_can_be_read() -> None:
    for form in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        content = read_yaml(form)
        assert form.name == "config.yml" or {"name", "description", "body"} <= content.keys()
    hooks = read_yaml(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    assert {hook["id"] for hook in hooks} >= {"ruff-check", "ruff-format", "mypy"}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md"])
def test_links_and_paths_of_the_top_pages_are_there(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith("http")]
    tests = re.findall(r"\btests/[\w/]+(?:\.py)?", text)
    assert not [path for path in (*links, *tests) if path and not (ROOT / path).exists()]


@pytest.mark.parametrize("name", ["Containerfile", "scripts/cluster/Containerfile"])
def test_container_files_hold_instructions_and_copy_what_is_there(name: str) -> None:
    text = re.sub(r"\\\n", " ", (ROOT / name).read_text(encoding="utf-8"))
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert lines[0][0] == "FROM"
    assert {line[0] for line in lines} <= {"FROM", "ARG", "ENV", "RUN", "COPY", "USER", "WORKDIR", "ENTRYPOINT", "CMD"}
    for line in lines:
        if line[0] == "COPY":
            # the wheel is built before
            assert all((ROOT / source).exists() for source in line[1:-1] if not source.startswith("dist/"))
        if line[0] in ("ENTRYPOINT", "CMD"):
            assert json.loads(" ".join(line[1:]))
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert not {"dist", "examples", "handlit"} & set(ignored)
