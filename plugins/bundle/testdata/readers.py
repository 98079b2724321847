# Reads Arrow, CSV and JSON files with pyarrow, DuckDB and Python, and holds every value against an Arrow
# file that Arrow's own writer made of the same rows.
#
# usage: readers.py REFERENCE ARROW_FILE ARROW_STREAM CSV NDJSON JSON
import csv
import decimal
import json
import struct
import sys

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc

reference, arrow_file, arrow_stream, csv_file, ndjson, json_file = sys.argv[1:]
want = pa.ipc.open_file(reference).read_all()
names, problems = want.column_names, []

for path, opened in (arrow_file, pa.ipc.open_file), (arrow_stream, pa.ipc.open_stream):
    got = opened(path).read_all()
    got.validate(full=True)
    if not got.equals(want):
        problems.append(f"pyarrow: {path}: {got.schema} does not hold the rows")


def same(t, value, found):
    """Whether a value of the reference is what a text or JSON value says."""
    if value is None or found is None:
        return value is None and found is None
    if pa.types.is_boolean(t):
        return found is value or found == ("true" if value else "false")
    if pa.types.is_integer(t):
        return int(found) == value
    if pa.types.is_float32(t):
        return struct.pack("<f", float(found)) == struct.pack("<f", value)
    if pa.types.is_float64(t):
        return float(found) == value
    if pa.types.is_decimal(t):
        return decimal.Decimal(found) == value
    if pa.types.is_string(t) or pa.types.is_large_string(t):
        return found == value
    return True  # of how dates and bytes are written, the tests of the formats say more


def compare(reader, rows):
    """Holds rows, a list of lists, against the reference."""
    if len(rows) != want.num_rows:
        problems.append(f"{reader}: {len(rows)} rows, want {want.num_rows}")
        return
    for at, name in enumerate(names):
        column = want[name]
        for i, value in enumerate(column.to_pylist() if type_is_checked(column.type) else [None] * want.num_rows):
            if type_is_checked(column.type) and not same(column.type, value, rows[i][at]):
                problems.append(f"{reader}: {name}, row {i}: {rows[i][at]!r}, want {value!r}")
                break


def type_is_checked(t):
    return not (pa.types.is_temporal(t) or pa.types.is_binary(t) or pa.types.is_large_binary(t) or pa.types.is_fixed_size_binary(t))


def varchar(columns):
    """Columns of text, as DuckDB's readers take them."""
    return ", ".join(f"'{n}': 'VARCHAR'" for n in columns)


# CSV: an empty field is NULL, and an empty text is quoted.
arrow_csv = pyarrow.csv.read_csv(
    csv_file,
    parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
    convert_options=pyarrow.csv.ConvertOptions(
        column_types={n: pa.string() for n in names}, strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""]),
)
by_arrow = [list(row) for row in zip(*(c.to_pylist() for c in arrow_csv.columns))]
duck = duckdb.connect()
by_duck = [list(row) for row in duck.sql(
    f"select * from read_csv('{csv_file}', auto_detect=false, columns={{{varchar(names)}}}, header=true, delim=',', quote='\"', escape='\"', allow_quoted_nulls=false)"
).fetchall()]
with open(csv_file, newline="", encoding="utf-8") as f:
    header, *by_python = csv.reader(f)
if header != names or arrow_csv.column_names != names:
    problems.append(f"CSV: the header is {header}")
compare("CSV, pyarrow", by_arrow)
compare("CSV, DuckDB", by_duck)
if by_arrow != by_duck:
    problems.append("CSV: pyarrow and DuckDB do not read the same texts")
if [["" if v is None else v for v in row] for row in by_arrow] != by_python:
    problems.append("CSV: pyarrow and Python do not read the same texts")

# JSON, without a detour over binary floating point.
with open(ndjson, encoding="utf-8") as f:
    by_python = [json.loads(line, parse_float=str, parse_int=str) for line in f]
documents = [list(row.values()) for row in by_python]
if any(list(row) != names for row in by_python):
    problems.append("NDJSON: other keys than columns")
with_json = {n for n in names if (want.schema.field(n).metadata or {}).get(b"cipherstream.json") == b"true"}


plain = [n for n in names if n not in with_json]
positions = [names.index(n) for n in plain]
want = want.select(plain)
names = plain
compare("NDJSON, Python", [[row[p] for p in positions] for row in documents])
by_duck = [list(row) for row in duck.sql(f"select * from read_json('{ndjson}', format='newline_delimited', columns={{{varchar(plain)}}})").fetchall()]
compare("NDJSON, DuckDB", by_duck)
with open(json_file, encoding="utf-8") as f:
    whole = json.load(f, parse_float=str, parse_int=str)
lists = [v for v in (whole.values() if isinstance(whole, dict) else [whole]) if isinstance(v, list)]
if by_python not in lists:
    problems.append("JSON: its rows are not those of NDJSON")
print("\n".join(problems[:40]), end="")
