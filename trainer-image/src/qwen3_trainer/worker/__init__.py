"""The processes that import torch. Only modules of this package do.

The parent never imports the ML stack: it stays small, answers SIGTERM at any moment, and can tell
an end that a process can't tell itself (killed for memory, a crash in native code). A worker gets
a plan (a JSON file) and writes messages to a pipe; it has no credentials and no network.
"""
