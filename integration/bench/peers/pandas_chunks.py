# pandas over SQLAlchemy and PyMySQL, with a cursor on the server and chunks, so that memory stays bounded.
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import create_engine, text

from peer import form, path, query, url

engine = create_engine(url("mysql+pymysql") + "?charset=utf8mb4")
with engine.connect().execution_options(stream_results=True) as connection:
    chunks = pd.read_sql_query(text(query), connection, chunksize=20_000)
    if form == "parquet":
        writer = None
        for chunk in chunks:
            rows = pa.Table.from_pandas(chunk, schema=writer and writer.schema, preserve_index=False)
            writer = writer or pq.ParquetWriter(path, rows.schema)
            writer.write_table(rows)
        writer.close()
    else:
        with open(path, "w", encoding="utf-8", newline="") as out:
            for number, chunk in enumerate(chunks):
                if form == "csv":
                    chunk.to_csv(out, index=False, header=number == 0)
                else:
                    chunk.to_json(out, orient="records", lines=True, date_format="iso", date_unit="us", double_precision=15)
