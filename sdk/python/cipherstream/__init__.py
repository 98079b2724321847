"""Write CipherStream plugins in Python: a class for each stage, and serve() at the end. See README.md."""

from .check import Report
from .fault import Fault
from .file import File
from .program import serve
from .setting import Secret, Setting
from .stage import At, Context, Media, Receipt, Resource, compressor, encoder, encryptor, filter, sink, source

__all__ = ["At", "Context", "Fault", "File", "Media", "Receipt", "Report", "Resource", "Secret", "Setting", "compressor",
           "encoder", "encryptor", "filter", "serve", "sink", "source"]
