# DuckDB with its extension for MySQL: one COPY of an attached table.
import os

import duckdb
import duckdb_extensions

from peer import columns, form, path, server, table

rows = duckdb.connect()
duckdb_extensions.import_extension("mysql_scanner", con=rows)
rows.execute("LOAD mysql_scanner")
os.environ["MYSQL_PWD"] = server["password"]
rows.execute("ATTACH 'host={host} port={port} user={user} database={database}' AS peer (TYPE mysql, READ_ONLY)".format(**server))
how = {"ndjson": "json", "csv": "csv, header", "parquet": "parquet"}[form]
rows.execute(f"COPY (SELECT {columns} FROM peer.{table}) TO '{path}' (FORMAT {how})")
