from pathlib import Path

import handlit
from scripts.docs.api import api_pages

PACKAGE = Path(handlit.__file__).parent


def test_every_public_module_is_on_the_page_of_its_package() -> None:
    pages = api_pages()
    for path in PACKAGE.rglob("*.py"):
        package = ".".join(path.parent.relative_to(PACKAGE.parent).parts)
        if not path.name.startswith("_"):
            assert f"\n::: {package}.{path.stem}\n" in pages[f"reference/api/{package}.md"]
