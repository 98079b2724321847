# dlt from its source sql_database, with the backend pyarrow, to its destination for files.
import glob
import os
import shutil
import tempfile

import dlt
from dlt.sources.credentials import ConnectionStringCredentials
from dlt.sources.sql_database import sql_table

from peer import columns, form, path, table, url

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["DATA_WRITER__DISABLE_COMPRESSION"] = os.environ["NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION"] = "true"
scratch = tempfile.mkdtemp(dir=os.path.dirname(path))
try:
    rows = sql_table(
        credentials=ConnectionStringCredentials(url("mysql+pymysql") + "?charset=utf8mb4"),
        table=table,
        # Arrow does not write lines of JSON; dlt's own rows do.
        backend="sqlalchemy" if form == "ndjson" else "pyarrow",
        chunk_size=20_000,
        included_columns=None if columns == "*" else columns.split(","),
    )
    pipeline = dlt.pipeline(
        "peer",
        pipelines_dir=os.path.join(scratch, "state"),
        destination=dlt.destinations.filesystem(bucket_url="file://" + os.path.join(scratch, "out")),
        dataset_name="peer",
    )
    pipeline.run(rows, loader_file_format={"ndjson": "jsonl"}.get(form, form), write_disposition="replace")
    (made,) = glob.glob(os.path.join(scratch, "out", "peer", table, "*"))
    shutil.move(made, path)
finally:
    shutil.rmtree(scratch)
