"""Reading what MinIO's releases of 2018 to 2022 left behind: formats and keys. Pure: knows nothing of stores or HTTP.

Two layouts have the same document beside each object: ``fs.json`` (server on one folder, NAS gateway) and
``dare.meta`` (S3 gateway). ``docs/migrate.md`` lists which releases and modes are covered.
"""
