"""Write CipherStream plugins in Python: a class for each stage, and serve() at the end. See README.md."""

from .fault import Fault
from .program import serve
from .setting import Secret, Setting
from .stage import At, Context, Media, Receipt, Resource, compressor, encoder, encryptor, filter, sink, source

__all__ = ["At", "Context", "Fault", "Media", "Receipt", "Resource", "Secret", "Setting", "compressor", "encoder",
           "encryptor", "filter", "serve", "sink", "source"]
