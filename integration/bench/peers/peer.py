# What the programs of this folder have in common: how they are called, and where the server is.
#
# usage: PROGRAM.py TABLE COLUMNS FORMAT FILE
import os
import sys
from urllib.parse import quote

table, columns, form, path = sys.argv[1:]
query = f"SELECT {columns} FROM {table}"
server = {
    "host": os.environ["PEER_HOST"],
    "port": int(os.environ["PEER_PORT"]),
    "user": os.environ["PEER_USER"],
    "password": os.environ["PEER_PASSWORD"],
    "database": os.environ["PEER_DATABASE"],
}


def url(scheme):
    """The server's address as a URL."""
    return "{0}://{user}:{secret}@{host}:{port}/{database}".format(scheme, secret=quote(server["password"], safe=""), **server)
