"""What people are told to do, and the scripts that do it, fit what is made."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping

import pytest

from terraform.harness import ROOT, Made, Terraform

GUIDE = ROOT / "docs" / "deploy-to-google-cloud.md"
README = ROOT / "terraform" / "README.md"
SCRIPTS = sorted((ROOT / "tools").glob("*.sh"))


def test_the_guides_choices_are_variables(terraform: Terraform) -> None:
    """Every block of variables in the guide can be planned with."""
    found = re.findall(r"```hcl\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    place = terraform.folder / "guide.tfvars"
    place.write_text("\n".join(found))

    said = terraform.run(
        "plan", "-var-file=minimal.tfvars.json", "-var-file=guide.tfvars"
    )

    assert len(found) == 2
    assert "google_billing_budget.this[0]" in said
    assert "undeclared" not in said


def test_the_readme_names_every_file() -> None:
    """The table of files has no gap and no leftover."""
    table = re.search(r"## What is made\n(.*?)\n## ", README.read_text(), re.DOTALL)
    assert table is not None
    named = set(re.findall(r"`(\w+\.tf)`", table[1])) - {"variables.tf"}
    plumbing = {"locals.tf", "outputs.tf", "variables.tf", "versions.tf"}

    assert named == {it.name for it in (ROOT / "terraform").glob("*.tf")} - plumbing


def test_outputs_that_are_read_exist(made: Mapping[str, Made]) -> None:
    """No command asks for an output that is not there."""
    names: set[str] = set()
    for path in (GUIDE, README, *SCRIPTS):
        names |= set(re.findall(r"output -(?:raw|json) (\w+)", path.read_text()))

    assert {"status_command", "triggers", "upload_command"} == names
    assert names <= set(made["minimal"].outputs)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda it: it.name)
def test_scripts_are_well_formed(script: object) -> None:
    """Bash can read them."""
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, "-n", str(script)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("target", ["deploy", "image"])
def test_targets_ask_for_what_they_need(target: str) -> None:
    """Without a project the target says how to call it, and does nothing."""
    done = subprocess.run(
        ["make", "--silent", target, "PROJECT="],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert f"make {target} PROJECT=my-project REGION=us-central1" in done.stderr


def test_the_image_is_built_as_terraform_prepared_it(made: Mapping[str, Made]) -> None:
    """Account, repository and bucket in the script are those that are made."""
    script = (ROOT / "tools" / "image.sh").read_text()
    script = script.replace("$PROJECT", "demo-project").replace(
        "$REGION", "us-central1"
    )
    found = made["minimal"]
    account = found.resources["google_service_account.build"]["account_id"]

    assert f"{account}@demo-project.iam" in script
    assert f'image="{found.outputs["image_repository"]}/serving"' in script
    assert (
        f"gs://{found.resources['google_storage_bucket.source']['name']}/image"
        in script
    )
    rules = found.resources["google_storage_bucket.source"]["lifecycle_rule"]
    assert [rule["condition"][0]["matches_prefix"] for rule in rules] == [["image/"]]


def test_the_archive_holds_all_that_the_dockerfile_copies() -> None:
    """Cloud Build gets the folder serving/ and needs nothing beside it.

    What is copied from another stage of the build was made in it.
    """
    lines = (ROOT / "serving" / "Dockerfile").read_text().splitlines()
    copied = [
        source
        for line in lines
        if line.startswith(("COPY ", "ADD ")) and "--from=" not in line
        for source in line.split()[1:-1]
    ]

    assert copied
    assert all(source.startswith("serving/") for source in copied)


def test_dead_letters_of_triggers_go_to_the_topic_that_is_made(
    made: Mapping[str, Made],
) -> None:
    """The script that completes the apply names our topic."""
    script = (ROOT / "tools" / "deploy.sh").read_text()
    topic = made["minimal"].resources['google_pubsub_topic.this["dead_letters"]']

    assert f'projects/$PROJECT/topics/{topic["name"]}"' in script
    assert len(made["minimal"].outputs["triggers"]) == 3
