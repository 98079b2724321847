# Writes the rows of a Parquet file with other writers, zstd on one core, and prints the size and the
# median time of three.
#
# usage: others.py FILE SCRATCH
import json
import os
import statistics
import sys
import time

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

source, scratch = sys.argv[1:]
arrow_rows = pq.read_table(source)
duck = duckdb.connect()
duck.sql("set threads=1")
# Tables of its own, as a scan of Arrow's memory costs extra.
duck.sql("create table appointments as from arrow_rows")
pa.set_cpu_count(1)
for name, write in (
    (f"pyarrow {pa.__version__}", lambda: pq.write_table(arrow_rows, scratch, compression="zstd")),
    (f"DuckDB {duckdb.__version__}", lambda: duck.sql(f"copy appointments to '{scratch}' (format parquet, compression zstd)")),
):
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        write()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"Writer": name, "Bytes": os.path.getsize(scratch), "Seconds": statistics.median(seconds)}))
os.remove(scratch)
