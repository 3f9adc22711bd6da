"""The worker processes: download, train, verify. Only modules of this package import torch.

The parent never imports the ML stack: it stays small, answers SIGTERM at any moment, and can tell
an end that a process can't tell itself (killed for memory, a crash in native code). A worker gets
a plan (a JSON file) and writes messages to a pipe. Those with torch have no credentials and stay
offline.
"""
