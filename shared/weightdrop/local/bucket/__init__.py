"""A Cloud Storage stand-in over a plain folder, for one machine.

It speaks Cloud Storage's JSON API (and the part of the XML API that parallel
uploads use), keeps metadata in SQLite and posts CloudEvents about watched
buckets. Files that are copied into a bucket's folder become objects too.
Run it with `python -m weightdrop.local.bucket`; docs/bucket-server.md says how
it stores things and what it does not do.
"""
