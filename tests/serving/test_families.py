"""Each model family through the whole entry point, with real vLLM.

`FAMILIES=all` runs those that the suite leaves out; `FAMILIES_TABLE` names the page
that the results are written to.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes import asking, family_models, family_page
from fakes.families import FAMILIES, Family
from fakes.family_page import Row
from fakes.serving import container
from weightdrop.core.artifacts.findings import Verdict
from weightdrop.core.planning.choose import plan
from weightdrop.core.planning.plan import Plan
from weightdrop.local.folder import FolderArtifacts
from weightdrop.services.admit import list_drop
from weightdrop.services.inspection import Policy, inspect_artifacts
from weightdrop.services.planning import load_tables, request_for

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

_PROMPT = "How to tell the time by looking at the sky?"
_TOKENS = 8
_OPTIONS = {"max_tokens": _TOKENS, "temperature": 0, "ignore_eos": True}
_NEAR = 0.25  # standard deviations; see Reference.distance
_WANTED = [f for f in FAMILIES if f.always or os.environ.get("FAMILIES") == "all"]


@pytest.fixture(scope="module")
def rows() -> Iterator[list[Row]]:
    """Rows of the table, written at the end."""
    found: list[Row] = []
    yield found
    if path := os.environ.get("FAMILIES_TABLE"):
        Path(path).write_text(family_page.page(found, near=_NEAR), encoding="utf-8")


def planned(folder: Path, family: Family) -> Plan:
    """What becomes of the folder where it is dropped: accepted, and planned."""
    options = json.dumps({"vllm_args": ["--dtype", family.dtype]})
    (folder / "weightdrop.json").write_text(options, "utf-8")
    store = FolderArtifacts()
    artifacts = list_drop(store, str(folder), "")
    report = inspect_artifacts(store, artifacts, policy=Policy())
    assert report.verdict is Verdict.ACCEPTED, report.findings
    assert report.model is not None
    assert report.model.architecture == family.architecture
    assert report.model.tool_parser == family.parser
    wanted = request_for(report.options, region="us-central1")
    chosen = plan(report.model, wanted, load_tables())
    assert isinstance(chosen, Plan), chosen
    return chosen


def test_the_page_has_the_words_and_families_of_the_run() -> None:
    """docs/families.md was written by the present run, whatever it found."""
    page = (Path(__file__).parents[2] / "docs" / "families.md").read_text("utf-8")
    empty = family_page.page([], near=_NEAR)

    assert [line for line in empty.splitlines() if line not in page] == []
    assert [f.name for f in FAMILIES if f"\n| {f.name} | {f.bases} |" not in page] == []
    assert " no | no |" not in page


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("family", _WANTED, ids=lambda family: family.name)
def test_a_family_is_served(family: Family, tmp_path: Path, rows: list[Row]) -> None:
    """Accepted, planned, healthy, answering every form with transformers' words."""
    row = Row(family)
    rows.append(row)
    folder = tmp_path / "model"
    family_models.make(family.recipe, folder)
    words = planned(folder, family).vllm_args
    reference = family_models.Reference.load(folder)
    expected = reference.says(_PROMPT, _TOKENS)
    with container(tmp_path / "serving", str(folder), *words) as running:
        running.until_health(200, seconds=400)
        prompts = list(asking.prompts(running, _PROMPT, **_OPTIONS))
        chats = list(asking.conversations(running, "Hello", **_OPTIONS))
        row.forms = len(prompts) + len(chats)
        if family.recipe.pictures and family.recipe.pictures.shown:
            row.picture = asking.picture(running, **_OPTIONS)
            assert row.picture
        chosen = asking.token_ids(running, _PROMPT, **_OPTIONS)
    row.distance = reference.distance(_PROMPT, chosen)
    said = {text for answer in prompts for text in answer.texts}
    answered = {text for answer in chats for text in answer.texts}
    row.same = said == {expected}
    assert all(said | answered)
    assert len(chosen) == _TOKENS
    assert row.distance < _NEAR
    if family.exact:
        assert {(a.form, text) for a in prompts for text in a.texts} == {
            (a.form, expected) for a in prompts
        }
        assert len(answered) == 1, chats
