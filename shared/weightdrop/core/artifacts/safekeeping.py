"""What a bucket's rules mean for replicas that read it later.

They need the validated generations for as long as they may start: a rule that
deletes them, or a bucket that keeps nothing that was replaced, ends a deployment
that worked.
"""

from __future__ import annotations

from weightdrop.core.artifacts import codes
from weightdrop.core.artifacts.findings import Finding
from weightdrop.core.artifacts.keeping import Keeping
from weightdrop.core.artifacts.objects import ArtifactSet

_DAY = 86400


def judge(artifacts: ArtifactSet, keeping: Keeping) -> list[Finding]:
    """What could take the files of a drop from replicas that start later."""
    place = f"gs://{artifacts.bucket}"
    findings: list[Finding] = []
    for rule in keeping.deletions:
        reaches = rule.noncurrent if keeping.versioning else rule.live
        names = (artifacts.object_name(file.path) for file in artifacts.files)
        taken = next((name for name in names if rule.takes(name)), None)
        if reaches and taken:
            when = "once they were replaced or deleted" if keeping.versioning else ""
            findings.append(
                codes.BUCKET_DELETES.found(
                    f"A lifecycle rule of {place} deletes {taken[:200]} and what is "
                    f"like it {when}".rstrip()
                    + f" ({rule.words or 'always'})."
                )
            )
    if keeping.versioning:
        return findings
    if not keeping.soft_delete_seconds:
        text = f"{place} has neither object versioning nor soft delete."
        return [*findings, codes.BUCKET_FORGETS.found(text)]
    days = keeping.soft_delete_seconds // _DAY
    text = f"{place} has no object versioning; soft delete keeps what is gone {days} d."
    return [*findings, codes.BUCKET_RESTORES.found(text)]
