# Reads Parquet files with pyarrow, DuckDB and DataFusion and holds every value against an
# Arrow file that Arrow's own writer made of the same rows.
#
# usage: readers.py REFERENCE FILE [REFERENCE FILE ...]
import datetime
import decimal
import struct
import sys

import datafusion
import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

PER_UNIT = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}  # in nanoseconds
problems = []


def values(column):
    """The values in a form that does not depend on units, widths and scales."""
    t = column.type
    if pa.types.is_floating(t):
        return [None if v is None else struct.pack("<d", v) for v in column.to_pylist()]
    if pa.types.is_date(t):
        return column.cast(pa.date32()).cast(pa.int32()).to_pylist()
    if pa.types.is_timestamp(t) or pa.types.is_duration(t) or pa.types.is_time64(t):
        return [None if v is None else v * PER_UNIT[t.unit] for v in column.cast(pa.int64()).to_pylist()]
    if pa.types.is_time32(t):
        return [None if v is None else v * PER_UNIT[t.unit] for v in column.cast(pa.int32()).to_pylist()]
    return column.to_pylist()


def compare(reader, path, name, want, got):
    t = want.type
    if got.type == t and not pa.types.is_floating(t) and got.equals(want):
        return
    w, g = values(want), values(got)
    if pa.types.is_duration(t) and pa.types.is_integer(got.type):
        unit = 1 if t.unit == "ns" else 1000
        g = [None if v is None else v * unit for v in g]
    if pa.types.is_timestamp(t) and (t.tz is None) != (got.type.tz is None):
        problems.append(f"{path}: {reader}: {name}: {t} became {got.type}")
    if reader == "DuckDB":
        if pa.types.is_decimal(t) and t.precision > 38:
            # It has no such decimals, and shows the nearest DOUBLE.
            g = [None if v is None else struct.unpack("<d", v)[0] for v in g]
            bad = [i for i, (a, b) in enumerate(zip(w, g)) if (a is None) != (b is None) or a is not None and abs(float(a) - b) > abs(float(a)) * 1e-14]
            if bad:
                problems.append(f"{path}: {reader}: {name}, row {bad[0]}: {g[bad[0]]}, want {w[bad[0]]}")
            return
        if pa.types.is_time(t) or pa.types.is_timestamp(t) and t.unit == "ns" and t.tz is not None:
            # Its own types have microseconds, and call the greatest value infinity.
            keep = [v is None or v != 2**63 - 1 for v in w]
            w, g = ([v for v, k in zip(x, keep) if k] for x in (w, g))
            w, g = ([None if v is None else int(decimal.Decimal(v) / 1000) for v in x] for x in (w, g))
    for i, (a, b) in enumerate(zip(w, g)):
        if a != b:
            problems.append(f"{path}: {reader}: {name} ({got.type}), row {i}: {b!r}, want {a!r}")
            return
    if len(w) != len(g):
        problems.append(f"{path}: {reader}: {len(g)} rows, want {len(w)}")


def quoted(v):
    if isinstance(v, str):
        return "'" + v.replace("'", "''") + "'"
    if isinstance(v, datetime.date):
        return f"DATE '{v}'"
    return str(v)


def conditions(table):
    """Conditions that a reader answers with the help of bounds, and how many rows they have."""
    for name, column in zip(table.column_names, table.columns):
        t = column.type
        if not (pa.types.is_signed_integer(t) or pa.types.is_date32(t) or pa.types.is_string(t)):
            continue
        present = pc.unique(column.drop_null()).to_pylist()
        if not present:
            continue
        for v in {min(present), max(present), present[len(present) // 3]}:
            yield name, "=", v, pc.sum(pc.equal(column, pa.scalar(v, t))).as_py()
            yield name, "<", v, pc.sum(pc.less(column, pa.scalar(v, t))).as_py()


def judge(reference, path):
    with pa.OSFile(reference, "rb") as f:
        want = pa.ipc.open_file(f).read_all()
    options = {"pushdown_filters": "true", "enable_page_index": "true", "schema_force_view_types": "false"}
    config = datafusion.SessionConfig({f"datafusion.execution.parquet.{k}": v for k, v in options.items()})
    duck, fusion = duckdb.connect(), datafusion.SessionContext(config.with_target_partitions(1))
    duck.execute("SET enable_progress_bar = false")  # a slow machine is no problem to print
    duck.sql("set timezone='UTC'")
    fusion.register_parquet("t", path, file_extension="")
    for reader, got in (
        ("pyarrow", pq.read_table(path)),
        ("DuckDB", duck.sql(f"select * from '{path}'").fetch_arrow_table()),
        ("DataFusion", fusion.sql("select * from t").to_arrow_table()),
    ):
        if got.column_names != want.column_names:
            problems.append(f"{path}: {reader}: columns {got.column_names}")
            continue
        for name in want.column_names:
            compare(reader, path, name, want[name], got[name])
    if want.num_rows < 1000:
        return
    operators = {"=": "=="}
    for name, operator, v, rows in conditions(want):
        sql = f'select count(*) from {{}} where "{name}" {operator} {quoted(v)}'
        for reader, got in (
            ("pyarrow", pq.read_table(path, columns=[name], filters=[(name, operators.get(operator, operator), v)]).num_rows),
            ("DuckDB", duck.sql(sql.format(f"'{path}'")).fetchone()[0]),
            ("DataFusion", fusion.sql(sql.format("t")).to_arrow_table().column(0)[0].as_py()),
        ):
            if got != (rows or 0):
                problems.append(f"{path}: {reader}: {got} rows where {name} {operator} {v!r}, want {rows}")


for pair in zip(sys.argv[1::2], sys.argv[2::2]):
    try:
        judge(*pair)
    except Exception as e:
        problems.append(f"{pair[1]}: {type(e).__name__}: {e}")
print("\n".join(problems[:40]), end="")
