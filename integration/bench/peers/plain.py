# A plain Python program: PyMySQL with a cursor that streams, and the standard library's json and csv.
import csv
import json

import pymysql
import pymysql.cursors

from peer import form, path, query, server

with pymysql.connect(**server, charset="utf8mb4", cursorclass=pymysql.cursors.SSCursor) as connection:
    with connection.cursor() as cursor, open(path, "w", encoding="utf-8", newline="") as out:
        cursor.execute(query)
        names = [column[0] for column in cursor.description]
        if form == "csv":
            writer = csv.writer(out)
            writer.writerow(names)
            writer.writerows(cursor)
        else:
            for row in cursor:
                out.write(json.dumps(dict(zip(names, row)), ensure_ascii=False, default=str) + "\n")
