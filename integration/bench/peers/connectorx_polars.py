# connectorx into a frame of polars, which writes it: the way of polars.read_database_uri.
import polars as pl

from peer import form, path, query, url

frame = pl.read_database_uri(query, url("mysql"), engine="connectorx")
{"ndjson": frame.write_ndjson, "csv": frame.write_csv, "parquet": frame.write_parquet}[form](path)
