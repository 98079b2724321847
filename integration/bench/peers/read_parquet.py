# Prints the rows of a Parquet file as lines of JSON in which every value is NULL, text, or {"hex": bytes}, without a step
# through a type that holds less than the file: Python's dates end at the year 9999, and its times at 24 hours.
#
# usage: read_parquet.py FILE
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq


def clock(value, per_second):
    """An amount of time as hours, minutes, seconds and nanoseconds."""
    seconds, rest = divmod(abs(value), per_second)
    fraction = rest * (10**9 // per_second)
    return f"{'-' if value < 0 else ''}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:09}"


units = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def texts(column):
    t = column.type
    if pa.types.is_dictionary(t):
        return texts(column.cast(t.value_type))
    if pa.types.is_time(t) or pa.types.is_duration(t):
        wide = column.cast(pa.int32()).cast(pa.int64()) if pa.types.is_time32(t) else column.cast(pa.int64())
        return [None if v is None else clock(v, units[t.unit]) for v in wide.to_pylist()]
    if pa.types.is_date(t) or pa.types.is_timestamp(t):
        plain = column.cast(pa.timestamp(t.unit)) if pa.types.is_timestamp(t) else column
        return plain.cast(pa.string()).to_pylist()
    if pa.types.is_binary(t) or pa.types.is_large_binary(t) or pa.types.is_fixed_size_binary(t):
        return [None if v is None else {"hex": v.hex()} for v in column.to_pylist()]
    if pa.types.is_float32(t):
        column = column.cast(pa.float64())
    if pa.types.is_boolean(t):
        return [None if v is None else str(int(v)) for v in column.to_pylist()]
    return [None if v is None else str(v) for v in column.to_pylist()]


rows = pq.read_table(sys.argv[1])
columns = [texts(pa.chunked_array(c.chunks, c.type).combine_chunks()) for c in rows.columns]
for row in zip(*columns):
    print(json.dumps(dict(zip(rows.column_names, row))))
