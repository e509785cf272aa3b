"""After a death: finish what was promised, clean what was not."""

from __future__ import annotations

from weightdrop.local.bucket.database import Database
from weightdrop.local.bucket.tree import Tree


def recover(database: Database, tree: Tree) -> None:
    """Do the renames that were cut short; remove bytes nobody will ask for."""
    promised = database.query("SELECT stage, path FROM objects WHERE stage != ''")
    for stage, path in promised:
        file = tree.staging / stage
        if file.exists():
            target = tree.absolute(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)
    uploads = {row[0] for row in database.query("SELECT id FROM uploads")}
    for file in tree.staging.iterdir():
        if file.name.split(".")[0] not in uploads:
            file.unlink()
    kept = {row[0] for row in database.query("SELECT path FROM objects")}
    for file in tree.blobs.iterdir():
        if str(file.relative_to(tree.root)) not in kept:
            file.unlink()
    with database.transaction() as transaction:
        # A resumable upload whose last answer was lost is done all the same.
        transaction.execute(
            "UPDATE uploads SET generation = o.generation FROM objects AS o"
            " WHERE o.stage = uploads.id"
        )
        transaction.execute("UPDATE objects SET stage = '' WHERE stage != ''")
