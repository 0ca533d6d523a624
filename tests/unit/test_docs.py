"""The pages that people read: what they name is there, and what is generated is up to date."""

import itertools
import re
from pathlib import Path

import pytest
import yaml

from docs import variables
from tests.support.paths import ROOT

WIDTH = 100
README_LINES = 140

# Paths that a reader makes.
OF_THE_READER = ("inventory/mine", "compose/compose.override.yaml", "out/")

PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("roles/*/README.md"),
    ]
)
each_page = pytest.mark.parametrize(
    "page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES]
)

CODE = re.compile(r"^```.*?^```$|`[^`]+`", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower().strip()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        numbered = (f"{anchor}-{number}" for number in itertools.count(1))
        found.add(next(name for name in itertools.chain([anchor], numbered) if name not in found))
    return found


def links(page: Path) -> list[str]:
    """Return what the links of a page point to, code apart."""
    return re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", page.read_text()))


def makefile_targets() -> set[str]:
    """Return every name that `make` knows, of files too."""
    rules = re.findall(r"^([\w./][^:=\n]*):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return {name for rule in rules for name in rule.split()}


def test_the_page_of_variables_is_up_to_date() -> None:
    assert variables.PAGE.read_text() == variables.page(), "run `make docs`"


def test_the_page_of_variables_has_every_variable() -> None:
    text = variables.PAGE.read_text()
    for defaults in ROOT.glob("roles/*/defaults/main.yml"):
        for name in yaml.safe_load(defaults.read_text()):
            assert f"\n#### {name}\n" in text


def test_a_computed_default_is_described() -> None:
    for defaults in ROOT.glob("roles/*/defaults/main.yml"):
        specs = yaml.safe_load((defaults.parents[1] / "meta/argument_specs.yml").read_text())
        options = specs["argument_specs"]["main"]["options"]
        for name, default in yaml.safe_load(defaults.read_text()).items():
            if "{{" in str(default):
                assert "by default" in str(options[name]["description"]), name


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert ROOT in target.resolve().parents, f"{link} leaves the checkout"
        assert not anchor or anchor in anchors(target), link


@each_page
def test_every_make_command_is_a_target(page: Path) -> None:
    code = "\n".join(CODE.findall(page.read_text()))
    named = set(re.findall(r"\bmake\s+(?:[A-Z]+=\S* )*([a-z][\w./-]*)", code))
    assert named <= makefile_targets()


@each_page
def test_every_path_that_is_named_is_there(page: Path) -> None:
    folders = "|".join(path.name for path in ROOT.iterdir() if path.is_dir())
    for name in re.findall(rf"`((?:{folders})/[\w./-]*)`", page.read_text()):
        assert name.startswith(OF_THE_READER) or (ROOT / name).exists(), name


@each_page
def test_lines_are_short(page: Path) -> None:
    long = [line for line in page.read_text().splitlines() if len(line) > WIDTH]
    assert not long


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


def test_every_page_of_docs_can_be_found_from_the_readme() -> None:
    linked = {ROOT / link.partition("#")[0] for link in links(ROOT / "README.md")}
    assert set(ROOT.glob("docs/*.md")) <= linked
