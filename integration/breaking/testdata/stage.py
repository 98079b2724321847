import time

import pyarrow as pa
from cipherstream import Setting, filter


@filter("breaks", settings=[Setting("how", required=True)])
class Stage:
    """Breaks, once rows come."""

    def __init__(self, settings, context):
        self.how, self.hoard = settings["how"], []

    def bind(self, schema):
        return schema

    def apply(self, batch):  # contract
        if self.how == "exception":
            raise KeyError("Jane")  # exception
        while self.how == "hang":  # hang
            time.monotonic()  # hang
        while self.how == "memory":  # memory
            self.hoard.append(b"x" * (2 << 20))  # memory
            time.sleep(0.01)  # memory
        return pa.record_batch([pa.array(["other"])], names=["other"])
