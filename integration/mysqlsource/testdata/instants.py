# Reads the column "fine" of Parquet files with pyarrow and DuckDB: the instants must be those that were stored, and what
# is shown in the zone what the client shows there.
#
# usage: instants.py '[{"Path": …, "Zone": …, "Instants": [microseconds or "NULL", …], "Shown": ["2026-04-05 02:30:00.250001" or "NULL", …]}, …]'
import json
import sys

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq


def text(moment):
    return "NULL" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%S.%f")


def compare(reader, what, got, want):
    for row, (g, w) in enumerate(zip(got, want, strict=True), start=1):
        if g != w:
            print(f"{of['Zone']}: {reader}, row {row}: {what} {g}, want {w}")


for of in json.loads(sys.argv[1]):
    want = [None if i == "NULL" else int(i) for i in of["Instants"]]
    column = pq.read_table(of["Path"]).column("fine")
    if column.type != pa.timestamp("us", tz=of["Zone"]):
        print(f"{of['Zone']}: pyarrow: the column is {column.type}")
    compare("pyarrow", "the instant", column.cast(pa.int64()).to_pylist(), want)
    compare("pyarrow", "it shows", [text(m) for m in column.to_pylist()], of["Shown"])

    db = duckdb.connect()
    # An offset is no zone of DuckDB's: it shows those in UTC, and the hours are added here.
    fixed = of["Zone"][0] in "+-"
    db.execute("SET TimeZone = '" + ("UTC" if fixed else of["Zone"]) + "'")
    kind = db.execute("SELECT typeof(fine) FROM read_parquet(?) LIMIT 1", [of["Path"]]).fetchone()[0]
    if kind != "TIMESTAMP WITH TIME ZONE":
        print(f"{of['Zone']}: DuckDB: the column is {kind}")
    rows = db.execute("SELECT epoch_us(fine), strftime(fine, '%Y-%m-%d %H:%M:%S.%f') FROM read_parquet(?) ORDER BY id", [of["Path"]]).fetchall()
    compare("DuckDB", "the instant", [r[0] for r in rows], want)
    if not fixed:
        compare("DuckDB", "it shows", ["NULL" if r[1] is None else r[1] for r in rows], of["Shown"])
