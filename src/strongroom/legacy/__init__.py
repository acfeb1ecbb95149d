"""Reading what MinIO's releases of 2018 to 2022 left behind: formats and keys. Pure: knows nothing of stores or HTTP.

Both layouts have the same kind of document beside each object: ``fs.json`` (server on one folder, NAS gateway) or
``dare.meta`` (S3 gateway). ``docs/migrate.md`` lists which releases and modes are covered.
"""
