from pathlib import Path

from scripts.docs.configurations import configurations_page, opening_comment

CONFIGS = Path(__file__).parents[3] / "configs"


def test_every_configuration_is_on_the_page_with_its_text() -> None:
    page = configurations_page()
    for path in CONFIGS.rglob("*.yaml"):
        assert f"\n### {path.relative_to(CONFIGS).with_suffix('').as_posix()}\n" in page
        assert path.read_text().splitlines()[-1] in page


def test_the_opening_comment_shows_its_command_as_code() -> None:
    text = "# python main.py fit --config x.yaml\n# What it\n# is for.\nseed: 1\n# not this\n"
    assert opening_comment(text) == "`python main.py fit --config x.yaml`\n\nWhat it is for."
