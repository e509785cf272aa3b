"""Each model family through the whole entry point, with real vLLM.

`FAMILIES=all` runs those that the suite leaves out; `FAMILIES_TABLE` names a file
that the results are written to.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.families import FAMILIES, Family, says
from fakes.serving import container

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

_PROMPT = "How to tell the time by looking at the sky?"
_TOKENS = 8
_WANTED = [f for f in FAMILIES if f.always or os.environ.get("FAMILIES") == "all"]


@pytest.fixture(scope="module")
def results() -> Iterator[dict[str, tuple[str, str]]]:
    """Rows of the table, written at the end."""
    rows: dict[str, tuple[str, str]] = {}
    yield rows
    if path := os.environ.get("FAMILIES_TABLE"):
        lines = ["| family | serves every form | says what transformers says |"]
        lines += ["| --- | --- | --- |"]
        lines += [f"| {name} | {a} | {b} |" for name, (a, b) in rows.items()]
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("family", _WANTED, ids=lambda family: family.name)
def test_a_family_is_served(
    family: Family, tmp_path: Path, results: dict[str, tuple[str, str]]
) -> None:
    """Healthy, every form of request, and transformers' own words."""
    results[family.name] = ("no", "no")
    model = tmp_path / "model"
    family.make(model)
    expected = says(model, _PROMPT, _TOKENS)
    with container(
        tmp_path / "serving", str(model), "--dtype", family.dtype
    ) as running:
        running.until_health(200, seconds=400)
        options = {"max_tokens": _TOKENS, "temperature": 0, "ignore_eos": True}
        body = {"instances": [{"prompt": _PROMPT, **options}] * 2}
        first, second = running.predict(body).json()["predictions"]
        messages = [{"role": "user", "content": "Hello"}]
        chat = {"messages": messages, **options}
        if family.chat:
            (answer,) = running.predict(chat).json()["choices"]
            assert answer["message"]["content"]
        stream = running.predict({"prompt": "Hi", **options, "stream": True}).text
        assert stream.rstrip().endswith("data: [DONE]")
    same = first == expected
    forms = "yes" if family.chat else "yes, conversations not run"
    results[family.name] = (forms, "yes" if same else "no")
    if family.exact:
        assert (first, second) == (expected, expected)
